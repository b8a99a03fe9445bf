"""The arithmetic of candidates and of products in shares, against plain integers."""

import functools
import secrets

import gmpy2
import phe
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.integers import MalformedInteger
from protocol.crypto.jointkey.pair import candidate as arithmetic
from protocol.crypto.jointkey.pair.candidate import Draws
from protocol.crypto.jointkey.pair.exponent import Products
from protocol.crypto.jointkey.pair.keys import MemberKey, OwnKey
from protocol.crypto.jointkey.pair.plan import Plan, leads, plan

SIZES = [256, 512, 1024, 2048, 3072]
SMALL = plan(256)
leaf = st.binary(min_size=32, max_size=32)


@functools.cache
def keys() -> tuple[tuple[OwnKey, MemberKey], ...]:
    made = [OwnKey(SMALL) for _ in range(2)]
    return tuple((own, MemberKey(i, own.n, SMALL, SMALL.blinding_bits)) for i, own in enumerate(made, 1))


@pytest.mark.parametrize("bits", SIZES)
def test_a_plan_leaves_room_for_every_product(bits):
    numbers = plan(bits)
    smallest_n = mpz(1) << (numbers.own.modulus_bits - 1)
    assert numbers.sieved**2 << 64 < mpz(1) << numbers.digit
    assert (numbers.sieved**2 << (64 + numbers.digit)) < smallest_n
    assert mpz(1) << bits < smallest_n
    assert (mpz(1) << (numbers.chunk + numbers.factor_bits + 80)) < smallest_n
    assert numbers.batch % 2 == 0
    assert {numbers.owner(c) for c in range(2)} == {1, 2}


@pytest.mark.parametrize("bits", SIZES)
def test_the_sieve_gives_away_less_of_a_factor_than_factoring_takes(bits):
    numbers = plan(bits)
    assert (numbers.sieved * numbers.fixed).bit_length() <= 3 * numbers.half // 8
    assert numbers.top % (numbers.fixed * numbers.sieved) == 0


@pytest.mark.parametrize("bits", SIZES)
@given(leaves=st.tuples(leaf, leaf))
@settings(max_examples=10, deadline=None)
def test_summands_add_up_to_factors_of_the_right_form(bits, leaves):
    numbers = plan(bits)
    for owner in (1, 2):
        p, q = factors(numbers, owner, leaves)
        for factor in (p, q):
            assert (mpz(3) << (numbers.half - 2)) <= factor < mpz(1) << numbers.half
            assert factor % numbers.fixed == numbers.fixed - 1
            assert gmpy2.gcd(factor, numbers.sieved) == 1
        assert numbers.fits(p * q)


def factors(numbers: Plan, owner: int, leaves: tuple[bytes, bytes]) -> tuple[mpz, mpz]:
    draws = Draws(numbers, mpz(1) << (numbers.own.modulus_bits - 1))
    first, second = draws.owner(leaves[0]), draws.answerer(leaves[1])
    total = arithmetic.total(numbers, first, second)
    mine = arithmetic.owner_summands(numbers, first, total, leads=leads(owner))
    theirs = arithmetic.answerer_summands(numbers, second, leads=leads(3 - owner))
    p, q = (a + b for a, b in zip(mine, theirs, strict=True))
    assert arithmetic.answer(mine, theirs) + mine[0] * mine[1] == p * q
    return p, q


def test_the_extremes_of_a_summand_stay_within_the_factor():
    for numbers in map(plan, SIZES):
        last = numbers.fixed * numbers.sieved * numbers.spread - 1
        assert 2 * last + numbers.top < mpz(1) << numbers.half


def test_draws_follow_from_the_leaf_and_its_role_alone():
    draws = Draws(SMALL, keys()[0][1].n)
    one, other = secrets.token_bytes(32), secrets.token_bytes(32)
    assert draws.owner(one) == draws.owner(one)
    assert draws.owner(one) != draws.owner(other)
    assert draws.owner(one).units != draws.answerer(one).units


def test_masks_fill_the_whole_plaintext_space():
    n = keys()[0][1].n
    draws = Draws(SMALL, n)
    masks = [draws.answerer(secrets.token_bytes(32)).mask for _ in range(200)]
    assert all(0 <= mask < n for mask in masks)
    quarters = [sum(n * i <= 4 * mask < n * (i + 1) for mask in masks) for i in range(4)]
    assert min(quarters) > 15


def test_trial_division_agrees_with_dividing():
    large = gmpy2.next_prime(1 << 130)
    small = [mpz(secrets.randbelow(1 << 12)) | 1 for _ in range(100)]
    numbers = [large * s for s in small]
    numbers += [large * 1_048_573, large * gmpy2.next_prime(1 << 20), large * large]
    primes = [p for p in range(2, 1 << 12) if gmpy2.is_prime(p)] + [1_048_573]
    expected = [all(n % p for p in primes) for n in numbers]
    assert arithmetic.without_small_factors(SMALL, numbers) == expected
    assert expected[-3:] == [False, True, True]


