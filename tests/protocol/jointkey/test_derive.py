"""From additive shares of β·φ(n) to a threshold key, and what becomes of members that cheat on the way."""

import itertools
import secrets

import pytest
from gmpy2 import mpz

from protocol.crypto.jointkey.derive import derive
from protocol.crypto.jointkey.errors import Cheater, GenerationFailed
from protocol.crypto.jointkey.fields import exponent_field, largest_prime
from protocol.crypto.jointkey.party import Party, Setup, Steps
from protocol.crypto.paillier import Encryptor, PublicKey
from protocol.crypto.profiles import insecure_test_profile
from protocol.crypto.sharing import integer, shamir
from protocol.crypto.sigma import ProofRejected
from protocol.crypto.threshold import Path, combine, partially_decrypt
from tests.support.dealer import primes
from tests.support.rehearsal import corrupt, rehearse

PROFILE = insecure_test_profile(512)


class Deriver(Party):
    """A party that starts where the multiplication ends."""

    def __init__(self, setup: Setup, me: int, public: PublicKey, share: mpz) -> None:
        self._public = public
        self._share = share
        super().__init__(setup, me)

    def _steps(self) -> Steps:
        return derive(self, self._public, self._share, exponent_field(PROFILE.modulus_bits))


def cohort(members: int, threshold: int) -> list[Deriver]:
    p, q = primes(PROFILE.modulus_bits)
    public = PublicKey(p * q, PROFILE)
    field = exponent_field(PROFILE.modulus_bits)
    product = (p - 1) * (q - 1) * sum(secrets.randbelow(int(p * q)) for _ in range(members))
    shares = [mpz(secrets.randbelow(int(field))) for _ in range(members - 1)]
    shares.append((product - sum(shares)) % field)
    setup = Setup(b"j" * 32, b"r" * 32, members, threshold, PROFILE)
    return [Deriver(setup, i, public, share) for i, share in enumerate(shares, start=1)]


@pytest.mark.parametrize(("members", "threshold"), [(2, 2), (3, 2), (4, 3), (5, 5)])
def test_everyone_has_one_key_and_any_threshold_decrypts(members, threshold):
    outcome = rehearse(cohort(members, threshold))
    assert outcome.errors == {}
    keys = {finished.key.digest for finished in outcome.finished.values()}
    assert len(keys) == 1
    key = outcome.finished[1].key
    plaintexts = [0, 1, int(key.public.n) - 1, secrets.randbelow(int(key.public.n))]
    ciphertexts = Encryptor(key.public).encrypt(plaintexts).ciphertexts
    for path, needed in ((Path.THRESHOLD, threshold), (Path.ALL, members)):
        partials = {
            me: partially_decrypt(key, finished.share, ciphertexts, path)
            for me, finished in outcome.finished.items()
        }
        for quorum in itertools.combinations(partials, needed):
            assert combine(key, {me: partials[me] for me in quorum}, path) == plaintexts


def test_secret_bounds_hold_and_secrets_are_not_shown():
    outcome = rehearse(cohort(3, 2))
    for finished in outcome.finished.values():
        assert abs(finished.share.shamir) < 2**finished.key.share_bits
        assert abs(finished.share.additive) < 2**finished.key.share_bits
        assert str(finished.share.shamir) not in repr(finished)


def test_a_share_off_the_commitments_names_its_dealer():
    parties = cohort(4, 3)

    def wrong(original):
        return lambda coefficients, point: original(coefficients, point) + (point == 2)

    corrupt(parties[2], "protocol.crypto.sharing.integer.evaluate", wrong)
    outcome = rehearse(parties, dishonest=frozenset({3}))
    assert set(outcome.errors) == {1, 2, 4}
    for error in outcome.errors.values():
        assert isinstance(error, Cheater)
        assert error.member == 3


def test_a_false_accusation_names_the_accuser():
    parties = cohort(3, 2)

    def refuse(original):
        return lambda share, point, *rest: original(share + 1, point, *rest)

    corrupt(parties[1], "protocol.crypto.sharing.integer.verify", refuse)
    outcome = rehearse(parties, dishonest=frozenset({2}))
    assert {(type(error), error.member) for error in outcome.errors.values()} == {(Cheater, 2)}


