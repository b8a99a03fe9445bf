"""Prime fields for secure multiplication: the largest prime below a power of two, the same for everyone."""

from __future__ import annotations

from functools import cache

import gmpy2
from gmpy2 import mpz

from protocol.crypto.profiles import SLACK_BITS
from protocol.crypto.threshold import MAX_MEMBERS

_DISTANCES = {2056: 1037, 3080: 189, 4182: 6017, 6230: 8303}
"""2^bits − distance is the largest prime below 2^bits, for the sizes of the real profiles: searching for
the larger ones takes seconds."""


@cache
def largest_prime(bits: int) -> mpz:
    """The largest prime below 2^bits, bits ≥ 2: a table for the sizes in use, a search for others."""
    if bits in _DISTANCES:
        return (mpz(1) << bits) - _DISTANCES[bits]
    return gmpy2.prev_prime(mpz(1) << bits)


def product_field(modulus_bits: int) -> mpz:
    """F_P in which n = p·q is computed: P > 2^{|n|}, so that the product is exact."""
    return largest_prime(modulus_bits + 8)


def exponent_field(modulus_bits: int) -> mpz:
    """F_P in which β·φ(n) is computed, with P > N·n²·2^80 for every N ≤ 32.

    The gap hides β·φ, to 2^-80, in what the wrap of Σdᵢ around P gives away.
    """
    return largest_prime(2 * modulus_bits + MAX_MEMBERS.bit_length() + SLACK_BITS)
