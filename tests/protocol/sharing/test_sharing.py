"""The algebra of sharing: what was dealt comes back, and wrong sets of shares are refused by type."""

import gmpy2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.kernel import Modulus
from protocol.crypto.sharing import additive, integer, shamir
from protocol.crypto.sharing.errors import (
    BadShareIndex,
    InconsistentShares,
    TooFewShares,
    WrongShare,
)
from protocol.errors import OwnFault

PRIME = 2**127 - 1
COMPOSITE = 37 * 41 * 43 * 47 * 53
moduli = st.sampled_from([PRIME, COMPOSITE, 2**89 - 1])
numbers = st.integers(0, 2**200)


@given(numbers, st.integers(1, 32), moduli)
def test_additive_shares_sum_to_the_secret(secret, count, modulus):
    shares = additive.deal(secret, count, modulus)
    assert len(shares) == count
    assert additive.reconstruct(shares, modulus) == secret % modulus


@given(numbers, st.integers(1, 12), st.data(), moduli)
def test_any_degree_plus_one_shamir_shares_recover(secret, members, data, modulus):
    degree = data.draw(st.integers(0, members - 1))
    shares = shamir.deal(secret, degree, members, modulus)
    chosen = data.draw(st.permutations(sorted(shares)))[: data.draw(st.integers(degree + 1, members))]
    assert shamir.reconstruct({i: shares[i] for i in chosen}, degree, modulus) == secret % modulus


@given(numbers, st.integers(2, 9), st.data(), moduli)
def test_a_value_to_spare_shows_where_the_degree_leaves_one(secret, members, data, modulus):
    degree = data.draw(st.integers(0, members - 2))
    shares = shamir.deal(secret, degree, members, modulus)
    weights = shamir.lagrange(list(shares), modulus)
    assert shamir.at_zero(list(shares.values()), weights, modulus) == secret % modulus
    assert shamir.has_spare_value(list(shares.values()), weights, modulus)
    shares[data.draw(st.integers(1, members))] += data.draw(st.integers(1, 30))
    assert not shamir.has_spare_value(list(shares.values()), weights, modulus)


@given(numbers, numbers, st.integers(3, 9))
def test_products_of_shares_are_shares_of_the_product(a, b, members):
    degree = (members - 1) // 2
    left, right = shamir.deal(a, degree, members, PRIME), shamir.deal(b, degree, members, PRIME)
    products = {i: left[i] * right[i] for i in left}
    assert shamir.reconstruct(products, 2 * degree, PRIME) == a * b % PRIME


@given(numbers, st.integers(3, 9), st.data())
def test_a_wrong_surplus_share_is_noticed(secret, members, data):
    degree = data.draw(st.integers(0, members - 2))
    shares = shamir.deal(secret, degree, members, PRIME)
    victim = data.draw(st.sampled_from(sorted(shares)))
    shares[victim] += 1
    with pytest.raises(InconsistentShares):
        shamir.reconstruct(shares, degree, PRIME)


def test_too_few_zero_and_repeated_indices_are_refused():
    shares = shamir.deal(7, 2, 5, PRIME)
    with pytest.raises(TooFewShares):
        shamir.reconstruct({1: shares[1], 2: shares[2]}, 2, PRIME)
    with pytest.raises(BadShareIndex):
        shamir.reconstruct({0: shares[1], 1: shares[1], 2: shares[2]}, 2, PRIME)
    with pytest.raises(BadShareIndex):
        shamir.lagrange([1, 2, 2], PRIME)
    with pytest.raises(OwnFault):
        shamir.lagrange([1, 38], COMPOSITE)
    with pytest.raises(OwnFault):
        shamir.deal(7, 5, 5, PRIME)


@given(st.integers(-(2**100), 2**100), st.integers(2, 9), st.data())
def test_any_threshold_of_integer_shares_recovers(secret, members, data):
    threshold = data.draw(st.integers(2, members))
    scheme = integer.Scheme(members, threshold, 101)
    shares = integer.deal(secret, scheme)
    assert all(0 <= share < 2**scheme.share_bits for share in shares.values())
    chosen = data.draw(st.permutations(sorted(shares)))[: data.draw(st.integers(threshold, members))]
    assert integer.reconstruct({i: shares[i] for i in chosen}, scheme) == secret


@given(st.integers(-(2**100), 2**100), st.integers(3, 7), st.data())
def test_wrong_integer_shares_are_noticed(secret, members, data):
    scheme = integer.Scheme(members, members - 1, 101)
    shares = integer.deal(secret, scheme)
    shares[data.draw(st.sampled_from(sorted(shares)))] += 1
    with pytest.raises(InconsistentShares):
        integer.reconstruct(shares, scheme)


@given(st.integers(-(2**60), 2**60), st.integers(2, 6), st.data())
def test_feldman_commitments_accept_true_shares_and_refuse_others(secret, members, data):
    modulus = Modulus((2**61 - 1) ** 2 * (2**89 - 1) ** 2)
    scheme = integer.Scheme(members, data.draw(st.integers(2, members)), 61)
    coefficients = integer.polynomial(secret, scheme)
    commitments = integer.commit(coefficients, gmpy2.mpz(4), modulus)
    point = data.draw(st.integers(1, members))
    share = integer.evaluate(coefficients, point)
    integer.verify(share, point, commitments, gmpy2.mpz(4), modulus)
    with pytest.raises(WrongShare):
        integer.verify(share + 1, point, commitments, gmpy2.mpz(4), modulus)


def test_integer_scheme_refuses_nonsense_and_oversized_secrets():
    with pytest.raises(OwnFault):
        integer.Scheme(3, 4, 10)
    scheme = integer.Scheme(3, 2, 10)
    with pytest.raises(OwnFault):
        integer.deal(2**10, scheme)
    with pytest.raises(TooFewShares):
        integer.reconstruct({1: 5}, scheme)


def test_masks_have_the_full_length_that_hides_the_secret():
    scheme = integer.Scheme(3, 2, 64)
    longest = max(integer.polynomial(1, scheme)[1].bit_length() for _ in range(64))
    assert scheme.coefficient_bits - 16 <= longest <= scheme.coefficient_bits
