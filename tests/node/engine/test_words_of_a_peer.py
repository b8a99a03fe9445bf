"""How much of what a peer says is taken in, and how fast: what waits is its own."""

from __future__ import annotations

from collections import Counter

import trio
import trio.testing

from node import jobs
from node.engine.engine import MAX_HEARD, Engine
from node.envelope import Core, Envelope, Grant
from node.jobs import Jobs
from protocol.encoding.errors import Malformed
from protocol.inputs import Heard
from protocol.messages import Message

UNKNOWN = bytes(32)


async def test_a_peers_words_are_taken_in_at_their_rate_and_anothers_at_its_own(autojump_clock):
    door = Jobs(None, None, None)  # type: ignore[arg-type]
    taken: Counter[int] = Counter()

    async def flood(contact: int, count: int) -> None:
        for _ in range(count):
            await door.take(contact, Envelope(UNKNOWN, Grant(b"token")).to_bytes())
            taken[contact] += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood, 1, 10_000)
        await trio.sleep(20)
        assert taken[1] <= jobs.WORDS_AT_ONCE + 20 * jobs.WORDS + 1
        await flood(2, 50)
        assert taken[1] < 500
        nursery.cancel_scope.cancel()


async def test_large_words_are_taken_in_at_the_rate_of_their_bytes(autojump_clock):
    door = Jobs(None, None, None)  # type: ignore[arg-type]
    message = Envelope(UNKNOWN, Core(bytes(Message.LIMIT))).to_bytes()
    begun = trio.current_time()
    count = int(jobs.WORD_BYTES_AT_ONCE) // len(message) + 5
    for _ in range(count):
        try:
            await door.take(1, message)
        except Malformed:
            continue  # it holds no message; to find that out is what costs
    expected = (count * len(message) - jobs.WORD_BYTES_AT_ONCE) / jobs.WORD_BYTES
    assert trio.current_time() - begun >= expected - 1


async def test_of_each_members_words_few_wait_for_the_engine():
    engine = Engine(None, None, lambda event: None)  # type: ignore[arg-type]
    heard: Counter[int] = Counter()

    async def speak(member: int, words: int) -> None:
        for _ in range(words):
            await engine.hear(Heard(member, b""))
            heard[member] += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, 2, 1000)
        nursery.start_soon(speak, 3, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert heard == {2: MAX_HEARD, 3: 3}
        nursery.cancel_scope.cancel()