def test_a_wrong_exponent_share_aborts_before_anything_is_shared():
    parties = cohort(3, 2)
    parties[1]._share += 1
    outcome = rehearse(parties)
    assert {type(error) for error in outcome.errors.values()} == {GenerationFailed}
    assert outcome.rounds == 2


def test_a_wrong_partial_decryption_is_refused_by_its_proof():
    parties = cohort(3, 2)

    def shifted(original):
        def run(key, *rest: object):
            square = key.public.n**2
            others = [value * (1 + key.public.n) % square for value in original(key, *rest)]
            return [min(value, square - value) for value in others]

        return run

    corrupt(parties[0], "protocol.crypto.jointkey.derive.partially_decrypt", shifted)
    outcome = rehearse(parties, dishonest=frozenset({1}))
    assert {(type(error), error.member) for error in outcome.errors.values()} == {(ProofRejected, 1)}


def test_a_key_that_does_not_decrypt_is_discarded_though_every_proof_holds():
    parties = cohort(3, 2)

    def shifted(original):
        return lambda *rest: [value * 4 % rest[0].public.n ** 2 for value in original(*rest)]

    corrupt(parties[0], "protocol.crypto.jointkey.derive.partially_decrypt", shifted)
    for party in parties:
        corrupt(party, "protocol.crypto.jointkey.derive.honest_decryption", lambda _: lambda *_: None)
        corrupt(party, "protocol.crypto.jointkey.derive.decryption_prover", lambda _: lambda *_: None)
        corrupt(party, "protocol.crypto.jointkey.derive.prove", lambda _: lambda *_: b"")
        corrupt(party, "protocol.crypto.jointkey.derive.verify", lambda _: lambda *_: None)
    outcome = rehearse(parties)
    assert {(type(e), e.what) for e in outcome.errors.values()} == {
        (GenerationFailed, "the joint key does not decrypt")
    }


def of_degree(degree: int) -> list[Deriver]:
    """Four members whose shares are those of a polynomial, weighted to sum to its value at 0."""
    p, q = primes(PROFILE.modulus_bits)
    public, field = PublicKey(p * q, PROFILE), exponent_field(PROFILE.modulus_bits)
    product = (p - 1) * (q - 1) * sum(secrets.randbelow(int(p * q)) for _ in range(4))
    values, weights = shamir.deal(product, degree, 4, field), shamir.lagrange((1, 2, 3, 4), field)
    setup = Setup(b"j" * 32, b"r" * 32, 4, 2, PROFILE)
    return [Multiplied(setup, i, public, weights[i] * value % field) for i, value in values.items()]


class Multiplied(Deriver):
    """A party whose share comes from a multiplication that leaves a value to spare."""

    def _steps(self) -> Steps:
        field = exponent_field(PROFILE.modulus_bits)
        return derive(self, self._public, self._share, field, surplus=True)


def test_shares_of_too_high_a_degree_make_no_key():
    """They add up to a multiple of the totient all the same, but may tell it to whoever raised the degree."""
    assert rehearse(of_degree(2)).errors == {}
    outcome = rehearse(of_degree(3))
    assert {(type(e), e.what) for e in outcome.errors.values()} == {
        (GenerationFailed, "the shares of the decryption exponent are of too high a degree")
    }


def test_exponent_field_leaves_room_for_the_product_and_the_slack():
    for members in (2, 32):
        assert exponent_field(512) > members * (mpz(1) << (2 * 512 + 80))


@pytest.mark.parametrize("bits", [2056, 3080])
def test_tabled_primes_are_the_ones_a_search_finds(bits):
    assert largest_prime(bits) == largest_prime.__wrapped__(bits)
    assert largest_prime(bits).bit_length() == bits


def test_shares_do_not_outgrow_their_bound():
    scheme = integer.Scheme(32, 17, exponent_field(512).bit_length() + 5)
    shares = integer.deal(-(mpz(1) << scheme.secret_bits) + 1, scheme)
    assert max(shares.values()) < mpz(1) << scheme.share_bits
