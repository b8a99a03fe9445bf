"""Updates from float arrays to plaintexts, summed, and averaged."""

import itertools

import numpy as np
import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding.blob import blob_size
from protocol.encoding.errors import Misuse, NotFinite, OutOfRange
from protocol.encoding.header import Header, Kind
from protocol.encoding.layout import Layout, Tensor
from protocol.encoding.packing import Packing
from protocol.encoding.update import UpdateCodec
from protocol.encoding.weighting import MAX_WEIGHT, PrivateWeights, PublicWeights

LAYOUT = Layout((Tensor("weight", (7, 5), 0.5), Tensor("bias", (5,), 0.02)))
COUNTS = (100, 250, 1000, 40)


def codec(weighting, bits=16, members=4, layout=LAYOUT):
    return UpdateCodec(layout, Packing(512, bits, members), weighting)


def updates_of(members, layout=LAYOUT):
    generator = np.random.default_rng(members)
    return [
        {
            tensor.name: generator.uniform(-tensor.clip, tensor.clip, tensor.shape).astype(np.float32)
            for tensor in layout.tensors
        }
        for _ in range(members)
    ]


def added(encoded):
    return [sum(column) for column in zip(*encoded, strict=True)]


@pytest.mark.parametrize("bits", [4, 8, 16, 24])
@pytest.mark.parametrize("weighting", [PublicWeights(COUNTS), PrivateWeights(1000)])
def test_the_average_is_weighted_and_right_for_every_set_that_took_part(weighting, bits):
    ours, updates = codec(weighting, bits), updates_of(4)
    encoded = [ours.encode(update, count) for update, count in zip(updates, COUNTS, strict=True)]
    for size in range(1, 5):
        for members in itertools.combinations(range(1, 5), size):
            average = ours.decode(added(encoded[member - 1] for member in members), members)
            total = sum(COUNTS[member - 1] for member in members)
            for tensor in LAYOUT.tensors:
                terms = (COUNTS[m - 1] / total * updates[m - 1][tensor.name].astype(float) for m in members)
                step = tensor.clip / (2 ** (bits - 1) - 1)
                tolerance = size * step * max(COUNTS) / total + 1e-6 * tensor.clip
                assert average[tensor.name].shape == tensor.shape
                assert average[tensor.name].dtype == np.float32
                np.testing.assert_allclose(average[tensor.name], sum(terms), rtol=0, atol=tolerance)


def test_plaintexts_survive_addition_under_paillier():
    """With `phe` as an independent implementation; equal sums decode to equal bits."""
    public, private = phe.generate_paillier_keypair(n_length=512)
    ours, updates = codec(PrivateWeights(1000)), updates_of(4)
    encoded = [ours.encode(update, count) for update, count in zip(updates, COUNTS, strict=True)]
    sums = None
    for plaintexts in encoded:
        encrypted = [public.raw_encrypt(int(plaintext)) for plaintext in plaintexts]
        sums = (
            encrypted
            if sums is None
            else [x * y % public.nsquare for x, y in zip(sums, encrypted, strict=True)]
        )
    decrypted = ours.decode([private.raw_decrypt(value) for value in sums], range(1, 5))
    in_clear = ours.decode(added(encoded), range(1, 5))
    for tensor in LAYOUT.tensors:
        np.testing.assert_array_equal(decrypted[tensor.name], in_clear[tensor.name])


@given(st.integers(2, 32), st.sampled_from([2, 3, 7, 16, 24]), st.booleans(), st.data())
@settings(deadline=None, max_examples=60)
def test_equal_updates_at_the_grids_ends_average_to_themselves(members, bits, private, data):
    """With equal weights these values need no rounding: the sum, hence the average, is exact."""
    weighting = PrivateWeights(1) if private else PublicWeights((1,) * members)
    ours = codec(weighting, bits, members)
    contributors = data.draw(st.sets(st.integers(1, members), min_size=1))
    signs = np.array(data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=40, max_size=40)))
    update = {"weight": 0.5 * signs[:35].reshape(7, 5), "bias": 0.02 * signs[35:]}
    plaintexts = added(ours.encode(update, 1) for _ in contributors)
    average = ours.decode(plaintexts, contributors)
    for name, values in update.items():
        np.testing.assert_array_equal(average[name], values.astype(np.float32))


