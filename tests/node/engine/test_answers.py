"""Answers to peers: beside everything else, one for each at a time, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from node.engine import answers
from node.engine.answers import Answers


class Desk:
    """Answers under way and given, by contact; each waits for `go`."""

    def __init__(self) -> None:
        self.under_way: list[tuple[int, str]] = []
        self.given: list[tuple[int, str]] = []
        self.go = trio.Event()

    def answer(self, contact: int, question: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            self.under_way.append((contact, question))
            await self.go.wait()
            self.given.append((contact, question))

        return work


@pytest.fixture
async def running(nursery):
    service = Answers()
    nursery.start_soon(service.run)
    await trio.testing.wait_all_tasks_blocked()
    return service


async def test_of_a_flood_of_questions_the_first_and_the_newest_are_answered(running, autojump_clock):
    desk = Desk()
    for number in range(1000):
        running.ask(1, desk.answer(1, f"question {number}"))
    running.ask(2, desk.answer(2, "another peer's"))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(desk.under_way) == [(1, "question 0"), (2, "another peer's")]
    desk.go.set()
    await trio.sleep(3 * answers.PAUSE_SECONDS)
    assert sorted(desk.given) == [(1, "question 0"), (1, "question 999"), (2, "another peer's")]
    assert running._next == {}


async def test_an_answer_that_is_never_taken_is_given_up_and_the_next_one_is_tried(running, autojump_clock):
    desk, begun = Desk(), trio.current_time()
    running.ask(1, trio.sleep_forever)
    await trio.testing.wait_all_tasks_blocked()
    running.ask(1, desk.answer(1, "again"))
    desk.go.set()
    while not desk.given:
        await trio.sleep(1)
    assert trio.current_time() - begun >= answers.ANSWER_SECONDS


@pytest.mark.parametrize("error", [OSError("disk"), ZeroDivisionError(), ExceptionGroup("", [KeyError()])])
async def test_an_answer_that_fails_ends_nothing(running, autojump_clock, error):
    async def fail() -> None:
        raise error

    desk = Desk()
    desk.go.set()
    running.ask(1, fail)
    running.ask(2, desk.answer(2, "fine"))
    await trio.sleep(3 * answers.PAUSE_SECONDS)
    running.ask(1, desk.answer(1, "later"))
    await trio.sleep(1)
    assert sorted(desk.given) == [(1, "later"), (2, "fine")]
