"""What a benchmark of the cryptography finds out, as plain data."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from node.bench.clock import Cost


@dataclass(frozen=True)
class Machine:
    """Where it was measured, and how busy that was: `load` is the average of the last minute."""

    processor: str
    cores: int
    kernel: str
    python: str
    load: float


@dataclass(frozen=True)
class Baseline:
    """Costs of one operation each: of one number for `phe` as shipped, else of one ciphertext."""

    encrypt: Cost
    add: Cost
    decrypt: Cost


@dataclass(frozen=True)
class Facts:
    """The size of the key and of the update that everything was measured on."""

    modulus_bits: int
    members: int
    threshold: int
    parameters: int
    ciphertexts: int

    @property
    def per_parameter(self) -> float:
        """Ciphertexts per parameter."""
        return self.ciphertexts / self.parameters


@dataclass
class Measured:
    """Costs per ciphertext on one backend and some cores, by operation; proofs and the blob in bytes."""

    backend: str
    cores: int
    costs: dict[str, Cost] = field(default_factory=dict)
    plaintext_proof: int = 0
    share_proof: int = 0
    blob: int = 0
    ranged_ciphertexts: int = 0
    range_proof: int = 0


@dataclass(frozen=True)
class Operations:
    """A round's operations on every backend, beside those of others."""

    facts: Facts
    shipped: Baseline
    packed: Baseline
    gmp: Baseline
    measured: list[Measured]

    def on_one_core(self) -> dict[str, Measured]:
        """By backend, the fastest first."""
        return {each.backend: each for each in self.measured if each.cores == 1}


@dataclass(frozen=True)
class Run:
    """One key generation: seconds of `wall`, and of CPU by member; candidates `tried`; bytes one sent."""

    wall: float
    cpu: list[float]
    tried: int
    rounds: int
    sent: int


@dataclass(frozen=True)
class Generations:
    """Several key generations of the same kind."""

    members: int
    bits: int
    runs: list[Run]

    @property
    def wall(self) -> float:
        """Median seconds from start to key."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        """Median CPU seconds of all members together."""
        return statistics.median(sum(run.cpu) for run in self.runs)

    def idle_wall(self, cores: int) -> float:
        """Median seconds that `cores` idle cores would need at least: no member is quicker than its CPU."""
        return statistics.median(max(max(run.cpu), sum(run.cpu) / cores) for run in self.runs)


@dataclass(frozen=True)
class Target:
    """A claim with its bound and the measured value; at least or at most, as `floor` says."""

    claim: str
    bound: float
    measured: float
    floor: bool
    unit: str = "×"

    @property
    def reached(self) -> bool:
        """Whether the measured value is on the right side of the bound."""
        return self.measured >= self.bound if self.floor else self.measured <= self.bound

    def as_json(self) -> dict[str, Any]:
        """All fields and the verdict."""
        return asdict(self) | {"reached": self.reached}


@dataclass
class Report:
    """Everything that one run measured."""

    machine: Machine
    operations: Operations | None = None
    keys: list[Generations] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    load_after: float = 0.0
