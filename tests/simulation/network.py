"""Messages between members: lost, doubled, late, and cut off by partitions.

A connection delivers or breaks: a message that is lost broke it, and both ends hear when it is up again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from random import Random

from protocol.inputs import Heard, Input, PeerUp
from simulation.clock import Clock
from simulation.scenario import Faults

RECONNECT_SECONDS = (0.5, 10.0)


class Network:
    """`give` hands an input to a member (which may be down)."""

    def __init__(self, clock: Clock, rng: Random, give: Callable[[int, Input], None]) -> None:
        self._clock = clock
        self._rng = rng
        self._give = give
        self.away: set[int] = set()
        self._broken: set[frozenset[int]] = set()
        self.faults = Faults()
        self.lost = 0
        self.doubled = 0

    def reaches(self, one: int, other: int) -> bool:
        """Whether both are on the same side of the partition."""
        return (one in self.away) == (other in self.away)

    def say(self, sender: int, receiver: int, data: bytes) -> None:
        """Send once."""
        if not self.reaches(sender, receiver):
            return
        if self._rng.random() < self.faults.loss:
            self.lost += 1
            self._break(sender, receiver)
            return
        copies = 1
        if self._rng.random() < self.faults.duplication:
            self.doubled += 1
            copies = 2
        for _ in range(copies):
            delay = self._rng.expovariate(1 / self.faults.delay)
            self._clock.after(delay, lambda: self._give(receiver, Heard(sender, data)))

    def _break(self, one: int, other: int) -> None:
        pair = frozenset((one, other))
        if pair not in self._broken:
            self._broken.add(pair)
            self._clock.after(self._rng.uniform(*RECONNECT_SECONDS), lambda: self.connect(one, other))

    def connect(self, one: int, other: int) -> None:
        """Both hear of each other, if they can."""
        self._broken.discard(frozenset((one, other)))
        if self.reaches(one, other):
            self._give(one, PeerUp(other))
            self._give(other, PeerUp(one))

    def divide(self, away: set[int], members: tuple[int, ...]) -> None:
        """Cut some off from the rest, instead of whom was cut off before: what is whole again comes up."""
        before, self.away = self.away, away
        for one, other in combinations(members, 2):
            if (one in before) != (other in before):
                self.connect(one, other)

    def heal(self, members: tuple[int, ...]) -> None:
        """End the partition."""
        self.divide(set(), members)
