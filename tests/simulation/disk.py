"""A member's disk: what a crash leaves, and what it may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from protocol.inputs import Confirmed
from protocol.journal import AnyEntry


@dataclass
class Disk:
    """The journal's durable entries; the slots kept beside it, whose tail is not synced; whole objects
    by digest; models by digest."""

    entries: list[AnyEntry] = field(default_factory=list)
    slots: list[Confirmed] = field(default_factory=list)
    objects: dict[bytes, bytes] = field(default_factory=dict)
    models: set[bytes] = field(default_factory=set)
    underway: tuple[AnyEntry, ...] = ()

    def begin(self, entries: tuple[AnyEntry, ...]) -> None:
        """An append is under way: durable only once it is completed."""
        self.underway = entries

    def complete(self) -> None:
        """The append is durable."""
        self.entries += self.underway
        self.underway = ()

    def crash(self, rng: Random, tail: int) -> None:
        """An append under way is there whole or not at all; up to `tail` of the slots kept are gone."""
        if self.underway and rng.random() < 0.5:
            self.complete()
        self.underway = ()
        lost = rng.randint(0, min(tail, len(self.slots)))
        del self.slots[len(self.slots) - lost :]
