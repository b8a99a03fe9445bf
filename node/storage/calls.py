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
_BREAKING_OFF: Final = trio.CapacityLimiter(math.inf)  # one thread for each operation, whose own are bounded


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
    def unblocked_by(self, close: Callable[[], None]) -> Iterator[None]:
        """Run the block; `close` is called, from another thread, if the operation is broken off meanwhile."""
        with self._lock:
            self.check()
            self._close = close
        try:
            yield
        finally:
            with self._lock:
                self._close = None

    def interrupt(self) -> None:
        """Break the operation off, from another thread; it ends soon after with Interrupted or an error."""
        with self._lock:
            self._interrupted = True
            if self._close is not None:
                self._close()


async def run_call(
    work: Callable[[Call], Result],
    *,
    timing: Timing,
    threads: trio.CapacityLimiter,
    stall: float,
    longest: float,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Run `work` in a thread; returns its result or raises its error.

    `progress` is called in the event loop with the number of bytes moved so far. The operation is broken
    off when the caller is cancelled, or, with StorageUnavailable, when no byte moves for `stall` seconds or
    it takes more than `longest`. A thread that does not end within `timing.grace` seconds after that is
    left to itself, and counts among `threads` until it ends: no more than those hang with a disk.
    """
    call = Call()
    ended = trio.Event()
    thread = trio.CancelScope(shield=True)
    failure: Exception | None = None
    finished: list[Result] = []
    reason = ""

    async def break_off() -> None:
        thread.deadline = trio.current_time() + timing.grace
        with trio.CancelScope(shield=True, deadline=thread.deadline):
            await _in_thread(_BREAKING_OFF, call.interrupt)

    async def watch() -> None:
        nonlocal reason
        try:
            reason = await _reason_to_break_off(call, ended, stall, longest, timing.report_interval, progress)
            if reason:
                await break_off()
        except trio.Cancelled:
            await break_off()
            raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        with thread:
            try:
                finished.append(await _in_thread(threads, work, call))
            except Exception as error:  # raised again below, outside the nursery
                failure = error
        ended.set()
    if finished:
        if progress is not None:
            progress(call.moved)
        return finished[0]
    if failure is None or (reason and isinstance(failure, Interrupted | StorageUnavailable)):
        raise StorageUnavailable(reason) from failure
    raise failure


async def _in_thread(
    threads: trio.CapacityLimiter, work: Callable[..., Result], *arguments: object
) -> Result:
    return await trio.to_thread.run_sync(  # the stubs that come with libp2p are of an older trio
        work,
        *arguments,
        abandon_on_cancel=True,
        limiter=threads,  # type: ignore[call-arg]
    )


async def _reason_to_break_off(
    call: Call,
    ended: trio.Event,
    stall: float,
    longest: float,
    interval: float,
    progress: Callable[[int], None] | None,
) -> str:
    """Wait until the operation has ended (""), or has stalled or taken too long (in words)."""
    begun = since = trio.current_time()
    seen = call.moved
    while not ended.is_set():
        with trio.move_on_after(min(interval, stall)):
            await ended.wait()
            break
        now = trio.current_time()
        if call.moved != seen:
            seen, since = call.moved, now
            if progress is not None:
                progress(seen)
        if now - since > stall:
            return f"nothing moved for {stall:g} s"
        if now - begun > longest:
            return f"not done after {longest:g} s"
    return ""
