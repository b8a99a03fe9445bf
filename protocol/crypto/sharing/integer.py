"""Shamir's sharing over the integers, for exponents in a group whose order nobody knows.

f(x) = Δ·secret + Σ aⱼ·xʲ over ℤ with Δ = N!, so that integer multiples of Lagrange's coefficients recover
Δ²·secret without a division (Shoup 2000; Rabin 1998). There is no uniform integer, so the aⱼ are longer than
what they hide by the statistical slack. Feldman's commitments g^{aⱼ} let every
member check its share.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from protocol.crypto.kernel import Modulus
from protocol.crypto.profiles import SLACK_BITS
from protocol.crypto.sharing.errors import (
    InconsistentShares,
    WrongShare,
    require_points,
    require_shares,
)
from protocol.errors import OwnFault


@dataclass(frozen=True)
class Scheme:
    """T-of-N sharing of secrets with |secret| < 2^secret_bits; `threshold` = degree + 1."""

    members: int
    threshold: int
    secret_bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= self.members or self.secret_bits < 1:
            raise OwnFault(f"cannot share {self.secret_bits} bits {self.threshold}-of-{self.members}")

    @property
    def delta(self) -> mpz:
        """Δ = N!."""
        return gmpy2.fac(self.members)

    @property
    def coefficient_bits(self) -> int:
        """Length of the random coefficients, which hide the secret from T − 1 members by the slack.

        A secret that differs by δ explains the shares of members C with coefficients that differ by
        those of the integer polynomial Δ·δ·∏(1 − x/c) over c in C: at most N·Δ·|δ| each, for at most N
        coefficients.
        """
        spread = int(self.delta.bit_length()) + 2 * self.members.bit_length()
        return self.secret_bits + spread + SLACK_BITS

    @property
    def share_bits(self) -> int:
        """Every share of one dealer is below 2^share_bits in absolute value."""
        return self.coefficient_bits + (self.threshold - 1) * self.members.bit_length() + 1


def polynomial(secret: int, scheme: Scheme) -> list[mpz]:
    """Coefficients Δ·secret, a₁ … a_{T−1}, the aⱼ uniform in 0 … 2^coefficient_bits − 1.

    Redrawn until all shares are non-negative, which fails with probability below 2^-80 for T ≥ 2 and so
    tells nothing. Raises `OwnFault` for a secret beyond the scheme's bound.
    """
    if abs(secret).bit_length() > scheme.secret_bits:
        raise OwnFault(f"the secret has more than {scheme.secret_bits} bits")
    while True:
        masks = [mpz(secrets.randbits(scheme.coefficient_bits)) for _ in range(scheme.threshold - 1)]
        coefficients = [scheme.delta * secret, *masks]
        if not masks or evaluate(coefficients, 1) >= 0:
            return coefficients


def evaluate(coefficients: Sequence[mpz], point: int) -> mpz:
    """f(point) over the integers."""
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * point + coefficient
    return value


def deal(secret: int, scheme: Scheme) -> dict[int, mpz]:
    """Shares of `secret` for members 1 … N."""
    coefficients = polynomial(secret, scheme)
    return {member: evaluate(coefficients, member) for member in range(1, scheme.members + 1)}


def reconstruct(shares: Mapping[int, int], scheme: Scheme) -> mpz:
    """The secret from at least T `shares` by member index; all of them must agree.

    Raises `TooFewShares`, `BadShareIndex`, or `InconsistentShares` when they are not of one polynomial with
    a constant term that Δ divides.
    """
    require_points(list(shares))
    require_shares(shares, scheme.threshold)
    points = sorted(shares)
    basis = points[: scheme.threshold]
    for at in points[scheme.threshold :]:
        if _interpolate(shares, basis, at) != shares[at]:
            raise InconsistentShares(f"the shares of members {points} are not of one polynomial")
    secret, remainder = gmpy2.t_divmod(_interpolate(shares, basis, 0), scheme.delta)
    if remainder:
        raise InconsistentShares("the shares do not recover a multiple of Δ")
    return secret


def _interpolate(shares: Mapping[int, int], basis: Sequence[int], at: int) -> mpz:
    total = gmpy2.mpq(0)
    for point in basis:
        others = [other for other in basis if other != point]
        weight = gmpy2.mpq(
            math.prod(at - other for other in others), math.prod(point - other for other in others)
        )
        total += weight * shares[point]
    if total.denominator != 1:
        raise InconsistentShares("the shares are not of one integer polynomial")
    return total.numerator


def commit(coefficients: Sequence[int], base: mpz, modulus: Modulus) -> list[mpz]:
    """Feldman's commitments base^{aⱼ} to the coefficients, constant term first."""
    return modulus.powers_each([base] * len(coefficients), coefficients, secret=True)


def expected(commitments: Sequence[mpz], point: int, modulus: Modulus) -> mpz:
    """base^{f(point)} from the commitments alone: ∏ Aⱼ^{pointʲ}, by Horner's rule in the exponent."""
    value = mpz(commitments[-1])
    for commitment in commitments[-2::-1]:
        value = gmpy2.powmod(value, point, modulus.value) * commitment % modulus.value
    return value


def verify(share: int, point: int, commitments: Sequence[mpz], base: mpz, modulus: Modulus) -> None:
    """Raise `WrongShare` unless `share` is the value at `point` of the committed polynomial."""
    require_points([point])
    if modulus.powers([base], share, secret=True)[0] != expected(commitments, point, modulus):
        raise WrongShare(f"the share for member {point} does not match the dealer's commitments")
