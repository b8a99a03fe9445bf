"""Shamir's sharing modulo m: the secret is f(0), member i's share f(i).

Any degree + 1 shares determine the secret, and any `degree` of them are uniform (Shamir 1979). The modulus
need not be prime: differences of share indices must be units, so a composite whose prime factors all
exceed the number of members serves as well (it is the product ring of as many fields).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import gmpy2
from gmpy2 import mpz

from protocol.crypto.sharing.errors import InconsistentShares, require_points, require_shares
from protocol.errors import OwnFault


def polynomial(secret: int, degree: int, modulus: int) -> list[mpz]:
    """Coefficients, constant term first, of a random polynomial with f(0) = `secret`."""
    return [mpz(secret) % modulus, *(mpz(secrets.randbelow(int(modulus))) for _ in range(degree))]


def evaluate(coefficients: Sequence[mpz], point: int, modulus: int) -> mpz:
    """f(point) modulo `modulus`; coefficients are given constant term first, at least one."""
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * point + coefficient
    return value % modulus


def deal(secret: int, degree: int, members: int, modulus: int) -> dict[int, mpz]:
    """Shares of `secret` for members 1 … `members`, of which any degree + 1 recover it.

    Raises `OwnFault` unless 0 ≤ degree < members.
    """
    if not 0 <= degree < members:
        raise OwnFault(f"a polynomial of degree {degree} cannot be recovered by {members} members")
    coefficients = polynomial(secret, degree, modulus)
    return {member: evaluate(coefficients, member, modulus) for member in range(1, members + 1)}


def lagrange(points: Sequence[int], modulus: int, at: int = 0) -> dict[int, mpz]:
    """The coefficients λᵢ with f(at) = Σ λᵢ·f(i) for every f of degree below len(points).

    Raises `BadShareIndex` for zero or repeated points, `OwnFault` if differences are not invertible.
    """
    require_points(points)
    coefficients = {}
    for point in points:
        numerator = denominator = mpz(1)
        for other in points:
            if other != point:
                numerator = numerator * (at - other) % modulus
                denominator = denominator * (point - other) % modulus
        try:
            coefficients[point] = numerator * gmpy2.invert(denominator, modulus) % modulus
        except ZeroDivisionError as error:
            raise OwnFault("share indices differ by a divisor of the modulus") from error
    return coefficients


def at_zero(values: Sequence[mpz], weights: Mapping[int, mpz], modulus: int) -> mpz:
    """f(0) from the values of f at the points of `weights` (the coefficients by `lagrange`), in order."""
    pairs = zip(weights.values(), values, strict=True)
    return sum((weight * value for weight, value in pairs), mpz(0)) % modulus


def has_spare_value(values: Sequence[mpz], weights: Mapping[int, mpz], modulus: int) -> bool:
    """Whether f is of a degree for which one value less than these would do.

    Then, and only then, x·f(x) is still of a degree for which the weights hold, and is 0 at 0.
    """
    shifted = [point * value for point, value in zip(weights, values, strict=True)]
    return bool(at_zero(shifted, weights, modulus) == 0)


def interpolate(shares: Mapping[int, int], modulus: int, at: int = 0) -> mpz:
    """f(at) for the polynomial of degree len(shares) − 1 through all `shares`."""
    weights = lagrange(list(shares), modulus, at)
    return sum((weights[point] * value for point, value in shares.items()), mpz(0)) % modulus


def reconstruct(shares: Mapping[int, int], degree: int, modulus: int) -> mpz:
    """The secret from at least degree + 1 `shares` by member index; all of them must agree.

    Raises `TooFewShares`, `BadShareIndex`, or `InconsistentShares` when a surplus share is off the
    polynomial (which one is wrong cannot be told without more redundancy or commitments).
    """
    require_shares(shares, degree + 1)
    points = sorted(shares)
    basis = {point: shares[point] for point in points[: degree + 1]}
    for point in points[degree + 1 :]:
        if interpolate(basis, modulus, at=point) != shares[point] % modulus:
            raise InconsistentShares(f"the shares of members {points} are not of one polynomial")
    return interpolate(basis, modulus)
