"""A job as a compartment: whatever fails in it is logged, shown and tried again, or the job is set aside.

Nothing that happens in one job ends another, or the daemon; also not again and again at each start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

from node.faults import in_words, kinds, lacks_room, places
from protocol.errors import OwnFault

RETRY_FIRST, RETRY_LAST = 1.0, 60.0
"""Seconds before a new attempt: twice as many each time."""

MAX_FAILURES = 6
"""In a row; what fails that often within a minute does not mend by itself, but for a disk that is full."""

STEADY_SECONDS = 600.0
"""A job that ran for so long has got over its earlier failures."""

log = structlog.get_logger()


class EndedEarly(OwnFault):
    """Work that only a cancellation may end has ended by itself."""


async def endless(work: Callable[[], Awaitable[None]]) -> None:
    """Do what goes on until it is cancelled; raises `EndedEarly` where it ends before."""
    await work()
    raise EndedEarly("a part of the job has ended before the job")


class Compartment:
    """Runs `work`, after a failure from the journal again; gives a job up, in words, that fails too often."""

    def __init__(
        self, job: bytes, work: Callable[[], Awaitable[None]], give_up: Callable[[str], Awaitable[None]]
    ) -> None:
        self._job = job
        self._work = work
        self._give_up = give_up
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._ended.set()
        self.trouble = ""

    async def run(self) -> None:
        """Until the work is done, `halt` is called, or it is given up."""
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        try:
            with self._scope:
                await self._keep_working()
        finally:
            self._ended.set()

    async def halt(self) -> None:
        """Stop, and return when all of it has ended."""
        self._scope.cancel()
        await self._ended.wait()

    async def _keep_working(self) -> None:
        failures = 0
        while True:
            began, self.trouble = trio.current_time(), ""
            failure = await self._failure()
            if failure is None:
                return
            failures = 1 if trio.current_time() - began > STEADY_SECONDS else failures + 1
            why = in_words(failure)
            log.error("JobFailed", job=self._job.hex(), reason=why, error=kinds(failure), at=places(failure))
            if failures >= MAX_FAILURES and not lacks_room(failure):
                log.error("JobSetAside", job=self._job.hex(), reason=why)
                await self._give_up(why)
                return
            self.trouble = why
            await trio.sleep(min(RETRY_FIRST * 2 ** (failures - 1), RETRY_LAST))

    async def _failure(self) -> BaseExceptionGroup[Exception] | None:
        """What the work ended by; None where it is done."""
        failure = None
        try:
            await self._work()
        except* Exception as group:
            failure = group
        return failure
