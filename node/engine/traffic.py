"""What one job moves between machines: what is under way, and how much it was in all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import trio

Direction = Literal["up", "down", "check"]
"""To the own bucket or a peer; from a bucket or a peer; from the own bucket, only to verify what it holds."""


@dataclass(eq=False)
class Movement:
    """One object on its way: sizes in bytes, `place` where it goes or comes from, times in seconds."""

    direction: Direction
    object: str
    place: str
    size: int
    began: float
    moved: int = 0

    def reached(self, moved: int) -> None:
        """So many bytes have moved; fewer than before where it is tried again."""
        self.moved = moved

    def advance(self, count: int) -> None:
        """So many more bytes have moved."""
        self.moved += count

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return trio.current_time() - self.began

    @property
    def rate(self) -> float:
        """Bytes per second so far."""
        return self.moved / max(self.seconds, 1e-6)


@dataclass
class Total:
    """All that was moved in one direction: objects, bytes, and the seconds that each took, added up."""

    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Traffic:
    """The movements of one job."""

    def __init__(self) -> None:
        self._under_way: set[Movement] = set()
        self._totals: defaultdict[Direction, Total] = defaultdict(Total)

    @contextmanager
    def moving(self, direction: Direction, digest: bytes, place: str, size: int) -> Iterator[Movement]:
        """A movement that is shown while the body runs, and counted if it ends without an error."""
        movement = Movement(direction, digest.hex(), place, size, trio.current_time())
        self._under_way.add(movement)
        try:
            yield movement
            self._count(movement)
        finally:
            self._under_way.discard(movement)

    def _count(self, movement: Movement) -> None:
        total = self._totals[movement.direction]
        total.objects += 1
        total.bytes += movement.size
        total.seconds += movement.seconds

    def total(self, direction: Direction) -> Total:
        """All that was moved in a direction since the node began."""
        return self._totals[direction]

    def view(self) -> list[dict[str, Any]]:
        """What is under way, oldest first, as plain values."""
        return [
            {
                "direction": each.direction,
                "object": each.object,
                "place": each.place,
                "moved_bytes": min(each.moved, each.size),
                "size_bytes": each.size,
                "rate": round(each.rate),
                "seconds": round(each.seconds, 3),
            }
            for each in sorted(self._under_way, key=lambda each: each.began)
        ]
