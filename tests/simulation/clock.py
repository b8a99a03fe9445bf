"""Simulated time: what is to happen, in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Deed = Callable[[], None]


class Clock:
    """Deeds by the time at which they fall due; equal times in the order in which they were planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned = 0
        self._heap: list[tuple[float, int, Deed]] = []

    def after(self, seconds: float, deed: Deed) -> None:
        """Plan `deed` for `seconds` from now."""
        self._planned += 1
        heapq.heappush(self._heap, (self.now + seconds, self._planned, deed))

    def step(self, until: float) -> bool:
        """Do the next deed that falls due before `until`; False if there is none."""
        if not self._heap or self._heap[0][0] > until:
            return False
        self.now, _, deed = heapq.heappop(self._heap)
        deed()
        return True
