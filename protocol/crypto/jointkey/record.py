"""What one member knows about one batch of candidates: everything that opened leaves are checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gmpy2 import mpz

from protocol.crypto.jointkey.sieve import Selection
from protocol.crypto.jointkey.verdict import Exchange

SIEVE, PRODUCT, DIVISORS = range(3)
"""Numbers of a record's exchanges of private parts."""


@dataclass(frozen=True, repr=False)
class Tested:
    """The candidate that went through the full test, and what was sent about it: by member, the powers of
    all bases and the openings of the divisor checks."""

    candidate: int
    values: Mapping[int, Sequence[mpz]]
    exchange: Exchange
    openings: Mapping[int, Sequence[mpz]]
    passed: bool


@dataclass(repr=False)
class Record:
    """Grows with the rounds of a batch. Mappings are by candidate, then by member."""

    number: int
    constants: tuple[mpz, ...]
    """What the leader adds to its summands of p and q."""
    roots: dict[int, bytes] = field(default_factory=dict)
    """Each member's commitment to all of its leaves."""
    exchanges: list[Exchange] = field(default_factory=list)
    """Private parts: of the sieve (one per candidate), then of the product (one per sieved candidate)."""
    sieve_openings: list[list[list[mpz]]] = field(default_factory=list)
    """For each candidate, the openings of members 1 … N in order."""
    opened: list[list[mpz]] = field(default_factory=list)
    """For each candidate, what those openings combine to."""
    selections: dict[int, tuple[Selection, ...]] = field(default_factory=dict)
    """For each candidate that survived the sieve, in order, which try serves which primes."""
    product_openings: dict[int, list[mpz]] = field(default_factory=dict)
    """For each sieved candidate, the shares of n of members 1 … N in order."""
    moduli: dict[int, mpz] = field(default_factory=dict)
    """n of each sieved candidate."""
    base_two: dict[int, dict[int, mpz]] = field(default_factory=dict)
    """For each candidate without small factors, the members' powers of two."""
    passed: list[int] = field(default_factory=list)
    """Candidates that passed base 2."""
    misfits: set[int] = field(default_factory=set)
    """Candidates with openings of too high a degree, in the sieve or of the product."""
    tested: Tested | None = None

    @property
    def winner(self) -> int | None:
        """The candidate whose modulus is the joint one, if this batch has it."""
        return self.tested.candidate if self.tested is not None and self.tested.passed else None

    def all_exchanges(self) -> list[Exchange]:
        """Every exchange of private messages in this batch: sieve, product, and the full test's if it ran."""
        return self.exchanges if self.tested is None else [*self.exchanges, self.tested.exchange]
