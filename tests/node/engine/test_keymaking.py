"""Key generation between nodes: whatever goes wrong in it ends the attempt, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from support.manifests import job_secret, manifest
from support.rehearsal import corrupt

from node.crypto.desk import Desk
from node.engine.keymaking import make_key
from node.engine.mailbox import Mailbox
from node.envelope import KeyRound
from node.workers.process import WorkerLost
from protocol.errors import MemberFault, OwnFault
from protocol.inputs import KeyFailed, KeyMade
from protocol.words import KeyReason

JOB = manifest(3, key_profile="insecure-test-384")
DERIVATION = "protocol.crypto.jointkey.derive._Derivation."

Change = Callable[[Any], Any]


class Worker:
    """A member's crypto worker, without its process; `spoil` is done to its party as soon as there is one."""

    def __init__(self, me: int, spoil: tuple[str, Change] | None) -> None:
        self._desk = Desk(JOB, me, job_secret(me), lambda *_: None)
        self._spoil = spoil

    async def step_key(self, request: dict[str, Any]) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if request["do"] == "make-key" and self._spoil is not None:
            return self._start_spoilt(request)
        return self._desk.answer(request)

    def _start_spoilt(self, request: dict[str, Any]) -> dict[str, Any]:
        step = self._desk.answer(request)
        corrupt(self._desk._party, *self._spoil)
        return step


async def attempt(spoil: tuple[str, Change] | None = None) -> dict[int, KeyMade | KeyFailed]:
    """What the members' attempts come to; member 3 departs from the protocol. An end here ends them all."""
    boxes = {me: Mailbox() for me in (1, 2, 3)}
    ended: dict[int, KeyMade | KeyFailed] = {}

    async def member(me: int, scope: trio.CancelScope) -> None:
        async def send(other: int, message: KeyRound, content: bytes) -> None:
            deliver = await boxes[other].wanted(me, message, len(content))
            await deliver(content)

        others = [other for other in boxes if other != me]
        worker = Worker(me, spoil if me == 3 else None)
        ended[me] = await make_key(1, others, worker, boxes[me], send)
        if ended.keys() >= {1, 2} or ended[me] == KeyFailed(1, 0, KeyReason.FAILED_HERE):
            scope.cancel()

    async with trio.open_nursery() as nursery:
        for me in boxes:
            nursery.start_soon(member, me, nursery.cancel_scope)
    return ended


async def test_three_nodes_make_one_key():
    ended = await attempt()
    assert {type(each) for each in ended.values()} == {KeyMade}
    assert len({each.key for each in ended.values()}) == 1


def shifted(original: Any) -> Any:
    return lambda self, mine: original(self, mine + 1)


async def test_a_wrong_share_of_the_exponent_ends_the_attempt_and_accuses_nobody():
    with capture_logs() as logs:
        ended = await attempt((DERIVATION + "_commit", shifted))
    for me in (1, 2):
        assert isinstance(ended[me], KeyFailed)
        assert ended[me].accused == 0
    assert "KeyAttemptFailed" in {each["event"] for each in logs}


class Broken:
    """A worker whose first or second step fails."""

    def __init__(self, error: Exception, *, at: str) -> None:
        self._error, self._at = error, at

    async def step_key(self, request: dict[str, Any]) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if request["do"] == self._at:
            raise self._error
        return {"broadcast": b"", "private": [], "longest": (0, 0)}


@pytest.mark.parametrize("at", ["make-key", "advance-key"])
@pytest.mark.parametrize(
    "error",
    [
        WorkerLost("it ended with exit code 1", ""),
        OwnFault("no key generation is under way"),
        MemberFault("sent nonsense", member=2),
        OSError(12, "Cannot allocate memory"),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_failure_of_the_worker_is_a_failed_attempt(error, at):
    box = Mailbox()

    async def echo(other: int, message: KeyRound, content: bytes) -> None:
        deliver = await box.wanted(other, message, len(content))
        await deliver(content)

    ended = await make_key(1, [2], Broken(error, at=at), box, echo)
    assert isinstance(ended, KeyFailed)
    assert (ended.attempt, ended.accused) == (1, 0)


async def test_a_message_that_cannot_be_sent_is_a_failed_attempt():
    async def refuse(other: int, message: KeyRound, content: bytes) -> None:
        raise OwnFault("it is larger than a message may be")

    ended = await make_key(1, [2], Broken(OwnFault(""), at=""), Mailbox(), refuse)
    assert isinstance(ended, KeyFailed)


async def test_giving_an_attempt_up_is_no_failure_of_it():
    with trio.move_on_after(0) as scope:
        await make_key(1, [2], Broken(OwnFault(""), at=""), Mailbox(), lambda *_: trio.sleep_forever())
    assert scope.cancelled_caught
