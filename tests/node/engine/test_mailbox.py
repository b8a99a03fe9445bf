"""Messages of key generation are kept only when they are due: one of each member, as long as planned."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from support.manifests import job_secret, manifest

from node.crypto.desk import Desk
from node.engine.mailbox import KeyMessage, Lengths, Mailbox
from node.envelope import KeyRound
from protocol.errors import MemberFault

SIXTY_MIB = 60 * 2**20


def expecting(number: int = 0, attempt: int = 1, senders: tuple[int, ...] = (2, 3)) -> Mailbox:
    """At a round of an attempt, whose broadcasts have 5 and private messages 3 bytes at most."""
    box = Mailbox()
    box.begin(attempt)
    box.expect(number, senders, Lengths(5, 3))
    return box


async def put(box: Mailbox, sender: int, message: KeyRound, content: bytes) -> None:
    deliver = await box.wanted(sender, message, len(content))
    await deliver(content)


async def test_a_round_is_gathered_when_all_have_spoken():
    box = expecting()
    await put(box, 2, KeyRound(1, 0, 5), b"helloyou")
    with trio.move_on_after(0.01) as scope:
        await box.gather()
    assert scope.cancelled_caught
    await put(box, 3, KeyRound(1, 0, 0), b"me")
    told = await box.gather()
    assert told == {2: KeyMessage(b"hello", b"you"), 3: KeyMessage(b"", b"me")}
    assert "hello" not in repr(told)


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (KeyRound(1, 9003, 60), 60),
        (KeyRound(1, 7, 1), 1),
        (KeyRound(1, 4, 1), 1),
        (KeyRound(3, 0, 1), 1),
        (KeyRound(2, 1, 1), 1),
        (KeyRound(1, 5, 6), 6),
        (KeyRound(1, 5, 5), 9),
        (KeyRound(1, 5, SIXTY_MIB), SIXTY_MIB),
        (KeyRound(1, 5, 0), SIXTY_MIB),
        (KeyRound(1, 5, 5), 4),
    ],
    ids=[
        "round 9003",
        "two ahead",
        "before",
        "two attempts ahead",
        "inside the next attempt",
        "long broadcast",
        "long private part",
        "huge broadcast",
        "huge private part",
        "shorter than its broadcast",
    ],
)
async def test_what_is_not_due_or_too_long_is_refused_by_its_label(message, size):
    box = expecting(number=5)
    with pytest.raises(MemberFault) as caught:
        await box.wanted(2, message, size)
    assert caught.value.member == 2


async def test_who_takes_no_part_is_refused():
    with pytest.raises(MemberFault):
        await expecting(senders=(2,)).wanted(3, KeyRound(1, 0, 1), 1)


async def test_of_each_member_one_message_a_round():
    box = expecting()
    first = await box.wanted(2, KeyRound(1, 0, 1), 1)
    second = await box.wanted(2, KeyRound(1, 0, 2), 2)
    await first(b"a")
    with pytest.raises(MemberFault, match="twice"):
        await second(b"bb")
    with pytest.raises(MemberFault, match="not due"):
        await box.wanted(2, KeyRound(1, 0, 1), 1)
    await put(box, 3, KeyRound(1, 0, 1), b"c")
    assert (await box.gather())[2] == KeyMessage(b"a", b"")


@pytest.mark.parametrize("message", [KeyRound(1, 1, 1), KeyRound(2, 0, 1)], ids=["round", "attempt"])
async def test_what_comes_next_waits_at_its_sender(message):
    box, taken = expecting(), trio.Event()

    async def offer() -> None:
        await put(box, 2, message, b"x")
        taken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(offer)
        await trio.testing.wait_all_tasks_blocked()
        assert not taken.is_set()
        box.begin(message.attempt)
        box.expect(message.number, [2], Lengths(1, 0))
        assert await box.gather() == {2: KeyMessage(b"x", b"")}


async def test_what_waits_is_refused_once_its_attempt_is_given_up():
    box = expecting()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_refused, box, KeyRound(1, 1, 1))
        await trio.testing.wait_all_tasks_blocked()
        box.begin(3)


async def _refused(box: Mailbox, message: KeyRound) -> None:
    with pytest.raises(MemberFault, match="not due"):
        await box.wanted(2, message, 1)


async def test_before_the_first_attempt_nothing_is_taken():
    box = Mailbox()
    with trio.move_on_after(0.01) as scope:
        await box.wanted(2, KeyRound(1, 0, SIXTY_MIB), SIXTY_MIB)
    assert scope.cancelled_caught
    with pytest.raises(MemberFault):
        await box.wanted(2, KeyRound(1, 9001, SIXTY_MIB), SIXTY_MIB)


async def test_a_message_of_a_round_that_is_over_comes_too_late():
    box = expecting()
    late = await box.wanted(2, KeyRound(1, 0, 1), 1)
    box.begin(2)
    with pytest.raises(MemberFault, match="too late"):
        await late(b"x")


@pytest.mark.parametrize("members", [2, 3])
def test_the_plan_says_how_long_messages_of_each_round_may_be(members):
    """No member's is longer than another's allows; the bound is no wider than what is sent."""
    job = manifest(members, key_profile="insecure-test-384")
    desks = {me: Desk(job, me, job_secret(me), lambda *_: None) for me in range(1, members + 1)}
    steps = {me: desk.answer({"do": "make-key", "attempt": 1}) for me, desk in desks.items()}
    while "broadcast" in steps[1]:
        broadcast, private = steps[1]["longest"]
        for step in steps.values():
            assert len(step["broadcast"]) <= broadcast <= len(step["broadcast"]) + 2**16
            assert {len(part) for _, part in step["private"]} == {private}
        sent = {me: (step["broadcast"], dict(step["private"])) for me, step in steps.items()}
        for me, desk in desks.items():
            received = [[i, said, own[me]] for i, (said, own) in sent.items() if i != me]
            steps[me] = desk.answer({"do": "advance-key", "received": received})
    assert "key" in steps[1], steps[1]
