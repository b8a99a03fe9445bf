"""A round's cryptography from float updates to the opened average, and what each check refuses."""

import hashlib

import numpy as np
import pytest
from gmpy2 import mpz
from support.dealer import deal
from support.manifests import manifest

from protocol.aggregation import Aggregation, apply
from protocol.crypto.integers import encode_integer
from protocol.crypto.sigma import ProofRejected
from protocol.crypto.threshold import partially_decrypt
from protocol.encoding.blob import blob_root, proof_digest, write_blob
from protocol.encoding.errors import Mismatch, OutOfRange
from protocol.encoding.header import Kind
from protocol.errors import MemberFault
from protocol.keyring import StoredKey, StoredShare
from protocol.manifest import Encoding, TensorSpec
from protocol.records import Blob

MANIFEST = manifest(4)
DEALT = deal(4, 2)
AGGREGATION = Aggregation(MANIFEST, DEALT.key)
AGGREGATE = hashlib.sha256(b"the sealed sum").digest()
RNG = np.random.default_rng(7)
UPDATES = {
    i: {"w": RNG.uniform(-1, 1, (5, 7)).astype("f4"), "b": RNG.uniform(-0.5, 0.5, 7).astype("f4")}
    for i in range(1, 5)
}
STORED = {i: AGGREGATION.contribute(1, i, UPDATES[i], i) for i in range(1, 5)}


def checked(member):
    data, blob = STORED[member]
    return AGGREGATION.check_update(1, member, blob, [data])


def test_the_opened_sum_is_the_weighted_average():
    contributors = (1, 2, 4)
    total = AGGREGATION.sum([checked(i) for i in contributors])
    released = {i: AGGREGATION.release(1, DEALT.shares[i], AGGREGATE, total) for i in (2, 3)}
    partials = {
        i: AGGREGATION.check_share(1, i, AGGREGATE, total, blob, [data[:700], data[700:]])
        for i, (data, blob) in released.items()
    }
    average = AGGREGATION.open(partials, contributors)
    for name in ("w", "b"):
        expected = sum(i * UPDATES[i][name] for i in contributors) / 7
        np.testing.assert_allclose(average[name], expected, atol=2e-4)
    model = {"w": np.ones((5, 7), "f4"), "b": np.zeros(7, "f4")}
    new = apply(model, average)
    np.testing.assert_array_equal(new["w"], model["w"] + average["w"])
    assert new["w"].dtype == np.float32
    with pytest.raises(Mismatch):
        apply({"w": model["w"]}, average)


def test_an_update_is_bound_to_its_round_and_sender():
    data, blob = STORED[1]
    for number, member in ((2, 1), (1, 2)):
        with pytest.raises(MemberFault) as refused:
            AGGREGATION.check_update(number, member, blob, [data])
        assert refused.value.member == member


def test_a_copied_update_with_a_new_header_is_refused():
    """Member 2 re-labels member 1's ciphertexts and proof as its own: the proof does not follow."""
    data, blob = STORED[1]
    ciphertexts = AGGREGATION.check_update(1, 1, blob, [data])
    header = AGGREGATION.header(Kind.UPDATE, 1, 2)
    size = AGGREGATION.key.public.width
    tail = data[data.rindex(encode_integer(ciphertexts[-1], size)) + size :]
    copied = b"".join(write_blob(header, ciphertexts, tail[4:]))
    digest = hashlib.sha256(copied).digest()
    announced = Blob(digest, len(copied), blob_root(header, ciphertexts), proof_digest(tail[4:]))
    with pytest.raises(ProofRejected, match="member 2"):
        AGGREGATION.check_update(1, 2, announced, [copied])


def test_a_damaged_or_exchanged_object_is_refused():
    data, blob = STORED[1]
    for damaged in (data[:-1], data + b"\0", data[:-9] + b"\x00" + data[-8:], b""):
        with pytest.raises(MemberFault):
            AGGREGATION.check_update(1, 1, blob, [damaged])
    other = Blob(hashlib.sha256(b"x").digest(), blob.size, blob.root, blob.proof)
    with pytest.raises(Mismatch):
        AGGREGATION.check_update(1, 1, other, [data])


def test_a_share_of_another_sum_is_refused():
    total = AGGREGATION.sum([checked(1), checked(2)])
    other = AGGREGATION.sum([checked(1), checked(3)])
    data, blob = AGGREGATION.release(1, DEALT.shares[2], AGGREGATE, other)
    with pytest.raises(MemberFault, match="member 2"):
        AGGREGATION.check_share(1, 2, AGGREGATE, total, blob, [data])
    with pytest.raises(MemberFault):
        AGGREGATION.check_share(1, 2, hashlib.sha256(b"another").digest(), other, blob, [data])


def test_a_member_that_encrypts_beyond_its_clip_is_noticed_in_the_sum():
    codec = AGGREGATION.codec
    plaintexts = codec.encode(UPDATES[1], 1)
    plaintexts[0] |= mpz((1 << codec.packing.width) - 1)
    made = AGGREGATION._encryptor.encrypt(plaintexts).ciphertexts
    total = AGGREGATION.sum([made, checked(2)])
    partials = {i: partially_decrypt(DEALT.key, DEALT.shares[i], total) for i in (1, 2)}
    with pytest.raises(OutOfRange):
        AGGREGATION.open(partials, (1, 2))


def test_keys_and_shares_survive_storage():
    stored = StoredShare.of(DEALT.key, DEALT.shares[3])
    again = StoredShare.from_bytes(stored.to_bytes())
    assert again.key.key().digest == DEALT.key.digest
    assert again.share() == DEALT.shares[3]
    assert StoredKey.from_bytes(again.key.to_bytes()).key() == DEALT.key
    assert str(int(DEALT.shares[3].shamir)) not in repr(stored)
    assert repr(again.shamir) not in repr(again)
    with pytest.raises(MemberFault):
        StoredShare.from_bytes(stored.to_bytes()[:-1])


def test_ciphertexts_stay_below_six_bytes_a_parameter():
    encoding = Encoding(16, (TensorSpec("w", (100, 50), 1.0),), (1, 1, 1))
    big = manifest(3, encoding=encoding, key_profile="insecure-test-1024")
    aggregation = Aggregation(big, deal(3, 2, big.profile).key)
    data, _ = aggregation.contribute(1, 1, {"w": np.zeros((100, 50), "f4")}, 1)
    assert len(data) / 5000 < 6
