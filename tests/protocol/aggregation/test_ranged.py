"""Ranged rounds: honest updates average as ever, and what N accepted ones add up to is always applicable."""

import hashlib

import numpy as np
import pytest
from support.dealer import deal
from support.forger import forge_update
from support.manifests import manifest

from protocol.aggregation import Aggregation, _stored
from protocol.crypto.ranges import rows
from protocol.crypto.sigma import ProofRejected
from protocol.encoding.header import Kind
from protocol.errors import MemberFault
from protocol.manifest import Encoding, TensorSpec

DEALT = deal(3, 2)
AGGREGATE = hashlib.sha256(b"the sealed sum").digest()
EQUAL, UNEQUAL, PRIVATE = (1, 1, 1), (1, 1000, 40), ()
SMALL, LARGE = (5, 7), (60, 60)  # each plaintext its own row; coins
RNG = np.random.default_rng(3)


def aggregation_of(weights=EQUAL, shape=SMALL, bits=16, ranged=False):
    tensors = (TensorSpec("w", shape, 1.0), TensorSpec("b", (7,), 0.5))
    encoding = Encoding(bits, tensors, weights, 0 if weights else 300, ranged)
    return Aggregation(manifest(3, encoding=encoding), DEALT.key)


def random_update(aggregation):
    return {t.name: RNG.uniform(-t.clip, t.clip, t.shape) for t in aggregation.codec.layout.tensors}


def check(aggregation, member, made):
    data, blob = made
    return aggregation.check_update(1, member, blob, [data], ranged=True)


def opened(aggregation, contributions):
    """The average of contributions, by member, that every member checks, sums and decrypts."""
    total = aggregation.sum([check(aggregation, member, made) for member, made in contributions.items()])
    partials = {}
    for member in (1, 3):
        data, blob = aggregation.release(1, DEALT.shares[member], AGGREGATE, total, ranged=True)
        partials[member] = aggregation.check_share(1, member, AGGREGATE, total, blob, [data], ranged=True)
    return aggregation.open(partials, list(contributions), ranged=True)


@pytest.mark.parametrize(
    ("weights", "shape", "contributors"),
    [
        (EQUAL, SMALL, (1, 2, 3)),
        (UNEQUAL, SMALL, (2, 3)),
        (PRIVATE, SMALL, (1, 2)),
        (UNEQUAL, LARGE, (1, 2, 3)),
        (PRIVATE, LARGE, (2, 3)),
    ],
)
def test_honest_updates_average_as_in_other_rounds(weights, shape, contributors):
    aggregation = aggregation_of(weights, shape)
    counts = {member: weights[member - 1] if weights else 100 * member for member in contributors}
    updates = {member: random_update(aggregation) for member in contributors}
    made = {m: aggregation.contribute(1, m, updates[m], counts[m], ranged=True) for m in contributors}
    average = opened(aggregation, made)
    total = sum(counts.values())
    for tensor in aggregation.codec.layout.tensors:
        expected = sum(counts[member] * updates[member][tensor.name] for member in contributors) / total
        largest = max(weights or (300,))
        step = tensor.clip / (2**15 - 1) * len(contributors) * largest / total
        np.testing.assert_allclose(average[tensor.name], expected, rtol=0, atol=step + 1e-6)
        assert average[tensor.name].dtype == np.float32


def extreme(aggregation, sign):
    """Digits as far out as a proof can be made for: one in each block, or at random places of the rows."""
    shape = aggregation.ranged_codec.shape(1)
    digits = np.zeros((shape.count, shape.slots), np.int64)
    if shape.count <= rows.ROWS:
        digits.reshape(-1)[:: rows.BLOCK] = shape.offset
    else:
        digits[::97, 0] = shape.offset // 20
    return (sign * digits).tolist()


@pytest.mark.parametrize(("shape", "weights"), [(SMALL, EQUAL), (SMALL, PRIVATE), (LARGE, PRIVATE)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, -1), (1, -1, -1)])
def test_accepted_contributions_at_their_bounds_open_to_something_applicable(shape, weights, signs):
    """Far beyond any clip, and accepted: averages are cut to the clip, no digit touches its neighbours."""
    aggregation = aggregation_of(weights, shape)
    made = {
        member: forge_update(aggregation, member, extreme(aggregation, sign))
        for member, sign in zip((1, 2, 3), signs, strict=True)
    }
    average = opened(aggregation, made)
    digits = np.array(extreme(aggregation, sum(signs))).reshape(-1)
    for tensor, span in aggregation.codec.layout.spans():
        average_digit = digits[span] / (2**15 - 1) / (3 if weights else 3 / 300)
        expected = np.clip(average_digit, -1, 1) * tensor.clip
        np.testing.assert_allclose(average[tensor.name].reshape(-1), expected, atol=1e-6)


