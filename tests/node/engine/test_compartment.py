"""A job as a compartment: a failure in it is tried again, shown, then set aside, and never goes further."""

import errno

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from node.engine import compartment
from node.engine.background import Background
from node.engine.compartment import MAX_FAILURES, Compartment
from node.journal import JournalUnavailable
from protocol.errors import MemberFault

JOB = bytes(32)


class Work:
    """Fails as often as it is told to, each time after `seconds`."""

    def __init__(self, failures: int, error: Exception, seconds: float = 0.0) -> None:
        self.left = failures
        self.error = error
        self.seconds = seconds
        self.begun = 0
        self.given_up: list[str] = []
        self.compartment = Compartment(JOB, self.run, self.give_up)

    async def run(self) -> None:
        self.begun += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)

    async def _fail(self) -> None:
        await trio.sleep(self.seconds)
        if self.left:
            self.left -= 1
            raise self.error

    async def give_up(self, why: str) -> None:
        self.given_up.append(why)


async def test_what_fails_a_few_times_is_tried_again_later_each_time(autojump_clock):
    work = Work(3, ValueError("a patient's name"))
    with capture_logs() as logs:
        await work.compartment.run()
    assert (work.begun, work.given_up, work.compartment.trouble) == (4, [], "")
    assert trio.current_time() >= 1 + 2 + 4
    assert [line["event"] for line in logs] == ["JobFailed"] * 3
    assert logs[0]["error"] == "ValueError"
    assert logs[0]["at"][-1].endswith("_fail")
    assert "patient" not in str(logs)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (KeyError("secret"), "a bug, KeyError at test_compartment.py:"),
        (MemberFault("a wrong opening", member=3), "member 3: a wrong opening"),
        (
            ExceptionGroup("many", [OSError(13, "Permission denied", "/a/path")]),
            "this machine: Permission denied",
        ),
    ],
)
async def test_what_fails_too_often_is_set_aside_in_words(autojump_clock, error, why):
    work = Work(1000, error)
    await work.compartment.run()
    assert work.begun == MAX_FAILURES
    assert work.given_up[0].startswith(why)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), JournalUnavailable("the disk is full")])
async def test_a_job_whose_disk_is_full_waits_for_room_and_is_not_set_aside(autojump_clock, error):
    work = Work(5 * MAX_FAILURES, error)
    await work.compartment.run()
    assert (work.begun, work.given_up) == (5 * MAX_FAILURES + 1, [])
    assert trio.current_time() < 5 * MAX_FAILURES * compartment.RETRY_LAST


async def test_rare_failures_never_add_up(autojump_clock):
    work = Work(3 * MAX_FAILURES, ValueError(), seconds=compartment.STEADY_SECONDS + 1)
    await work.compartment.run()
    assert (work.begun, work.given_up) == (3 * MAX_FAILURES + 1, [])


async def test_one_that_is_halted_ends_also_while_it_waits_for_its_next_attempt(autojump_clock):
    work = Work(1000, ValueError())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.compartment.run)
        await trio.sleep(2.5)  # between two attempts
        assert work.compartment.trouble.startswith("a bug, ValueError")
        begun = work.begun
        await work.compartment.halt()
    assert work.begun == begun
    assert work.given_up == []


async def test_an_errand_that_hangs_or_fails_costs_only_itself(autojump_clock):
    done = []

    async def fail() -> None:
        raise ZeroDivisionError

    async def work() -> None:
        done.append(trio.current_time())

    background = Background()
    async with trio.open_nursery() as nursery:
        await nursery.start(background.run)
        background.start(("order", 1), 30.0, trio.sleep_forever)
        background.start(("order", 1), 30.0, work)  # one at a time of a name
        background.start(("grant", 2), 30.0, fail)
        background.start(("order", 2), 30.0, work)
        await trio.sleep(1)
        assert len(done) == 1
        await trio.sleep(30)
        background.start(("order", 1), 30.0, work)
        background.start(("grant", 2), 30.0, work)
        await trio.sleep(1)
        assert len(done) == 3
        nursery.cancel_scope.cancel()
