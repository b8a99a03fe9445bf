"""Stored shares: who has every bucket's objects and every public key reads no partial decryption."""

from __future__ import annotations

import hashlib

import pytest
from support.dealer import deal
from support.manifests import job_secret, manifest

from protocol.aggregation import Aggregation
from protocol.crypto.integers import encode_integer
from protocol.crypto.sigma.schnorr import JobSecret
from protocol.errors import MemberFault
from protocol.records import Blob
from protocol.shares import SealedShares

MANIFEST = manifest(4)
DEALT = deal(4, 2)
AGGREGATION = Aggregation(MANIFEST, DEALT.key)
AGGREGATE = hashlib.sha256(b"the sealed sum").digest()
UPDATE = {"w": [[0.25] * 7] * 5, "b": [0.125] * 7}


def sealing(member: int, secret: JobSecret | None = None) -> SealedShares:
    return SealedShares(MANIFEST, DEALT.key.digest, member, secret or job_secret(member))


def contributed(member: int) -> list:
    import numpy as np

    update = {name: np.array(values, "f4") for name, values in UPDATE.items()}
    data, blob = AGGREGATION.contribute(1, member, update, member)
    return AGGREGATION.check_update(1, member, blob, [data])


TOTAL = AGGREGATION.sum([contributed(1), contributed(2), contributed(3)])
CLEAR = {member: AGGREGATION.release(1, DEALT.shares[member], AGGREGATE, TOTAL) for member in (1, 2, 3)}
STORED = {member: sealing(member).seal(1, *made) for member, made in CLEAR.items()}


def partials(member: int) -> list:
    data, blob = CLEAR[member]
    return AGGREGATION.check_share(1, member, AGGREGATE, TOTAL, blob, [data])


def test_a_provider_with_all_objects_and_public_keys_finds_no_partial_decryption():
    bucket = b"".join(data for data, _ in STORED.values())
    width = AGGREGATION.key.public.width
    numbers = [encode_integer(value, width) for member in STORED for value in partials(member)]
    assert all(any(number in CLEAR[member][0] for member in CLEAR) for number in numbers)
    assert not any(number in bucket for number in numbers)
    assert not any(number[at : at + 12] in bucket for number in numbers for at in range(0, width - 12, 12))


@pytest.mark.parametrize("reader", [1, 2, 4])
def test_every_member_reads_it_and_the_proofs_inside_are_checked_as_before(reader: int):
    data, blob = STORED[2]
    assert (blob.object, blob.size) == (hashlib.sha256(data).digest(), len(data))
    inside, clear = sealing(reader).unseal(1, 2, blob, [data[:50], data[50:]])
    assert (inside, clear) == CLEAR[2]
    assert AGGREGATION.check_share(1, 2, AGGREGATE, TOTAL, clear, [inside]) == partials(2)


def refused(sealed: SealedShares, number: int, member: int, blob: Blob, data: bytes) -> None:
    with pytest.raises(MemberFault) as fault:
        sealed.unseal(number, member, blob, [data])
    assert fault.value.member == member


def test_who_is_no_member_does_not_read_it_nor_does_one_with_anothers_place():
    data, blob = STORED[2]
    refused(sealing(1, JobSecret.generate()), 1, 2, blob, data)
    refused(sealing(3, job_secret(4)), 1, 2, blob, data)


def test_a_share_announced_again_by_another_or_in_another_round_is_refused_and_named():
    data, blob = STORED[2]
    refused(sealing(1), 1, 3, blob, data)
    refused(sealing(1), 2, 2, blob, data)


def test_a_share_in_the_clear_is_refused_and_named():
    data, blob = CLEAR[2]
    refused(sealing(1), 1, 2, blob, data)


def test_another_object_than_the_announced_one_is_refused_and_named():
    data, blob = STORED[2]
    refused(sealing(1), 1, 2, blob, STORED[3][0])
    refused(sealing(1), 1, 2, replace_digest(blob), data)


def replace_digest(blob: Blob) -> Blob:
    return Blob(hashlib.sha256(b"other").digest(), blob.size, blob.root, blob.proof)


def test_a_joint_key_of_another_attempt_has_other_shares():
    data, blob = STORED[2]
    other = SealedShares(MANIFEST, bytes(32), 1, job_secret(1))
    refused(other, 1, 2, blob, data)
    refused(SealedShares(replace_job(), DEALT.key.digest, 1, job_secret(1)), 1, 2, blob, data)


def replace_job():
    return manifest(4, nonce=b"another job.....")
