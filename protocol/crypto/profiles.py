"""Security profiles: how large the joint modulus is, and what that buys."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import OperatorFault

CHALLENGE_BITS = 128
"""Length of every challenge and batch weight (κ): a forged proof passes with probability 2^-128."""

SLACK_BITS = 80
"""Statistical slack wherever a secret integer is hidden by a longer random one (distance 2^-80)."""


@dataclass(frozen=True)
class Profile:
    """A named modulus size.

    `modulus_bits` is |n|; `secure` is False for sizes that only tests may use.
    """

    name: str
    modulus_bits: int
    secure: bool = True


STANDARD = Profile("standard", 3072)
"""128-bit security (NIST SP 800-57 part 1, table 2)."""

FAST = Profile("fast", 2048)
"""112-bit security."""

MIN_TEST_BITS = 256
MAX_TEST_BITS = 1024


def insecure_test_profile(bits: int = 512) -> Profile:
    """A profile of `bits` (256…1024) bits that protects nothing; the name says so wherever it is shown."""
    if not MIN_TEST_BITS <= bits <= MAX_TEST_BITS or bits % 2:
        raise OperatorFault(
            f"a test modulus has an even number of bits from {MIN_TEST_BITS} to {MAX_TEST_BITS}, not {bits}",
            remedy="use the profile 'fast' or 'standard' for real keys",
        )
    return Profile(f"insecure-test-{bits}", bits, secure=False)


def profile_named(name: str, *, allow_insecure: bool = False) -> Profile:
    """The profile called `name`: 'standard', 'fast', or 'insecure-test-BITS' where explicitly allowed.

    Raises `OperatorFault` for an unknown name, and for a test profile without `allow_insecure`.
    """
    for profile in (STANDARD, FAST):
        if profile.name == name:
            return profile
    prefix, _, bits = name.rpartition("-")
    if prefix == "insecure-test" and bits.isascii() and bits.isdigit():
        if not allow_insecure:
            raise OperatorFault(
                f"the key profile '{name}' protects nothing and is for tests only",
                remedy="use 'fast' or 'standard', or allow insecure keys explicitly",
            )
        return insecure_test_profile(int(bits))
    raise OperatorFault(f"there is no key profile '{name}'", remedy="choose 'standard' or 'fast'")
