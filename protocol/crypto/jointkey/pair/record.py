"""What one member knows about one batch: everything that the other's opened leaves are checked against."""

from __future__ import annotations

from dataclasses import dataclass, field

from gmpy2 import mpz

from protocol.crypto.jointkey.pair.candidate import Draw, Summands


@dataclass(repr=False)
class Record:
    """What one member knows about a batch; all mappings are by candidate."""

    draws: dict[int, Draw] = field(default_factory=dict)
    """Its own draws."""
    offers: dict[int, tuple[mpz, mpz]] = field(default_factory=dict)
    """The ciphertexts of u_p and u_q, the other's as received."""
    totals: dict[int, mpz] = field(default_factory=dict)
    """What it decrypted in the sieve, for candidates it owns."""
    summands: dict[int, Summands] = field(default_factory=dict)
    factors: dict[int, tuple[mpz, mpz]] = field(default_factory=dict)
    """The ciphertexts of the owner's summands."""
    answers: dict[int, mpz] = field(default_factory=dict)
    """The ciphertexts that answered them."""
    products: dict[int, mpz] = field(default_factory=dict)
    """What it decrypted there, for candidates it owns."""
    moduli: dict[int, mpz] = field(default_factory=dict)
    powers: dict[int, tuple[mpz, mpz]] = field(default_factory=dict)
    """For candidates without small factors, the powers of two of members 1 and 2."""
