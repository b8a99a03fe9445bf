"""What a piece of work costs: wall time, and CPU time, which a busy machine stretches far less."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

RUNS = 5
"""Runs of which the cheapest counts."""


@dataclass(frozen=True)
class Cost:
    """Seconds: `wall` elapsed, `cpu` used by all workers together, `path` used by the busiest of them.

    With as many idle cores as workers, `wall` would come close to `path`.
    """

    wall: float
    cpu: float
    path: float

    def per(self, count: float) -> Cost:
        """The cost of one of `count`."""
        return Cost(self.wall / count, self.cpu / count, self.path / count)


class Metered(Executor):
    """An executor that remembers how many CPU seconds each of its workers spent."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.busy: dict[tuple[int, int], float] = {}

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        """As the inner executor's."""
        outer: Future[Any] = Future()
        self._inner.submit(_metered, call, args, kwargs).add_done_callback(lambda f: self._settle(f, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As the inner executor's."""
        self._inner.shutdown(wait, cancel_futures=cancel_futures)

    def _settle(self, inner: Future[Any], outer: Future[Any]) -> None:
        error = inner.exception()
        if error is not None:
            outer.set_exception(error)
            return
        value, worker, spent = inner.result()
        with self._lock:
            self.busy[worker] = self.busy.get(worker, 0.0) + spent
        outer.set_result(value)


def _metered(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    begun = time.thread_time()
    value = call(*args, **kwargs)
    return value, (os.getpid(), threading.get_ident()), time.thread_time() - begun


def cost(work: Callable[[], object], runs: int = RUNS, workers: Metered | None = None) -> Cost:
    """The cheapest of `runs` runs: what disturbs a measurement only ever adds to it."""
    return min((_once(work, workers) for _ in range(runs)), key=lambda cost: cost.cpu)


def _once(work: Callable[[], object], workers: Metered | None) -> Cost:
    if workers is not None:
        workers.busy.clear()
    wall, cpu = time.perf_counter(), time.thread_time()
    work()
    own = time.thread_time() - cpu
    wall = time.perf_counter() - wall
    busy = list(workers.busy.values()) if workers is not None else []
    return Cost(wall, own + sum(busy), own + max(busy, default=0.0))
