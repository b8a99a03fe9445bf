"""The mathematics of one candidate: sieve, product, tests, each with all members in one place."""

import secrets

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.jointkey import biprimality
from protocol.crypto.jointkey.biprimality import MaskedGcd
from protocol.crypto.jointkey.leaf import Layout, commit, fresh_leaves, root
from protocol.crypto.jointkey.plan import MAX_BATCH, RETRY_BOUND, plan
from protocol.crypto.jointkey.product import Product, plausible
from protocol.crypto.jointkey.sieve import Sieve
from protocol.crypto.jointkey.wire import Residues, column_sums
from protocol.crypto.kernel import Modulus
from protocol.crypto.sigma import ProofRejected, prove, verify
from protocol.crypto.sigma.equality import SameExponentProver
from protocol.crypto.transcript import Context
from protocol.errors import MemberFault, OwnFault
from tests.support.dealer import primes

CONTEXT = Context(b"j" * 32, 0, 0, b"r" * 32)


@pytest.mark.parametrize("members", [3, 4, 5, 32])
@pytest.mark.parametrize("bits", [512, 2048, 3072])
def test_plans_fit_together(members, bits):
    numbers = plan(members, bits)
    assert 2 * numbers.degree < members
    assert numbers.tries[0] % numbers.tries[-1] == 0
    assert gmpy2.gcd(numbers.tries[0], gmpy2.primorial(32)) == 1
    assert numbers.spread.bit_length() > 80
    largest = numbers.top + numbers.sieved * (1 + members * numbers.spread)
    assert 3 << (bits // 2 - 2) <= numbers.top
    assert largest < mpz(1) << (bits // 2)
    assert numbers.field > largest**2
    assert 32 <= numbers.batch <= MAX_BATCH
    assert gmpy2.gcd(numbers.smooth, numbers.sieved) == 1


@given(st.integers(3, 7))
@settings(max_examples=25, deadline=None)
def test_sieve_and_product_make_factors_without_small_divisors(members):
    numbers = plan(members, 512)
    sieve, product = Sieve(numbers), Product(numbers)
    leaves = {i: secrets.token_bytes(32) for i in numbers.indices}
    quintets = {i: sieve.polynomials(leaf) for i, leaf in leaves.items()}
    received = {
        i: column_sums(sieve.parts.unpack(sieve.part(quintets[dealer], i)) for dealer in numbers.indices)
        for i in numbers.indices
    }
    selections = sieve.select(sieve.combine([sieve.open(received[i]) for i in numbers.indices]))
    if selections is None:
        return
    constants = [sieve.constant(CONTEXT, 0, factor) for factor in range(2)]
    dealings = {i: product.dealing(leaf) for i, leaf in leaves.items()}
    summands = {
        i: sieve.summands(i, received[i][::5], selections, dealings[i].spread, constants if i == 2 else None)
        for i in numbers.indices
    }
    p, q = (sum(column) for column in zip(*summands.values(), strict=True))
    for factor in (p, q):
        assert 3 << 254 <= factor < 1 << 256
        assert factor % 4 == 3
        assert gmpy2.gcd(factor * (factor - 1) // 2, numbers.sieved) == 1
    opened = [
        product.open(
            column_sums(
                product.parts.unpack(product.part(dealings[dealer], summands[dealer], i))
                for dealer in numbers.indices
            )
        )
        for i in numbers.indices
    ]
    assert product.combine(opened) == p * q
    assert p * q % numbers.fixed == constants[0] * constants[1] % numbers.fixed


def test_most_candidates_survive_the_sieve():
    sieve = Sieve(plan(3, 512))
    survived = 0
    for leaf in fresh_leaves(300):
        quintets = sieve.polynomials(leaf)
        survived += sieve.select(sieve.open(sieve.values(quintets, 0))) is not None
    assert survived > 260


def test_a_prime_below_the_retry_bound_is_lost_only_after_three_tries():
    numbers = plan(3, 512)
    sieve = Sieve(numbers)
    good = [mpz(1)] * (2 * len(sieve.moduli))
    assert RETRY_BOUND > 37
    one_left = list(good)
    one_left[0] = one_left[3] = mpz(37)
    selection = sieve.select(one_left)
    assert selection is not None
    assert selection[0][2] == 37
    one_left[4] = mpz(0)
    assert sieve.select(one_left) is None


def test_plausible_moduli_have_size_residue_and_no_small_factor():
    numbers = plan(3, 512)
    p, q = primes(512)
    residue = p * q % numbers.fixed
    small = gmpy2.next_prime(numbers.sieve_bound)
    divisible = (p * q // small) * small
    assert plausible(numbers, [p * q, p * q + numbers.fixed // 2, p * q >> 1, mpz(0)], residue) == [
        True,
        False,
        False,
        False,
    ]
    assert plausible(numbers, [divisible], divisible % numbers.fixed) == [False]
    assert plausible(numbers, [], residue) == []


def split(value: mpz, unit: int) -> dict[int, mpz]:
    """Three summands, the first of which carries the remainder modulo `unit`."""
    shares = {i: mpz(secrets.randbelow(int(value) // 4 // unit)) * unit for i in (2, 3)}
    return {1: value - sum(shares.values()), **shares}


def runs_full_test(p: mpz, q: mpz) -> bool:
    n, ps, qs = p * q, split(p, 4), split(q, 4)
    exponents = {i: biprimality.exponent(n, ps[i], qs[i], leads=i == 1) for i in ps}
    tested = biprimality.bases(n, CONTEXT)
    values = {i: biprimality.values(n, tested, e // 4) for i, e in exponents.items()}
    return biprimality.passes(n, values, 1)


def test_products_of_two_primes_pass_and_others_fail():
    p, q = primes(512)
    assert runs_full_test(p, q)
    r, s = primes(256)
    composite = r * s
    while composite % 4 != 3:
        composite += 2
    assert not gmpy2.is_prime(composite)
    assert not runs_full_test(composite, q)
    assert not runs_full_test(mpz(561 * 2**240 + 3), q)


def test_base_two_agrees_with_the_totient():
    p, q = primes(512)
    n, ps, qs = p * q, split(p, 4), split(q, 4)
    exponents = [biprimality.exponent(n, ps[i], qs[i], leads=i == 1) for i in (1, 2, 3)]
    values = dict(zip((1, 2, 3), biprimality.powers_of_two(exponents, [n] * 3), strict=True))
    assert biprimality.passes_base_two(n, values, 1)
    assert not biprimality.passes_base_two(n, {**values, 3: values[3] + 1}, 1)


def test_bases_have_jacobi_symbol_one_and_depend_on_everything():
    p, q = primes(512)
    tested = biprimality.bases(p * q, CONTEXT)
    assert len(set(tested)) == 128
    assert all(gmpy2.jacobi(base, p * q) == 1 for base in tested)
    assert tested != biprimality.bases(p * q, Context(b"k" * 32, 0, 0, b"r" * 32))


def masked_gcd(p: mpz, q: mpz) -> bool:
    numbers = plan(3, 512)
    checks = MaskedGcd(numbers, p * q)
    ps, qs = split(p, 4), split(q, 4)
    leaves = dict(zip((1, 2, 3), fresh_leaves(3), strict=True))
    openings = []
    for point in (1, 2, 3):
        parts = [checks.part(leaves[i], ps[i] + qs[i], point, leads=i == 1) for i in (1, 2, 3)]
        openings.append(checks.open(column_sums(checks.parts.unpack(part) for part in parts)))
    return checks.passes(openings)


def test_divisor_checks_pass_good_factors_and_refuse_bad_ones():
    p, q = primes(512)
    assert masked_gcd(p, q) or masked_gcd(p, q)
    shared = gmpy2.next_prime(mpz(1) << 120)
    twins = [prime_above_multiple_of(shared), prime_above_multiple_of(shared)]
    assert not masked_gcd(*twins)
    assert not masked_gcd(shared, twins[0])


def prime_above_multiple_of(divisor: mpz) -> mpz:
    """A prime that is 1 modulo `divisor`."""
    while True:
        candidate = 2 * divisor * secrets.randbits(130) + 1
        if gmpy2.is_prime(candidate):
            return candidate


def test_equal_exponents_are_proved_and_differing_ones_are_not():
    p, q = primes(512)
    n, exponent = p * q, mpz(secrets.randbits(300)) * 4
    tested = biprimality.bases(n, CONTEXT)
    values = biprimality.values(n, tested, exponent // 4)
    claim = biprimality.statement(n, gmpy2.powmod(2, exponent, n), tested, values)
    verify(claim, prove(claim, SameExponentProver(claim, int(exponent // 4)), CONTEXT), CONTEXT)
    values[17] = Modulus(n).multiply([values[17]], [tested[17]])[0]
    false = biprimality.statement(n, gmpy2.powmod(2, exponent, n), tested, values)
    with pytest.raises(ProofRejected):
        verify(false, prove(false, SameExponentProver(false, int(exponent // 4)), CONTEXT), CONTEXT)


@given(st.lists(st.integers(2, 2**70), min_size=1, max_size=8), st.data())
def test_residues_round_trip_and_have_one_encoding(moduli, data):
    coding = Residues(moduli)
    values = [data.draw(st.integers(0, m - 1)) for m in moduli]
    encoded = coding.pack(values)
    assert coding.unpack(encoded) == values
    other = data.draw(st.binary(min_size=0, max_size=coding.size + 2))
    try:
        decoded = coding.unpack(other)
    except MemberFault:
        return
    assert coding.pack(decoded) == other


def test_leaves_are_fresh_and_draws_follow_from_them():
    leaves = fresh_leaves(500)
    assert len(set(leaves)) == 500
    ones = sum(byte.bit_count() for leaf in leaves for byte in leaf)
    assert abs(ones - 500 * 128) < 6 * (500 * 64) ** 0.5
    layout = Layout("test", [mpz(97)] * 4000)
    drawn = layout.draw(leaves[0])
    assert drawn == layout.draw(leaves[0]) != layout.draw(leaves[1])
    assert set(drawn) == set(range(97))


def test_commitments_bind_sender_batch_and_candidate():
    leaf = fresh_leaves(1)[0]
    contexts = [Context(b"j" * 32, 0, sender, b"r" * 32) for sender in (1, 2)]
    commitments = {
        commit(leaf, context, batch, c) for context in contexts for batch in (0, 1) for c in (0, 1)
    }
    assert len(commitments) == 8
    assert root([b"a" * 32, b"b" * 32]) != root([b"b" * 32, b"a" * 32])


def test_moduli_too_small_for_the_sieve_are_refused():
    with pytest.raises(OwnFault):
        plan(3, 256)
    assert plan(3, 320).tries[0] > 1
