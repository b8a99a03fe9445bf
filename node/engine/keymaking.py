"""Key generation between daemons: the parties' lock-step rounds, carried by the members' streams.

A party waits for every member's message of a round; whoever is ahead keeps its own until they are due.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

from node.crypto.service import CryptoWorker
from node.engine.mailbox import Lengths, Mailbox
from node.envelope import KeyRound
from node.network import NotConnected, TransferFailed
from node.workers.process import WorkerLost
from protocol.inputs import KeyFailed, KeyMade
from protocol.words import KeyReason

RETRY_SECONDS = 0.5

Send = Callable[[int, KeyRound, bytes], Awaitable[None]]

log = structlog.get_logger()


async def make_key(
    attempt: int, others: list[int], worker: CryptoWorker, mailbox: Mailbox, send: Send
) -> KeyMade | KeyFailed:
    """Run this member's party to its end, whatever that is. Cancel it to give the attempt up.

    What the others sent decides how an attempt ends: no failure of it is one of the node.
    """
    mailbox.begin(attempt)
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
        mailbox.expect(number, others, Lengths(*step["longest"]))
        broadcast, private = step["broadcast"], dict(step["private"])
        message = KeyRound(attempt, number, len(broadcast))
        async with trio.open_nursery() as nursery:
            for other in others:
                content = broadcast + private.get(other, b"")
                nursery.start_soon(_send_until_taken, send, other, message, content)
        received = await mailbox.gather()
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


async def _send_until_taken(send: Send, other: int, message: KeyRound, content: bytes) -> None:
    while True:
        try:
            await send(other, message, content)
            return
        except (NotConnected, TransferFailed) as error:
            log.info("KeyMessageDelayed", other=other, number=message.number, reason=str(error)[:200])
        await trio.sleep(RETRY_SECONDS)