@given(st.integers(1, MAX_WEIGHT), st.sampled_from([2, 5, 16, 24]), st.data())
@settings(deadline=None)
def test_a_private_weight_is_carried_exactly(largest, bits, data):
    weighting = PrivateWeights(largest)
    weights = data.draw(st.lists(st.integers(1, largest), min_size=1, max_size=32))
    carried = [weighting.carry(weight, bits) for weight in weights]
    assert all(digit < 2**bits for digits in carried for digit in digits)
    total = weighting.total(range(1, len(weights) + 1), sum(carried), bits)
    assert total * largest == sum(weights)


def test_each_tensor_has_its_own_clip():
    ours = codec(PublicWeights((1,) * 4))
    huge = {"weight": np.full((7, 5), 9.0), "bias": np.full(5, -9.0)}
    average = ours.decode(ours.encode(huge, 1), [2])
    assert np.all(average["weight"] == np.float32(0.5))
    assert np.all(average["bias"] == np.float32(-0.02))


@pytest.mark.parametrize("weighting", [PublicWeights((1, 1000)), PrivateWeights(1000)])
def test_a_contribution_larger_than_its_weight_allows_is_named(weighting):
    ours = codec(weighting, members=2)
    zeros = {"weight": np.zeros((7, 5)), "bias": np.zeros(5)}
    honest = ours.encode(zeros, 1)
    cheat = list(honest)
    plaintext, slot = ours.packing.place(37)
    cheat[plaintext] += 1000 << slot * ours.packing.width  # still a 16-bit digit, but not of weight 1
    assert ours.decode(honest, [1])["bias"].tolist() == [0.0] * 5
    with pytest.raises(OutOfRange) as caught:
        ours.decode(cheat, [1])
    assert (caught.value.plaintext, caught.value.slot, caught.value.parameter) == (plaintext, slot, 37)


def test_weights_that_cannot_be_are_refused():
    ours = codec(PrivateWeights(1000), members=2)
    zeros = {"weight": np.zeros((7, 5)), "bias": np.zeros(5)}
    plaintexts = ours.encode(zeros, 1)
    plaintext, slot = ours.packing.place(LAYOUT.parameters)
    one = 1 << slot * ours.packing.width
    for change in (-one, 1000 * one):
        changed = list(plaintexts)
        changed[plaintext] += change
        with pytest.raises(OutOfRange, match="sum of weights") as caught:
            ours.decode(changed, [1])
        assert caught.value.parameter == LAYOUT.parameters


MODULUS = 2**511 + 111  # odd, with room above the packing


@given(st.sampled_from([PublicWeights(COUNTS), PrivateWeights(1000)]), st.data())
@settings(deadline=None, max_examples=200)
def test_whatever_was_encrypted_the_sum_is_applicable_or_out_of_range(weighting, data):
    """Honest plaintexts with anything added anywhere, modulo n, or plaintexts that are anything at all."""
    ours = codec(weighting)
    contributors = data.draw(st.sets(st.integers(1, 4), min_size=1))
    total = added(ours.encode(updates_of(4)[m - 1], COUNTS[m - 1]) for m in contributors)
    width, anything = ours.packing.width, st.integers(0, MODULUS - 1)
    digit = st.builds(
        lambda size, slot: size << slot * width, st.integers(-(2**17), 2**17), st.integers(0, 28)
    )
    for place in range(len(total)):
        total[place] = (total[place] + data.draw(st.just(0) | digit | anything)) % MODULUS
    try:
        average = ours.decode(total, contributors)
    except OutOfRange:
        return
    assert all(np.isfinite(average[tensor.name]).all() for tensor in LAYOUT.tensors)
    assert all(np.abs(average[t.name]).max() <= 1000 * t.clip for t in LAYOUT.tensors)


