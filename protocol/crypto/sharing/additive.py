"""Additive sharing modulo m: x = Σ xᵢ.

All shares are needed and any fewer are uniform, whatever x is. The paper's first scheme (section 3.4).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from gmpy2 import mpz

from protocol.errors import OwnFault


def deal(secret: int, count: int, modulus: int) -> list[mpz]:
    """`count` ≥ 1 shares modulo `modulus` ≥ 2 that sum to `secret`; raises `OwnFault` otherwise."""
    if count < 1 or modulus < 2:
        raise OwnFault(f"cannot split into {count} shares modulo {modulus}")
    shares = [mpz(secrets.randbelow(int(modulus))) for _ in range(count - 1)]
    return [(secret - sum(shares)) % mpz(modulus), *shares]


def reconstruct(shares: Iterable[int], modulus: int) -> mpz:
    """The secret: the sum of all shares modulo `modulus`."""
    return sum(shares, mpz(0)) % modulus
