"""Key generation as members experience it: who takes part, what comes of it, and who is blamed.

A member that begins an attempt a second time contradicts what it said the first time; the others take
that for a cheat, as the real generation does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from support.dealer import deal

from protocol.inputs import Input, KeyFailed, KeyMade
from protocol.keyring import StoredShare
from protocol.words import KeyReason
from simulation.clock import Clock
from simulation.cryptography import Cryptography, Real, StandIn
from simulation.scenario import Scenario


@dataclass
class _Attempt:
    """`lives` tells which life of a member takes part; `split` have another key than the rest."""

    plan: str
    lives: dict[int, int] = field(default_factory=dict)
    split: frozenset[int] = frozenset()


class KeyMaking:
    """All attempts of one job. `give` hands an input to a member if it is still in the given life."""

    def __init__(
        self, scenario: Scenario, clock: Clock, rng: Random, give: Callable[[int, int, Input], None]
    ) -> None:
        self._scenario = scenario
        self._clock = clock
        self._rng = rng
        self._give = give
        self._attempts: dict[int, _Attempt] = {}
        self._models: dict[bytes, dict[str, object]] = {}
        self.keys: dict[bytes, Cryptography] = {}
        self.faults: list[str] = []

    def plan(self, attempt: int) -> _Attempt:
        """What the Byzantine members will do in an attempt."""
        if attempt not in self._attempts:
            plans = ("join", "join", "join", "away", "cheat", "split")
            deviates = self._scenario.byzantine and not self._scenario.silent
            plan = self._rng.choice(plans) if deviates else "join"
            self._attempts[attempt] = _Attempt(plan)
            if plan != "join":
                self.faults.append(f"key generation: {plan}")
        return self._attempts[attempt]

    def begin(self, member: int, life: int, attempt: int) -> None:
        """An honest member takes part from now on."""
        made = self.plan(attempt)
        if member in made.lives:
            self._tell(made, attempt, but=member, accused=member)
            return
        made.lives[member] = life
        if len(made.lives) == len(self._scenario.honest) and made.plan != "away":
            self._conclude(made, attempt)

    def _conclude(self, made: _Attempt, attempt: int) -> None:
        if made.plan == "cheat":
            cheater = self._rng.choice(sorted(self._scenario.byzantine))
            self._tell(made, attempt, but=0, accused=cheater)
            return
        honest = sorted(made.lives)
        if made.plan == "split" and len(honest) > 1:
            made.split = frozenset(self._rng.sample(honest, self._rng.randint(1, len(honest) - 1)))
        for member in honest:
            key, secret = self.share(attempt, member, split=member in made.split)
            self._later(made, member, KeyMade(attempt, key, secret))

    def _tell(self, made: _Attempt, attempt: int, but: int, accused: int) -> None:
        for member in sorted(made.lives):
            if member != but:
                self._later(made, member, KeyFailed(attempt, accused, KeyReason.DEVIATION))

    def _later(self, made: _Attempt, member: int, given: Input) -> None:
        life = made.lives[member]
        self._clock.after(self._rng.uniform(1, 20), lambda: self._give(member, life, given))

    def share(self, attempt: int, member: int, *, split: bool = False) -> tuple[bytes, bytes]:
        """The digest of an attempt's key, and the member's share of it."""
        scenario = self._scenario
        if scenario.real_crypto and not split:
            dealt = deal(scenario.size, scenario.manifest.thresholds.shares)
            digest, secret = dealt.key.digest, StoredShare.of(dealt.key, dealt.shares[member]).to_bytes()
            self.keys.setdefault(
                digest, Real(scenario.manifest, dealt.key, dealt.shares, self._models, self._rng)
            )
            return digest, secret
        digest = hashlib.sha256(b"key %d %d" % (attempt, split)).digest()
        self.keys.setdefault(digest, StandIn(scenario.manifest, digest, self._rng))
        return digest, b"share"