def test_one_member_alone_cannot_spoil_a_ranged_sum():
    """The poison of an ordinary round, by its author's name: a digit, and a weight, too large."""
    for weights, digit, weight in ((EQUAL, 1 << 20, 1), (PRIVATE, 0, 60_000), (PRIVATE, 0, 0)):
        aggregation = aggregation_of(weights)
        digits = np.zeros(
            (aggregation.ranged_codec.shape(3).count, aggregation.ranged_codec.packing.slots), int
        )
        digits[0, 0] = digit
        with pytest.raises(ProofRejected, match="member 3: a digit or the weight"):
            check(aggregation, 3, forge_update(aggregation, 3, digits.tolist(), weight))


def test_digits_are_held_to_the_members_own_weight():
    aggregation = aggregation_of(UNEQUAL)
    shapes = [aggregation.ranged_codec.shape(member) for member in (1, 2)]
    digits = np.zeros((shapes[0].count, shapes[0].slots), int)
    digits[0, 0] = 2 * shapes[0].peak + 1
    check(aggregation, 2, forge_update(aggregation, 2, digits.tolist()))
    with pytest.raises(ProofRejected, match="member 1"):
        check(aggregation, 1, forge_update(aggregation, 1, digits.tolist()))


def test_a_ranged_round_takes_ranged_updates_alone_and_the_other_way_round():
    aggregation = aggregation_of()
    update = random_update(aggregation)
    for ranged in (True, False):
        data, blob = aggregation.contribute(1, 1, update, 1, ranged=ranged)
        aggregation.check_update(1, 1, blob, [data], ranged=ranged)
        with pytest.raises(MemberFault, match="member 1: the blob's kind"):
            aggregation.check_update(1, 1, blob, [data], ranged=not ranged)


def test_a_ranged_update_is_bound_to_its_round_and_sender():
    aggregation = aggregation_of(PRIVATE)
    data, blob = aggregation.contribute(1, 1, random_update(aggregation), 5, ranged=True)
    for number, member in ((2, 1), (1, 2)):
        with pytest.raises(MemberFault, match=f"member {member}"):
            aggregation.check_update(number, member, blob, [data], ranged=True)


def test_a_copied_update_is_refused_even_with_a_proof_of_its_own_knowledge():
    """Both proofs are bound to the sender: neither can be taken over, nor one of them replaced."""
    aggregation = aggregation_of()
    data, blob = aggregation.contribute(1, 1, random_update(aggregation), 1, ranged=True)
    ciphertexts = aggregation.check_update(1, 1, blob, [data], ranged=True)
    size = aggregation._digits_in_range(1, []).sizes.proof
    start = data.rindex(int(ciphertexts[-1]).to_bytes(aggregation.key.public.width, "big"))
    proof = data[start + aggregation.key.public.width + 4 :]
    header = aggregation.header(Kind.RANGED, 1, 2, ranged=True)
    with pytest.raises(ProofRejected, match="member 2"):
        check(aggregation, 2, _stored(header, ciphertexts, proof))
    own = forge_update(aggregation, 2, extreme(aggregation, 1))
    for mixed in (proof[:-size] + own[0][-size:], own[0][-len(proof) : -size] + proof[-size:]):
        with pytest.raises(ProofRejected, match="member 2"):
            check(aggregation, 2, _stored(header, ciphertexts, mixed))


@pytest.mark.parametrize("length", [1, 100, 4096])
def test_an_update_with_the_wrong_length_of_proof_is_refused(length):
    aggregation = aggregation_of()
    _, blob = made = aggregation.contribute(1, 1, random_update(aggregation), 1, ranged=True)
    ciphertexts = check(aggregation, 1, made)
    proof = made[0][-length:]
    changed = _stored(aggregation.header(Kind.RANGED, 1, 1, ranged=True), ciphertexts, proof)
    assert changed[1].root == blob.root
    with pytest.raises(MemberFault, match="member 1"):
        check(aggregation, 1, changed)


def test_a_proof_longer_than_the_manifest_allows_is_refused_before_it_is_read():
    aggregation = aggregation_of()
    made = aggregation.contribute(1, 1, random_update(aggregation), 1, ranged=True)
    ciphertexts = check(aggregation, 1, made)
    header = aggregation.header(Kind.RANGED, 1, 1, ranged=True)
    with pytest.raises(MemberFault, match="announces a proof"):
        check(aggregation, 1, _stored(header, ciphertexts, bytes(10**6)))


def test_shares_of_a_ranged_sum_are_for_ranged_rounds():
    aggregation = aggregation_of(PRIVATE)
    made = aggregation.contribute(1, 1, random_update(aggregation), 5, ranged=True)
    total = aggregation.sum([check(aggregation, 1, made)] * 2)
    data, blob = aggregation.release(1, DEALT.shares[1], AGGREGATE, total, ranged=True)
    with pytest.raises(MemberFault, match="member 1: the blob's encoding"):
        aggregation.check_share(1, 1, AGGREGATE, total, blob, [data])
