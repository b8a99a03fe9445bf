"""Key generation between daemons: the parties' lock-step rounds, carried by the members' streams.

A party waits for every member's message of a round. Messages for a round or an attempt that this member
has not reached yet are kept, within limits; everything of older attempts is dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

from node.crypto.service import CryptoWorker
from node.envelope import KeyRound
from node.network import NotConnected, TransferFailed
from node.workers.process import WorkerLost
from protocol.inputs import KeyFailed, KeyMade
from protocol.words import KeyReason

RETRY_SECONDS = 0.5
MAX_AHEAD = 3
"""Messages of one sender that may wait here: it cannot be more than a round ahead, plus a new attempt."""

Send = Callable[[int, KeyRound], Awaitable[None]]

log = structlog.get_logger()


class Mailbox:
    """Messages of key generation that arrived, by attempt, round and sender."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int, int], KeyRound] = {}
        self._arrived = trio.Event()
        self._oldest = 0

    def put(self, sender: int, message: KeyRound) -> None:
        """Keep a message; a second one for the same round, or too many, are dropped with a log line."""
        if message.attempt < self._oldest:
            return
        place = (message.attempt, message.number, sender)
        waiting = sum(key[2] == sender for key in self._kept)
        if place in self._kept or waiting >= MAX_AHEAD:
            log.warning("KeyMessageDropped", other=sender, attempt=message.attempt, number=message.number)
            return
        self._kept[place] = message
        self._arrived.set()
        self._arrived = trio.Event()

    async def take(self, attempt: int, number: int, senders: list[int]) -> dict[int, KeyRound]:
        """All senders' messages of a round, when they are all there."""
        places = {sender: (attempt, number, sender) for sender in senders}
        while not all(place in self._kept for place in places.values()):
            await self._arrived.wait()
        return {sender: self._kept.pop(place) for sender, place in places.items()}

    def forget_before(self, attempt: int) -> None:
        """Drop everything of older attempts."""
        self._oldest = attempt
        self._kept = {key: kept for key, kept in self._kept.items() if key[0] >= attempt}


async def make_key(
    attempt: int, others: list[int], worker: CryptoWorker, mailbox: Mailbox, send: Send
) -> KeyMade | KeyFailed:
    """Run this member's party to its end, whatever that is. Cancel it to give the attempt up.

    What the others sent decides how an attempt ends: no failure of it is one of the node.
    """
    mailbox.forget_before(attempt)
    try:
        return await _generate(attempt, others, worker, mailbox, send)
    except WorkerLost as lost:
        log.warning("KeyAttemptFailed", attempt=attempt, reason=f"the crypto worker was lost: {lost.reason}")
    except Exception as error:
        log.error("KeyAttemptBroken", attempt=attempt, error=repr(error)[:200])
    return KeyFailed(attempt, 0, KeyReason.FAILED_HERE)


async def _generate(
    attempt: int, others: list[int], worker: CryptoWorker, mailbox: Mailbox, send: Send
) -> KeyMade | KeyFailed:
    step = await worker.step_key({"do": "make-key", "attempt": attempt})
    number = 0
    while "broadcast" in step:
        private = dict(step["private"])
        async with trio.open_nursery() as nursery:
            for other in others:
                message = KeyRound(attempt, number, step["broadcast"], private.get(other, b""))
                nursery.start_soon(_send_until_taken, send, other, message)
        received = await mailbox.take(attempt, number, others)
        request = {
            "do": "advance-key",
            "received": [[other, got.broadcast, got.private] for other, got in received.items()],
        }
        step = await worker.step_key(request)
        number += 1
    if "failed" in step:
        log.warning("KeyAttemptFailed", attempt=attempt, accused=step["accused"], reason=step["failed"])
        named = KeyReason.DEVIATION if step["accused"] else KeyReason.UNEXPLAINED
        return KeyFailed(attempt, step["accused"], named)
    return KeyMade(attempt, step["key"], step["secret"])


async def _send_until_taken(send: Send, other: int, message: KeyRound) -> None:
    while True:
        try:
            await send(other, message)
            return
        except (NotConnected, TransferFailed) as error:
            log.info("KeyMessageDelayed", other=other, number=message.number, reason=str(error)[:200])
        await trio.sleep(RETRY_SECONDS)
