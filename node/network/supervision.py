"""Tasks that outlive whatever goes wrong in them: a fault in one is logged, and costs that one a pause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from node.faults import kinds, places
from node.network.backoff import Backoff
from node.network.limits import Timing
from node.network.throttle import ThrottledLog

_STABLE: Final = 60.0  # seconds; what ran for longer is started again without much delay

_log: Final = ThrottledLog(structlog.get_logger())


async def contained(task: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work`; an error that nobody foresaw is logged with its place. Cancellation passes through."""
    try:
        await work()
    except BaseException as error:
        cancelled, unforeseen = _split(error)
        if unforeseen is not None:
            _log.error("NetworkTaskFailed", task=task, error=kinds(unforeseen), at=places(unforeseen))
        if cancelled is not None:
            raise cancelled from None


async def supervised(task: str, work: Callable[[], Awaitable[None]], timing: Timing) -> None:
    """Do `work`, which has no end, until cancelled: whatever ends it, it begins again after a pause."""
    backoff = Backoff(timing.backoff_first, timing.backoff_max)
    while True:
        begun = trio.current_time()
        await contained(task, work)
        if trio.current_time() - begun > _STABLE:
            backoff.reset()
        _log.info("NetworkTaskRestarted", task=task)
        await trio.sleep(backoff.next())


def _split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of an error has to pass (cancellation, an interrupt) and what is a fault of the task."""
    if isinstance(error, BaseExceptionGroup):
        faults, rest = error.split(Exception)
        return rest, faults
    return (None, error) if isinstance(error, Exception) else (error, None)
