"""Which contributions a seal seals: computed from the log, chosen by nobody (`Round.tla`).

What is opened from one base model can be subtracted from what else is opened from it. So the members of
all sums from one base fall into atoms, those that are in exactly the same sums, and each atom is empty or
large enough that nobody in it is alone with colluders. Members whose own signature proves that they
cheated are left out of that count; whoever is merely silent never is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.encoding import canonical

Set = frozenset[int]

MAX_SETS = 2
"""Different sets from one base: a third would need atoms that no rule here finds."""


@dataclass(frozen=True)
class Base:
    """The sums that were sealed from one model: every seal counts as opened, whatever became of it.

    `gap` is how many members an atom has at least; `model` and `job` decide who is left out first.
    """

    job: bytes
    model: bytes
    gap: int
    sums: tuple[Set, ...] = ()

    def next_sum(self, attested: Set, culprits: Set, quorum: int) -> Set | None:
        """Who is in the next sum where the updates of `attested` are at hand; None where no sum of at least
        `quorum` members is allowed."""
        chosen = self._chosen(self._without(culprits), attested, quorum)
        return chosen if chosen is not None and len(chosen) >= quorum else None

    def _chosen(self, sums: tuple[Set, ...], attested: Set, quorum: int) -> Set | None:
        if not sums:
            return attested
        if len(sums) == MAX_SETS:
            again = (members for members in reversed(sums) if members <= attested and len(members) >= quorum)
            return next(again, None)
        return self._second(sums[0], attested)

    def _without(self, culprits: Set) -> tuple[Set, ...]:
        return tuple(dict.fromkeys(members - culprits for members in self.sums))

    def _second(self, first: Set, attested: Set) -> Set | None:
        missing, added = first - attested, attested - first
        newcomers = added if len(added) >= self.gap else frozenset()
        if not missing:
            return first | newcomers
        staying = sorted(first & attested, key=lambda member: rank(self.job, self.model, member))
        second = frozenset(staying[max(0, self.gap - len(missing)) :]) | newcomers
        return second if second and self._hides(first, second) else None

    def _hides(self, first: Set, second: Set) -> bool:
        atoms = (first & second, first - second, second - first)
        return all(not atom or len(atom) >= self.gap for atom in atoms)


def rank(job: bytes, model: bytes, member: int) -> bytes:
    """Of members some of whom must be left out of a sum, that of the lowest rank goes first."""
    return hashlib.sha256(canonical.dump([job, model, member])).digest()


def common(attested: Iterable[Set], needed: int) -> Set:
    """The members that at least `needed` of the sets hold."""
    sets = list(attested)
    everyone: Set = frozenset().union(*sets)
    return frozenset(member for member in everyone if sum(member in some for some in sets) >= needed)
