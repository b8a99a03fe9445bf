"""An even number of members has one value more than it needs of whatever is multiplied.

Who deals values of a higher degree makes that value tell a secret: the factors of n, or φ(n). So nothing is
used of which the values do not fit.
"""

import dataclasses
import secrets

import gmpy2
import pytest
from gmpy2 import mpz

from protocol.crypto.jointkey.biprimality import MaskedGcd
from protocol.crypto.jointkey.errors import Cheater, GenerationFailed
from protocol.crypto.jointkey.honest_majority import HonestMajorityParty
from protocol.crypto.jointkey.leaf import fresh_leaves
from protocol.crypto.jointkey.party import Setup
from protocol.crypto.jointkey.plan import Plan, plan
from protocol.crypto.jointkey.product import Product
from protocol.crypto.jointkey.sieve import Sieve
from protocol.crypto.jointkey.wire import column_sums
from protocol.crypto.profiles import insecure_test_profile
from protocol.crypto.sharing.shamir import lagrange
from tests.support.dealer import primes
from tests.support.rehearsal import corrupt, rehearse

SETUP = Setup(b"j" * 32, b"r" * 32, 4, 2, insecure_test_profile(384))
FOUR = plan(4, 512)


def sieve_sums(numbers: Plan) -> dict[int, list[mpz]]:
    """What every member holds in the sieve: the sums of the values dealt to it."""
    sieve = Sieve(numbers)
    quintets = [sieve.polynomials(leaf) for leaf in fresh_leaves(numbers.members)]
    return {i: column_sums(sieve.values(each, i) for each in quintets) for i in numbers.indices}


def product_sums(numbers: Plan) -> dict[int, list[mpz]]:
    """What every member holds of p, q and zero."""
    product = Product(numbers)
    dealings = [product.dealing(leaf) for leaf in fresh_leaves(numbers.members)]
    summands = [mpz(secrets.randbits(250)), mpz(secrets.randbits(250))]
    return {
        i: column_sums(product.parts.unpack(product.part(each, summands, i)) for each in dealings)
        for i in numbers.indices
    }


def divisor_sums(numbers: Plan, checks: MaskedGcd) -> dict[int, list[mpz]]:
    """What every member holds in the divisor checks."""
    leaves = fresh_leaves(numbers.members)
    return {
        i: column_sums(
            checks.parts.unpack(checks.part(leaf, mpz(4 << 250), i, leads=leads))
            for leaf, leads in zip(leaves, [True] + [False] * (numbers.members - 1), strict=True)
        )
        for i in numbers.indices
    }


def test_values_of_too_high_a_degree_do_not_fit():
    sieve, product = Sieve(FOUR), Product(FOUR)
    sums, factors = sieve_sums(FOUR), product_sums(FOUR)
    assert sieve.fits([sieve.open(row) for row in sums.values()])
    assert product.fits([product.open(row) for row in factors.values()])
    sums[2][-4] += 1
    factors[2][1] += 1
    assert not sieve.fits([sieve.open(row) for row in sums.values()])
    assert not product.fits([product.open(row) for row in factors.values()])


def test_divisor_checks_do_not_pass_with_values_of_too_high_a_degree():
    p, q = primes(512)
    checks = MaskedGcd(FOUR, p * q)
    good = next(
        sums
        for sums in (divisor_sums(FOUR, checks) for _ in range(20))
        if checks.passes([checks.open(row) for row in sums.values()])
    )
    good[3][1] += 1
    assert not checks.passes([checks.open(row) for row in good.values()])


def test_an_odd_number_of_members_has_no_value_to_spare():
    numbers = plan(3, 512)
    sieve, sums = Sieve(numbers), sieve_sums(numbers)
    sums[2][-4] += 1
    assert sieve.fits([sieve.open(row) for row in sums.values()])


