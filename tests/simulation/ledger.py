"""The ledger: one order of confirmed records, a network that loses and delays what is on its way there,
and stalls. It validates nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from protocol.inputs import Confirmed
from simulation.clock import Clock
from simulation.scenario import Faults

RESEND_SECONDS = 5.0


class Ledger:
    """Each author's records are confirmed in the order in which it submitted them: a chain of outputs.

    `confirmed` is called with every slot as it comes into being.
    """

    def __init__(self, clock: Clock, rng: Random, confirmed: Callable[[Confirmed], None]) -> None:
        self._clock = clock
        self._rng = rng
        self._confirmed = confirmed
        self._underway: dict[int, deque[bytes]] = {}
        self._seen: set[tuple[int, bytes]] = set()
        self.order: list[Confirmed] = []
        self.open = False
        self.closed = False
        self.stalled = False
        self.faults = Faults()
        self.lost = 0
        self.repeated = 0

    def submit(self, author: int, data: bytes) -> None:
        """Anchor `data`, sooner or later. What is underway or confirmed already is not sent twice."""
        underway = self._underway.setdefault(author, deque())
        if (author, data) in self._seen or data in underway:
            return
        underway.append(data)
        if len(underway) == 1:
            self._send(author, data)

    def crash(self, author: int) -> None:
        """The author's adapter is gone: what it had not got across is forgotten, the rest comes through."""
        underway = self._underway.get(author, deque())
        if underway and self._rng.random() < 0.5:
            self.lost += 1
            underway.clear()

    def _send(self, author: int, data: bytes) -> None:
        delay = self._rng.expovariate(1 / 0.3)
        while self._rng.random() < self.faults.lost_record:
            self.lost += 1
            delay += RESEND_SECONDS
        self._clock.after(delay, lambda: self._include(author, data))

    def _include(self, author: int, data: bytes) -> None:
        underway = self._underway[author]
        if self.closed or not underway or underway[0] != data:
            return
        if self.stalled or not self.open:
            self._clock.after(self._rng.uniform(0.5, 1.5), lambda: self._include(author, data))
            return
        underway.popleft()
        self._confirm(author, data)
        if self._rng.random() < self.faults.repeated_record:
            self.repeated += 1
            self._confirm(author, data)
        if underway:
            self._send(author, underway[0])

    def _confirm(self, author: int, data: bytes) -> None:
        self._seen.add((author, data))
        slot = Confirmed(len(self.order) + 1, author, data)
        self.order.append(slot)
        self._confirmed(slot)