@given(st.lists(st.integers(0, 2**270), min_size=1, max_size=9))
@settings(max_examples=20, deadline=None)
def test_decryption_agrees_with_phe_and_undoes_encryption(plaintexts):
    own, key = keys()[0]
    reduced = [mpz(m) % key.n for m in plaintexts]
    ciphertexts = key.encrypt(reduced, [mpz(secrets.randbits(SMALL.blinding_bits)) for _ in reduced])
    assert own.decrypt(ciphertexts) == reduced
    p, q = own.factors
    theirs = phe.PaillierPrivateKey(phe.PaillierPublicKey(int(own.n)), int(p), int(q))
    assert [theirs.raw_decrypt(int(c)) for c in ciphertexts] == reduced
    assert own.decrypt([mpz(theirs.public_key.raw_encrypt(int(m))) for m in reduced]) == reduced


def test_own_keys_are_fresh_and_their_primes_are_3_modulo_4():
    moduli = set()
    for _ in range(4):
        own = OwnKey(SMALL)
        moduli.add(own.n)
        assert own.n.bit_length() == SMALL.own.modulus_bits
        assert {p % 4 for p in own.factors} == {3}
        assert str(own.factors[0]) not in repr(own)
    assert len(moduli) == 4


def test_roots_are_roots():
    own = keys()[0][0]
    residues = [mpz(secrets.randbelow(int(own.n))) for _ in range(3)]
    assert [gmpy2.powmod(r, own.n, own.n) for r in own.roots(residues)] == residues


@pytest.mark.parametrize("bad", [lambda k: 0, lambda k: k.square.value, lambda k: k.n, lambda k: 2 * k.n])
def test_what_is_no_ciphertext_is_refused(bad):
    key = keys()[0][1]
    good = key.encrypt([mpz(1)], [mpz(1)])[0]
    data = key.write([good]) + int(bad(key)).to_bytes(key.width, "big")
    with pytest.raises(MalformedInteger):
        key.read(data)


def candidate_modulus() -> tuple[list[mpz], mpz]:
    """Sums p + q of two members, and n."""
    p, q = factors(SMALL, 1, (secrets.token_bytes(32), secrets.token_bytes(32)))
    first = mpz(secrets.randbelow(int(p + q)))
    return [first, p + q - first], p * q


def test_products_in_shares_are_products():
    totals, n = candidate_modulus()
    products = Products(SMALL, n)
    (own_1, key_1), (own_2, key_2) = keys()
    drawn = [
        products.draw(secrets.token_bytes(32), key_2.n),
        products.draw(secrets.token_bytes(32), key_1.n),
    ]
    sent = [
        key.encrypt([total], [draw.exponent])[0]
        for key, total, draw in zip((key_1, key_2), totals, drawn, strict=True)
    ]
    decrypted = [
        own_1.decrypt(products.answers(key_1, sent[0], drawn[1])),
        own_2.decrypt(products.answers(key_2, sent[1], drawn[0])),
    ]
    assert decrypted[0] == products.expected(drawn[1], totals[0])
    shares = [products.shares(d, t, x) for d, t, x in zip(drawn, totals, decrypted, strict=True)]
    secrets_sum = [sum(pair) for pair in zip(drawn[0].secrets, drawn[1].secrets, strict=True)]
    total = sum(totals)
    assert [sum(pair) for pair in zip(*shares, strict=True)] == [y * total for y in secrets_sum]
    openings = [products.openings(d, s) for d, s in zip(drawn, shares, strict=True)]
    for index, modulus in enumerate(products.opened):
        opened = sum(opening[index] for opening in openings) % modulus
        assert opened == secrets_sum[index] * (total - 1 - index) % modulus
    exponent = sum(products.exponent_share(d, s) for d, s in zip(drawn, shares, strict=True))
    assert exponent == secrets_sum[2] * (n + 1 - total)


def prime_above(start: int, residue: int = 0, modulus: int = 1) -> mpz:
    value = mpz(start)
    while not (gmpy2.is_prime(value) and value % modulus == residue):
        value += 1
    return value


P = prime_above(10**12)


@pytest.mark.parametrize(
    ("p", "q", "good"),
    [
        (P, prime_above(10**13), True),
        (prime_above(10**12, 1, 41), prime_above(10**13, 1, 41), False),
        (P, prime_above(10**13, 1, P), False),
    ],
    ids=["nothing in common", "p - 1 and q - 1 share 41", "p divides q - 1"],
)
def test_divisor_checks_find_common_factors(p, q, good):
    n = p * q
    products = Products(SMALL, n)
    values = [(p + q - 1 - less) % modulus for less, modulus in enumerate(products.opened)]
    assert products.pass_divisors(values, [mpz(0), mpz(0)]) is good


def test_divisor_checks_ignore_the_public_residues_alone():
    products = Products(SMALL, mpz(1 + 4 * SMALL.fixed * 37))
    assert products.opened[1] == 37
