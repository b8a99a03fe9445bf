"""What bad input gets: a typed error that says what and whose, and no state changed."""

import hashlib
from dataclasses import replace

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dealer import deal, primes
from support.manifests import manifest

from protocol.aggregation import Aggregation
from protocol.crypto.integers import MalformedInteger, WrongCount
from protocol.crypto.paillier import BadModulus, Encryptor, PlaintextTooLarge, PublicKey, add
from protocol.crypto.profiles import insecure_test_profile
from protocol.crypto.sigma import ProofRejected, prove, verify
from protocol.crypto.sigma.equality import decryption_prover, honest_decryption
from protocol.crypto.sigma.plaintext import KnowsPlaintexts, PlaintextProver
from protocol.crypto.threshold import (
    BadIndex,
    DecryptionFailed,
    Path,
    combine,
    partially_decrypt,
    require_indices,
)
from protocol.crypto.transcript import Context
from protocol.encoding.blob import blob_root, proof_digest, write_blob
from protocol.encoding.header import Kind
from protocol.errors import MemberFault
from protocol.keyring import StoredKey
from protocol.records import Blob

DEALT = deal(4, 2)
KEY = DEALT.key
N, NN = KEY.public.n, KEY.public.n**2
AGGREGATION = Aggregation(manifest(4), KEY)
PLAINTEXTS = [mpz(i + 1) for i in range(AGGREGATION.codec.plaintexts)]
MADE = Encryptor(KEY.public).encrypt(PLAINTEXTS)
TOTAL = add(KEY.public, [MADE.ciphertexts, MADE.ciphertexts])
PARTIALS = partially_decrypt(KEY, DEALT.shares[2], TOTAL)
SEALED = hashlib.sha256(b"sealed").digest()

FIELDS = {
    "job": {"job": b"J" * 32},
    "round": {"round": 2},
    "sender": {"sender": 3},
    "roster": {"roster": b"R" * 32},
    "key": {"key": b"K" * 32},
}
FROM_ELSEWHERE = pytest.mark.parametrize("change", FIELDS.values(), ids=FIELDS.keys())


def stored(header, ciphertexts, proof):
    """A blob that is right in every byte, with what its author announces."""
    data = b"".join(write_blob(header, ciphertexts, proof))
    root = blob_root(header, ciphertexts)
    return data, Blob(hashlib.sha256(data).digest(), len(data), root, proof_digest(proof))


def update(context: Context):
    statement = KnowsPlaintexts(KEY.public, MADE.ciphertexts)
    proof = prove(statement, PlaintextProver(statement, PLAINTEXTS, MADE), context)
    return stored(AGGREGATION.header(Kind.UPDATE, 1, 2), MADE.ciphertexts, proof)


def share(context: Context, partials=PARTIALS, sent=None):
    """A share of `partials` with its proof; with `sent`, those numbers under the same proof."""
    statement = honest_decryption(KEY, 2, TOTAL, partials, Path.THRESHOLD)
    proof = prove(statement, decryption_prover(statement, DEALT.shares[2], Path.THRESHOLD), context)
    return stored(AGGREGATION.header(Kind.PARTIAL, 1, 2, SEALED), sent or partials, proof)


def check_share(data, blob):
    return AGGREGATION.check_share(1, 2, SEALED, TOTAL, blob, [data])


@FROM_ELSEWHERE
def test_an_update_whose_proof_was_made_elsewhere_is_refused(change):
    here = AGGREGATION.context(1, 2)
    data, blob = update(replace(here, **change))
    with pytest.raises(ProofRejected) as refused:
        AGGREGATION.check_update(1, 2, blob, [data])
    assert refused.value.member == 2
    data, blob = update(here)
    assert AGGREGATION.check_update(1, 2, blob, [data]) == MADE.ciphertexts


@FROM_ELSEWHERE
def test_a_share_whose_proof_was_made_elsewhere_is_refused(change):
    here = AGGREGATION.context(1, 2)
    with pytest.raises(ProofRejected) as refused:
        check_share(*share(replace(here, **change)))
    assert refused.value.member == 2
    assert check_share(*share(here)) == PARTIALS


