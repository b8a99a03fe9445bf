"""The encoding of ranged rounds: slots as narrow as the proof allows, and sums that always decode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.ranges.rows import reach
from protocol.encoding.errors import Malformed, Misuse, OutOfRange
from protocol.encoding.layout import Layout, Tensor
from protocol.encoding.packing import Packing
from protocol.encoding.ranged import RangedCodec
from protocol.encoding.update import UpdateCodec
from protocol.encoding.weighting import PrivateWeights, PublicWeights

LAYOUT = Layout((Tensor("weight", (7, 5), 0.5), Tensor("bias", (5,), 0.02)))


def ranged(weighting=None, bits=16, members=4, layout=LAYOUT, modulus_bits=512):
    weighting = weighting or PublicWeights((1,) * members)
    return RangedCodec(UpdateCodec(layout, Packing(modulus_bits, bits, members), weighting))


def one_tensor(parameters):
    return Layout((Tensor("x", (parameters,), 1.0),))


@given(st.integers(2, 32), st.sampled_from([2, 8, 16, 24]), st.integers(1, 20_000), st.data())
@settings(deadline=None, max_examples=150)
def test_what_accepted_contributions_add_up_to_is_always_applicable(members, bits, parameters, data):
    """Any digits that a proof allows, in any slots, padding included, and any weight that one allows."""
    largest = data.draw(st.sampled_from([0, 1, 300, 2**32 - 1]))
    weighting = PrivateWeights(largest) if largest else PublicWeights((1,) * members)
    codec = ranged(weighting, bits, members, one_tensor(parameters))
    contributors = data.draw(st.sets(st.integers(1, members), min_size=1))
    seed = data.draw(st.integers(0, 2**32))
    count, slots = codec.plaintexts - bool(largest), codec.packing.slots
    total = [0] * codec.plaintexts
    for member in contributors:
        shape = codec.shape(member)
        assert (shape.count, shape.slots, shape.width) == (count, slots, codec.packing.width)
        assert reach(shape.count, shape.peak) <= codec.packing.reach
        furthest = (
            np.random.default_rng(seed + member).choice([-1, 0, 1], (count, slots)) * codec.packing.reach
        )
        weight = data.draw(st.sampled_from([1, largest])) if largest else 1
        total = [x + y for x, y in zip(total, codec.encode(furthest, weight), strict=True)]
    average = codec.decode(total, contributors)["x"]
    assert average.shape == (parameters,)
    assert np.abs(average).max() <= 1


@given(st.lists(st.integers(-(2**40), 2**40), min_size=3, max_size=3), st.integers(0, 600), st.booleans())
@settings(deadline=None)
def test_any_other_sum_decodes_or_is_out_of_range(changes, shift, private):
    codec = ranged(PrivateWeights(300) if private else None)
    plaintexts = codec.encode(np.zeros((codec.shape(1).count, codec.packing.slots), np.int64), 7)
    for place in range(len(plaintexts)):
        plaintexts[place] = (plaintexts[place] + (changes[place % 3] << shift)) % (2**511 + 111)
    try:
        average = codec.decode(plaintexts, [1])
    except OutOfRange:
        return
    assert all(np.abs(average[tensor.name]).max() <= tensor.clip for tensor in LAYOUT.tensors)


@pytest.mark.parametrize("total", [0, 1, 601, 10**9])
def test_weights_that_cannot_be_are_out_of_range(total):
    codec = ranged(PrivateWeights(300))
    plaintexts = codec.encode(np.zeros((codec.shape(1).count, codec.packing.slots), np.int64), total)
    with pytest.raises(OutOfRange, match="weights"):
        codec.decode(plaintexts, [1, 2])


def test_a_wrong_number_of_plaintexts_is_malformed():
    codec = ranged()
    with pytest.raises(Malformed):
        codec.decode([1] * (codec.plaintexts + 1), [1])


def test_an_update_survives_the_way_there_and_back():
    codec = ranged(PublicWeights((3, 7, 11, 1)))
    update = {t.name: np.random.default_rng(1).uniform(-t.clip, t.clip, t.shape) for t in LAYOUT.tensors}
    average = codec.decode(codec.encode(codec.digits(update, 11), 11), [3])
    for tensor in LAYOUT.tensors:
        np.testing.assert_allclose(average[tensor.name], update[tensor.name], atol=2 * tensor.clip / 2**15)


@pytest.mark.parametrize(
    ("parameters", "members", "bits", "width"),
    [
        (10_000, 3, 16, 19),
        (100_000, 3, 16, 27),
        (1_000_000, 3, 16, 28),
        (100_000, 10, 16, 29),
        (100_000, 3, 8, 19),
    ],
)
def test_slots_are_as_wide_as_the_proof_needs(parameters, members, bits, width):
    codec = ranged(None, bits, members, one_tensor(parameters), 2048)
    packing = codec.packing
    assert packing.width == width
    assert 2 * members * packing.reach < 2**width, "no carry"
    assert 4 * members * packing.reach >= 2**width, "not a bit to spare"


def test_digests_tell_encodings_apart():
    codecs = [ranged(), ranged(bits=15), ranged(members=5), ranged(PrivateWeights(300))]
    digests = {each.digest() for each in codecs} | {each.plain.digest() for each in codecs}
    assert len(digests) == 2 * len(codecs)


def test_a_modulus_too_short_for_a_ranged_slot_is_refused():
    with pytest.raises(Misuse, match="no room"):
        _ = ranged(layout=one_tensor(2**26), modulus_bits=28, members=2).packing
