"""What a seed stands for: the cohort, who misbehaves, and which faults there are and how many.

Each seed enables some kinds of fault and leaves out others: faults that always come together hide one
another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import msgspec
from support.manifests import manifest

from protocol.manifest import Deadlines, Manifest
from protocol.thresholds import Thresholds

SIZES = (2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10)

SPARE_ROUNDS = 20
"""More rounds than a row of burned ones takes."""

DEADLINES = Deadlines(key=300, contribute=60, attest=30, open=90)


@dataclass(frozen=True)
class Faults:
    """Probabilities, mean seconds between faults (0: never) and whom they befall."""

    crash: float = 0.0
    """Of a crash at each boundary of an effect."""
    tail: int = 0
    """Slots read that a crash may take from the disk at most."""
    loss: float = 0.0
    duplication: float = 0.0
    delay: float = 0.1
    partition: float = 0.0
    stall: float = 0.0
    lost_record: float = 0.0
    repeated_record: float = 0.0
    disconnect: float = 0.0
    outage: float = 0.0
    bit_flip: float = 0.0
    slow: frozenset[int] = frozenset()
    failed_training: float = 0.0
    vanishing: int = 0
    stops: int = 0
    declines: int = 0
    """Operators that take back, at the start, that they accepted."""
    forks: int = 0
    """Members whose hydra-nodes lie: each shows two records the other way round than to the rest, once."""


@dataclass(frozen=True)
class Scenario:
    """One run: `faults` last for `unsafe` seconds; then there are none, and everything must end."""

    seed: int
    manifest: Manifest
    byzantine: frozenset[int]
    faults: Faults
    unsafe: float
    real_crypto: bool = False
    trusting: bool = True
    """Whether members trust their own hydra-nodes; where these lie, they must not."""
    silent: bool = False
    """Whether the Byzantine member helps to make the key, and then never says a word again."""

    @property
    def size(self) -> int:
        """Members."""
        return self.manifest.roster.size

    @property
    def honest(self) -> frozenset[int]:
        """Members that follow the protocol."""
        return frozenset(self.manifest.roster.indices) - self.byzantine


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for instead of what the seed would draw."""

    members: int | None = None
    rounds: int | None = None
    byzantine: bool | None = None
    faultless: bool = False
    real_crypto: bool = False
    silent: bool = False
    lies: bool = False

    def arguments(self) -> str:
        """The options that repeat them."""
        parts = []
        if self.members is not None:
            parts.append(f"--members {self.members}")
        if self.rounds is not None:
            parts.append(f"--rounds {self.rounds}")
        if self.byzantine is not None:
            parts.append("--byzantine yes" if self.byzantine else "--byzantine no")
        if self.faultless:
            parts.append("--faultless")
        if self.real_crypto:
            parts.append("--real-crypto")
        if self.silent:
            parts.append("--silent")
        if self.lies:
            parts.append("--lies")
        return " ".join(parts)


def draw(seed: int, wishes: Wishes | None = None) -> Scenario:
    """The scenario of a seed."""
    wishes = wishes or Wishes()
    rng = Random(f"scenario {seed}")  # noqa: S311
    members = wishes.members or rng.choice(SIZES)
    rounds = wishes.rounds or _rounds(rng)
    thresholds = _thresholds(rng, members)
    byzantine = _byzantine(rng, members, thresholds.colluders, wishes.byzantine)
    spare = members - thresholds.shares - len(byzantine)
    faults = Faults() if wishes.faultless else _faults(rng, members, spare)
    job = manifest(
        members,
        rounds,
        nonce=rng.randbytes(16),
        thresholds=thresholds,
        acknowledge_leaks=True,
        round_limit=rounds + rng.choice((0, 2, rounds)),
        key_attempts=rng.choice((2, 3, 5)),
        deadlines=DEADLINES,
    )
    unsafe = rng.uniform(0.2, 1.5) * (40 + 40 * rounds)
    if wishes.lies:
        faults = replace(faults, forks=rng.randint(1, members))
    trusting = not faults.forks and rng.random() < 0.8
    drawn = Scenario(seed, job, byzantine, faults, unsafe, wishes.real_crypto, trusting)
    return _with_silence(drawn, rng) if wishes.silent else drawn


def _with_silence(drawn: Scenario, rng: Random) -> Scenario:
    """The same cohort under the default thresholds, whose only trouble for good is one member's silence."""
    thresholds = Thresholds.default(drawn.size)
    limit = drawn.manifest.rounds + SPARE_ROUNDS
    job = msgspec.structs.replace(drawn.manifest, thresholds=thresholds, round_limit=limit)
    faults = replace(
        drawn.faults, slow=frozenset(), vanishing=0, stops=0, declines=0, forks=0, failed_training=0.0
    )
    who = frozenset({rng.randint(1, drawn.size)})
    return replace(drawn, manifest=job, byzantine=who, faults=faults, silent=True)


def _rounds(rng: Random) -> int:
    return rng.choice((1, 2, 2, 3, 3, 4, 5, 8, 20))


def _thresholds(rng: Random, members: int) -> Thresholds:
    """The defaults, or others within the inequalities."""
    default = Thresholds.default(members)
    if rng.random() < 0.7:
        return default
    colluders = rng.randint(0, default.colluders)
    shares = rng.randint(max(2, colluders + 1), members - colluders)
    return Thresholds(colluders, shares, rng.randint(min(members, colluders + 2), members))


def _byzantine(rng: Random, members: int, most: int, wished: bool | None) -> frozenset[int]:
    some = rng.random() < 0.6 if wished is None else wished
    count = rng.randint(1, most) if some and most else 0
    return frozenset(rng.sample(range(1, members + 1), count))


def _faults(rng: Random, members: int, spare: int) -> Faults:
    def maybe(value: float, odds: float = 0.5) -> float:
        return value if rng.random() < odds else 0.0

    faults = Faults(
        crash=maybe(rng.choice((0.001, 0.005, 0.02)), 0.7),
        tail=rng.choice((0, 0, 3, 1000)),
        loss=maybe(rng.uniform(0.0, 0.5)),
        duplication=maybe(rng.uniform(0.0, 0.3)),
        delay=rng.choice((0.05, 0.5, 5.0)),
        partition=maybe(rng.uniform(20, 200)),
        stall=maybe(rng.uniform(30, 300)),
        lost_record=maybe(rng.uniform(0.0, 0.5)),
        repeated_record=maybe(0.05, 0.1),
        disconnect=maybe(rng.uniform(20, 200)),
        outage=maybe(rng.uniform(20, 200)),
        bit_flip=maybe(rng.uniform(0.0, 0.5)),
        failed_training=maybe(0.1, 0.2),
    )
    slow = rng.sample(range(1, members + 1), rng.randint(0, max(0, spare))) if rng.random() < 0.3 else ()
    vanishing = rng.randint(0, max(0, spare)) if rng.random() < 0.3 else 0
    stops = rng.randint(1, members) if rng.random() < 0.05 else 0
    declines = 1 if rng.random() < 0.05 else 0
    forks = rng.randint(1, members) if rng.random() < 0.1 else 0
    return replace(
        faults, slow=frozenset(slow), vanishing=vanishing, stops=stops, declines=declines, forks=forks
    )