FORGERIES = {
    "inverted": lambda c: gmpy2.invert(c, NN),
    "negated and shifted": lambda c: (NN - c) * (1 + N) % NN,
    "a ciphertext": lambda c: TOTAL[0],
    "one": lambda c: mpz(1),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_share_is_refused_and_named(forge):
    other = forge(PARTIALS[0])
    forged = [min(other, NN - other), *PARTIALS[1:]]
    with pytest.raises(ProofRejected) as refused:
        check_share(*share(AGGREGATION.context(1, 2), forged))
    assert refused.value.member == 2


def test_a_share_times_minus_one_is_refused_and_named():
    negated = [NN - PARTIALS[0], *PARTIALS[1:]]
    with pytest.raises(MalformedInteger, match="negative") as refused:
        check_share(*share(AGGREGATION.context(1, 2), sent=negated))
    assert refused.value.member == 2


@pytest.mark.parametrize("bad", [0, int(N), int(NN) - int(DEALT.p)], ids=["zero", "n", "multiple of p"])
def test_an_update_with_a_number_that_is_no_ciphertext_names_its_author(bad):
    data, _ = update(AGGREGATION.context(1, 2))
    header = AGGREGATION.header(Kind.UPDATE, 1, 2)
    proof = data[-KnowsPlaintexts(KEY.public, MADE.ciphertexts).response_size - KEY.public.width :]
    data, blob = stored(header, [*MADE.ciphertexts[:-1], bad or 1], proof)
    if not bad:
        width = KEY.public.width
        at = data.rindex((1).to_bytes(width, "big"))
        data = data[:at] + bytes(width) + data[at + width :]
    with pytest.raises(MalformedInteger) as refused:
        AGGREGATION.check_update(1, 2, blob, [data])
    assert refused.value.member == 2


def test_nothing_is_not_a_statement():
    with pytest.raises(WrongCount):
        verify_sized(honest_decryption(KEY, 2, [], [], Path.THRESHOLD))
    with pytest.raises(WrongCount):
        verify_sized(KnowsPlaintexts(KEY.public, []))
    with pytest.raises(WrongCount):
        combine(KEY, {1: [], 2: []})
    with pytest.raises(WrongCount):
        add(KEY.public, [[], []])


def verify_sized(statement):
    """Any proof of the right size: what is refused is the statement."""
    verify(statement, bytes(statement.announcement_size + statement.response_size), AGGREGATION.context(1, 2))


@pytest.mark.parametrize("indices", [[0, 1], [1, 1], [1, 5], [-1, 2], [2, 3, 2]])
def test_members_are_distinct_and_on_the_roster(indices):
    with pytest.raises(BadIndex):
        require_indices(indices, 4)


@pytest.mark.parametrize("member", [0, 5, -1])
def test_nobody_else_has_a_verification_key(member):
    for path in Path:
        with pytest.raises(BadIndex):
            honest_decryption(KEY, member, TOTAL, PARTIALS, path)


@pytest.mark.parametrize("bad", [0, int(N), int(NN)])
def test_announcements_are_units(bad):
    width, context = KEY.public.width, AGGREGATION.context(1, 2)
    statement = KnowsPlaintexts(KEY.public, MADE.ciphertexts)
    proof = prove(statement, PlaintextProver(statement, PLAINTEXTS, MADE), context)
    with pytest.raises(MalformedInteger):
        verify(statement, bad.to_bytes(width, "big") + proof[width:], context)
    equal = honest_decryption(KEY, 2, TOTAL, PARTIALS, Path.THRESHOLD)
    proof = prove(equal, decryption_prover(equal, DEALT.shares[2], Path.THRESHOLD), context)
    for at in (0, width):
        with pytest.raises(MalformedInteger):
            verify(equal, proof[:at] + bad.to_bytes(width, "big") + proof[at + width :], context)


def test_responses_are_bounded():
    context = AGGREGATION.context(1, 2)
    statement = KnowsPlaintexts(KEY.public, MADE.ciphertexts)
    size, split = statement.response_size, KEY.public.profile.modulus_bits // 8
    announcement = (1).to_bytes(KEY.public.width, "big")
    for response in (
        int(N).to_bytes(split, "big") + bytes(size - split),
        bytes(split) + b"\xff" * (size - split),
    ):
        with pytest.raises(MalformedInteger):
            verify(statement, announcement + response, context)
    equal = honest_decryption(KEY, 2, TOTAL, PARTIALS, Path.THRESHOLD)
    for response in (b"\x7f" + b"\xff" * (equal.response_size - 1), b"\x80" + bytes(equal.response_size - 1)):
        with pytest.raises(ProofRejected, match="too long"):
            verify(equal, 2 * announcement + response, context)


def test_a_proof_does_not_follow_to_another_modulus():
    profile = insecure_test_profile(512)
    other = PublicKey(mpz(2**256 - 189) * mpz(2**255 - 19) * 2 + 1, profile)
    context = AGGREGATION.context(1, 2)
    statement = KnowsPlaintexts(KEY.public, MADE.ciphertexts)
    proof = prove(statement, PlaintextProver(statement, PLAINTEXTS, MADE), context)
    with pytest.raises(MemberFault):
        verify(KnowsPlaintexts(other, MADE.ciphertexts), proof, context)


P, Q = primes(512)


@pytest.mark.parametrize(
    "n",
    [P * Q - 1, P * P, gmpy2.next_prime(P * Q), P, mpz(3) << 510 | 3],
    ids=["even", "square", "prime", "too small", "small factor"],
)
def test_a_stored_key_with_an_impossible_modulus_is_refused(n):
    written = StoredKey.of(KEY)
    broken = StoredKey(
        **{name: getattr(written, name) for name in written.__struct_fields__}
        | {"n": int(n).to_bytes(int(n).bit_length() // 8 + 1, "big")}
    )
    with pytest.raises(BadModulus):
        StoredKey.from_bytes(broken.to_bytes()).key()


def test_a_refused_call_changes_nothing(monkeypatch):
    partials = {1: partially_decrypt(KEY, DEALT.shares[1], TOTAL), 2: list(PARTIALS)}
    before = {member: list(values) for member, values in partials.items()}
    spoiled = {**partials, 2: [c * 3 % NN for c in PARTIALS]}
    with pytest.raises(DecryptionFailed):
        combine(KEY, spoiled)
    assert partials == before
    monkeypatch.setattr("protocol.crypto.paillier.secrets.randbits", None)
    with pytest.raises(PlaintextTooLarge):
        Encryptor(KEY.public).encrypt([mpz(1), N])


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_threshold_of_any_cohort_decrypts_and_fewer_do_not(data):
    members = data.draw(st.integers(2, 7))
    threshold = data.draw(st.integers(2, members))
    dealt = deal(members, threshold)
    message = data.draw(st.integers(0, int(N) - 1))
    ciphertexts = Encryptor(dealt.key.public).encrypt([message]).ciphertexts
    quorum = data.draw(st.permutations(range(1, members + 1)))[:threshold]
    partials = {i: partially_decrypt(dealt.key, dealt.shares[i], ciphertexts) for i in quorum}
    assert combine(dealt.key, partials) == [message]
    lowered = replace(dealt.key, threshold=threshold - 1) if threshold > 2 else None
    if lowered is not None:
        partials.pop(quorum[0])
        with pytest.raises(DecryptionFailed):
            combine(lowered, partials)