def test_a_diverged_update_is_refused_by_name():
    update = {"weight": np.zeros((7, 5)), "bias": np.full(5, np.nan)}
    with pytest.raises(NotFinite, match="tensor 'bias': 5 of 5 values"):
        codec(PublicWeights((1,) * 4)).encode(update, 1)


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"weight": np.zeros((7, 5))},
        {"weight": np.zeros((7, 5)), "bias": np.zeros(5), "more": np.zeros(1)},
        {"weight": np.zeros((5, 7)), "bias": np.zeros(5)},
    ],
)
def test_an_update_has_exactly_the_layouts_tensors(update):
    with pytest.raises(Misuse):
        codec(PublicWeights((1,) * 4)).encode(update, 1)


@pytest.mark.parametrize("weighting", [PublicWeights(COUNTS), PrivateWeights(1000)])
@pytest.mark.parametrize("weight", [-1, 0, 1001])
def test_a_weight_that_was_not_agreed_is_refused(weighting, weight):
    with pytest.raises(Misuse):
        codec(weighting).encode(updates_of(1)[0], weight)


@pytest.mark.parametrize("contributors", [[], [0], [1, 1], [5]])
@pytest.mark.parametrize("weighting", [PublicWeights(COUNTS), PrivateWeights(1000)])
def test_contributors_are_distinct_members(weighting, contributors):
    ours = codec(weighting)
    with pytest.raises(Misuse):
        ours.decode(ours.encode(updates_of(1)[0], 100), contributors)


def test_everyone_has_a_public_weight():
    with pytest.raises(Misuse, match="public weight"):
        codec(PublicWeights((1, 2, 3)))


@pytest.mark.parametrize("weights", [(), (0,), (1, -1), (MAX_WEIGHT + 1,)])
def test_weights_are_whole_numbers_within_limits(weights):
    with pytest.raises(Misuse):
        PublicWeights(weights)
    for weight in weights:
        if not 1 <= weight <= MAX_WEIGHT:
            with pytest.raises(Misuse):
                PrivateWeights(weight)


def test_the_digest_is_known_and_tells_encodings_apart():
    ours = codec(PrivateWeights(1000))
    assert ours.digest().hex() == "1b707461f30d03a77d1cc9ee9cca879bb860b6f367a4af4d1d50f0afe9ea3180"
    others = [
        codec(PrivateWeights(1001)),
        codec(PublicWeights((1000,) * 4)),
        codec(PublicWeights(COUNTS)),
        codec(PrivateWeights(1000), bits=15),
        codec(PrivateWeights(1000), members=5),
        UpdateCodec(LAYOUT, Packing(1024, 16, 4), PrivateWeights(1000)),
        codec(PrivateWeights(1000), layout=LAYOUT.with_clips({"bias": 0.03})),
    ]
    assert len({other.digest() for other in [ours, *others]}) == 8


def test_decoding_gives_known_bits():
    """The same on every machine: members compare digests of the models that they make of it."""
    layout = Layout((Tensor("x", (5,), 0.3),))
    ours = codec(PublicWeights((3, 7, 11)), members=3, layout=layout)
    sums = ours.packing.pack(np.array([40000, 50000, 65535, 57344, 65534], np.uint64))
    assert ours.decode(sums, [1, 2])["x"].tobytes().hex() == "8cac83be4b3820be14f728b714f7a8bd14f7a8b7"


@pytest.mark.parametrize("members", [2, 4, 10, 32])
@pytest.mark.parametrize("parameters", [100_000, 1_000_000])
def test_the_bucket_holds_at_most_six_bytes_per_16_bit_parameter(members, parameters):
    layout = Layout((Tensor("x", (parameters,), 1.0),))
    ours = UpdateCodec(layout, Packing(2048, 16, members), PrivateWeights(60_000))
    header = Header(
        kind=Kind.UPDATE,
        job=bytes(32),
        round=1,
        sender=1,
        key=bytes(32),
        encoding=ours.digest(),
        aggregate=b"",
        modulus_bits=2048,
        count=ours.plaintexts,
    )
    assert 4 < blob_size(header) / parameters < 5.5