@pytest.mark.parametrize("members", [3, 4])
def test_everything_that_is_opened_is_masked(members):
    """Without the shares of zero a member's opening would be the product of its shares."""
    numbers = plan(members, 512)
    sieve, product = Sieve(numbers), Product(numbers)
    p, q = primes(512)
    checks = MaskedGcd(numbers, p * q)
    for opens, sums, zeros in (
        (sieve.open, sieve_sums(numbers), (3, 4)),
        (lambda row: [product.open(row)], product_sums(numbers), (2,)),
        (checks.open, divisor_sums(numbers, checks), (2, 5)),
    ):
        for row in sums.values():
            bare = [mpz(0) if at in zeros else value for at, value in enumerate(row)]
            pairs = list(zip(opens(bare), opens(row), strict=True))
            assert all(unmasked != masked for unmasked, masked in pairs[: len(zeros)])


def test_a_mask_of_too_high_a_degree_tells_the_totient_of_a_modulus_that_nobody_uses():
    """Member 4 deals its mask such that the openings also tell (p + q − 1)·1: it learns φ(n) of that n."""
    parties = [HonestMajorityParty(SETUP, me) for me in SETUP.indices]
    learnt = []

    def deals(original):
        def part(checks, leaf, total, point, *, leads):
            values = checks.parts.unpack(original(checks, leaf, total, point, leads=leads))
            for at, modulus in enumerate(checks.moduli):
                if point <= 2:
                    weight = lagrange(SETUP.indices, modulus)[point] * point
                    values[3 * at + 1] += lagrange((1, 2), modulus)[point] * gmpy2.invert(weight, modulus)
                    values[3 * at + 1] %= modulus
            return checks.parts.pack(values)

        return part

    def hears(original):
        def passes(checks, openings):
            weights, n = lagrange(SETUP.indices, checks.n), checks.n
            told = sum(weights[i] * i * opening[0] for i, opening in enumerate(openings, start=1))
            learnt.append(gmpy2.powmod(2, n - told % n, n) == 1)
            return original(checks, openings)

        return passes

    corrupt(parties[3], "protocol.crypto.jointkey.biprimality.MaskedGcd.part", deals)
    corrupt(parties[3], "protocol.crypto.jointkey.biprimality.MaskedGcd.passes", hears)
    outcome = rehearse(parties, dishonest=frozenset({4}))
    assert learnt == [True]
    assert {(type(e), e.member) for e in outcome.errors.values()} == {(Cheater, 4)}


class Watched(HonestMajorityParty):
    """A party that shows its share of the exponent before it is used."""

    def _multiply(self, winner, field):
        self.field, self.share = field, (yield from super()._multiply(winner, field))
        return self.share


def test_a_factor_of_the_exponent_of_too_high_a_degree_makes_no_key():
    parties = [Watched(SETUP, me) for me in SETUP.indices]

    def steep(original):
        return lambda secret, degree, *rest: original(secret, degree + (degree == 1), *rest)

    corrupt(parties[3], "protocol.crypto.sharing.shamir.deal", steep)
    outcome = rehearse(parties, dishonest=frozenset({4}))
    assert {(type(e), e.what) for e in outcome.errors.values()} == {
        (GenerationFailed, "the shares of the decryption exponent are of too high a degree")
    }


def test_a_share_of_the_exponent_is_more_than_a_product_of_shares():
    setup = dataclasses.replace(SETUP, members=3)
    parties = [Watched(setup, me) for me in setup.indices]
    held: list[list[mpz]] = []

    def kept(original):
        def sums(coding, parts):
            held.append(original(coding, parts))
            return held[-1]

        return sums

    corrupt(parties[0], "protocol.crypto.jointkey.honest_majority.dealt_sums", kept)
    assert rehearse(parties).errors == {}
    field = parties[0].field
    left, right, blind = held[-1]
    weight = lagrange(setup.indices, field)[1]
    assert blind != 0
    assert parties[0].share == weight * (left * right + blind) % field
