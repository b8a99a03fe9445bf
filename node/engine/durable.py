"""Writing to a journal whose disk may be full: what depends on a write goes on when it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import structlog
import trio

from node.journal import JournalUnavailable

RETRY_FIRST, RETRY_LAST = 0.5, 30.0
"""Seconds between attempts: somebody has to make room first."""

log = structlog.get_logger()

Ts = TypeVarTuple("Ts")
R = TypeVar("R")


async def until_done(call: Callable[[*Ts], R], *given: *Ts) -> R:
    """Make a call to the journal in a thread, again until its disk takes it."""
    delay = RETRY_FIRST
    while True:
        try:
            return await trio.to_thread.run_sync(call, *given)
        except JournalUnavailable as error:
            log.error("JournalNotWritten", reason=str(error), retry_seconds=delay)
        await trio.sleep(delay)
        delay = min(2 * delay, RETRY_LAST)
