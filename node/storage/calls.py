"""Blocking operations in worker threads that can be watched, broken off and cancelled."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import trio

from node.storage.errors import StorageUnavailable
from node.storage.limits import Timing

Result = TypeVar("Result")
_THREADS: Final = trio.CapacityLimiter(math.inf)  # each bucket bounds its own operations


class Interrupted(Exception):
    """Raised in the worker thread of an operation that was broken off."""


class Call:
    """One operation, as its worker thread and its awaiter share it."""

    def __init__(self) -> None:
        self.moved = 0  # bytes so far
        self._interrupted = False
        self._close: Callable[[], None] | None = None
        self._lock = threading.Lock()

    @property
    def interrupted(self) -> bool:
        """Whether the operation was broken off."""
        return self._interrupted

    def advance(self, count: int) -> None:
        """Count bytes that moved; raises Interrupted if the operation was broken off meanwhile."""
        self.check()
        self.moved += count

    def check(self) -> None:
        """Raise Interrupted if the operation was broken off."""
        if self._interrupted:
            raise Interrupted

    @contextmanager
    def closing(self, close: Callable[[], None], *, keep: bool = False) -> Iterator[None]:
        """Run the block; `close` is what unblocks it when the operation is broken off.

        It is called exactly once, then or at the end; with `keep`, only when broken off.
        """
        with self._lock:
            self.check()
            self._close = close
        try:
            yield
        finally:
            with self._lock:
                pending, self._close = self._close, None
            if pending is not None and not keep:
                pending()

    def interrupt(self) -> None:
        """Break the operation off, from another thread; it ends soon after with Interrupted or an error."""
        with self._lock:
            self._interrupted = True
            pending, self._close = self._close, None
            if pending is not None:
                pending()


async def run_call(
    work: Callable[[Call], Result],
    *,
    timing: Timing,
    stall: float,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Run `work` in a thread; returns its result or raises its error.

    `progress` is called in the event loop with the number of bytes moved so far. The operation is broken
    off when the caller is cancelled, or when no byte moves for `stall` seconds: StorageUnavailable. A
    thread that does not end within `timing.grace` seconds after that is left to itself.
    """
    call = Call()
    ended = trio.Event()
    thread = trio.CancelScope(shield=True)
    failure: Exception | None = None
    finished: list[Result] = []

    async def break_off() -> None:
        thread.deadline = trio.current_time() + timing.grace
        with trio.CancelScope(shield=True, deadline=thread.deadline):
            await _in_thread(call.interrupt)

    async def watch() -> None:
        try:
            if await _stalls(call, ended, stall, timing.report_interval, progress):
                await break_off()
        except trio.Cancelled:
            await break_off()
            raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        with thread:
            try:
                finished.append(await _in_thread(work, call))
            except Exception as error:  # raised again below, outside the nursery
                failure = error
        ended.set()
    if finished:
        if progress is not None:
            progress(call.moved)
        return finished[0]
    if call.interrupted and (failure is None or isinstance(failure, Interrupted | StorageUnavailable)):
        raise StorageUnavailable(f"nothing moved for {stall:g} s") from failure
    assert failure is not None  # noqa: S101  (for the type checker: neither a result nor broken off)
    raise failure


async def _in_thread(work: Callable[..., Result], *arguments: object) -> Result:
    return await trio.to_thread.run_sync(  # the stubs that come with libp2p are of an older trio
        work,
        *arguments,
        abandon_on_cancel=True,
        limiter=_THREADS,  # type: ignore[call-arg]
    )


async def _stalls(
    call: Call, ended: trio.Event, stall: float, interval: float, progress: Callable[[int], None] | None
) -> bool:
    """Wait until the operation has ended (False) or no byte has moved for `stall` seconds (True)."""
    seen, since = call.moved, trio.current_time()
    while not ended.is_set():
        with trio.move_on_after(min(interval, stall)):
            await ended.wait()
        if call.moved != seen:
            seen, since = call.moved, trio.current_time()
            if progress is not None:
                progress(seen)
        elif trio.current_time() - since > stall:
            return not ended.is_set()
    return False
