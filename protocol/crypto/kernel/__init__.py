"""Batched modular arithmetic: what all of Starling's cryptography computes with.

`Modulus(m)` works on whole lists modulo m; `powers_under` takes a modulus per element. Where CPU and
installation allow, eight numbers at a time go through AVX-512 IFMA; GMP gives the same integers elsewhere.
"""

from protocol.crypto.kernel.backend import available, backend, choose, using
from protocol.crypto.kernel.errors import (
    BackendUnavailable,
    BadModulus,
    BadOperand,
    LengthMismatch,
    NotInvertible,
)
from protocol.crypto.kernel.fixedbase import FixedBase
from protocol.crypto.kernel.modulus import Modulus, powers_under

__all__ = [
    "BackendUnavailable",
    "BadModulus",
    "BadOperand",
    "FixedBase",
    "LengthMismatch",
    "Modulus",
    "NotInvertible",
    "available",
    "backend",
    "choose",
    "powers_under",
    "using",
]
