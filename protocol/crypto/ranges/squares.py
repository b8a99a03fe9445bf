"""Non-negative integers as sums of squares, which is how a range is proved over the integers.

Every 4t + 1 with t ≥ 0 is X² + Y² + Z², and no negative one is (Legendre; used for range proofs by Groth 2005
and Couteau, Klooß, Lin and Reichle, Eurocrypt 2021). X is taken near the root until the rest is a square or a
prime, which is 1 modulo 4, and that one is split by Euclid's algorithm (Hermite and Serret 1848).
"""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from protocol.errors import OwnFault

Squares = tuple[mpz, mpz, mpz]


def three_squares(number: int) -> Squares:
    """X, Y, Z ≥ 0 with X² + Y² + Z² = `number`, which is 1 modulo 4; `OwnFault` for any other.

    The time that it takes depends on the number.
    """
    number = mpz(number)
    if number < 1 or number % 4 != 1:
        raise OwnFault("only positive numbers that are 1 modulo 4 are split")
    first = gmpy2.isqrt(number)
    first -= first % 2
    while first >= 0:
        rest = number - first * first
        if gmpy2.is_square(rest):
            return first, gmpy2.isqrt(rest), mpz(0)
        if gmpy2.is_prime(rest):
            return first, *_two_squares(rest)
        first -= 2
    raise OwnFault("a number has no such sum of squares")


def _two_squares(prime: mpz) -> tuple[mpz, mpz]:
    base = mpz(2)
    while gmpy2.jacobi(base, prime) != -1:
        base += 1
    high, low = prime, gmpy2.powmod(base, prime // 4, prime)  # a root of −1
    while low * low > prime:
        high, low = low, high % low
    return low, high % low
