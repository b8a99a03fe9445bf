"""Packing: exact headroom, sums without carries, and the bound check."""

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding.errors import Malformed, Misuse, OutOfRange
from protocol.encoding.packing import MAX_MEMBERS, Packing
from protocol.errors import MemberFault

EVERY_WIDTH = [*range(2, 17), 24]


@st.composite
def packings(draw):
    return Packing(draw(st.integers(256, 700)), draw(st.sampled_from(EVERY_WIDTH)), draw(st.integers(2, 32)))


@given(packings(), st.data())
@settings(deadline=None)
def test_what_is_packed_is_unpacked(packing, data):
    digits = data.draw(st.lists(st.integers(0, 2**packing.bits - 1), min_size=1, max_size=200))
    plaintexts = packing.pack(np.array(digits, np.uint64))
    assert len(plaintexts) == packing.count(len(digits))
    assert packing.unpack(plaintexts, len(digits), 1).tolist() == digits


@given(packings(), st.data())
@settings(deadline=None)
def test_the_packed_integers_are_those_of_gmp(packing, data):
    digits = data.draw(st.lists(st.integers(0, 2**packing.bits - 1), min_size=1, max_size=100))
    rows = [digits[at : at + packing.slots] for at in range(0, len(digits), packing.slots)]
    expected = [gmpy2.pack([gmpy2.mpz(digit) for digit in row], packing.width) for row in rows]
    assert packing.pack(np.array(digits, np.uint32)) == expected


@pytest.mark.parametrize("members", range(2, 33))
def test_sums_of_packed_updates_are_packed_sums(members):
    for bits in EVERY_WIDTH:
        packing = Packing(512, bits, members)
        generator = np.random.default_rng(members * 100 + bits)
        updates = generator.integers(0, 2**bits, (members, 2 * packing.slots + 3), np.uint64)
        updates[:, ::5] = 2**bits - 1  # the largest sum there can be
        summed = [sum(column) for column in zip(*(packing.pack(update) for update in updates), strict=True)]
        np.testing.assert_array_equal(packing.unpack(summed, updates.shape[1], members), updates.sum(axis=0))


@pytest.mark.parametrize("members", [*range(2, 34), 1023, 1024])
def test_the_headroom_is_exact(members):
    for bits in EVERY_WIDTH:
        packing = Packing(2048, bits, members)
        assert members * (2**bits - 1) < 2**packing.width, "no carry"
        assert members * 2**bits > 2 ** (packing.width - 1), "not a bit to spare"
        assert packing.slots * packing.width < packing.modulus_bits <= (packing.slots + 1) * packing.width


@pytest.mark.parametrize(("modulus_bits", "slots"), [(2048, 113), (3072, 170)])
def test_the_usual_packing_has_the_expected_slots(modulus_bits, slots):
    assert Packing(modulus_bits, 16, 4).slots == slots


@given(packings(), st.data())
@settings(deadline=None)
def test_a_sum_one_too_large_is_named(packing, data):
    digits = data.draw(st.integers(1, 3 * packing.slots))
    contributors = data.draw(st.integers(2, packing.members))
    plaintexts = packing.pack(np.full(digits, 2**packing.bits - 1, np.uint64))
    summed = [plaintext * contributors for plaintext in plaintexts]
    assert packing.unpack(summed, digits, contributors).size == digits

    culprits = data.draw(st.sets(st.integers(0, digits - 1), min_size=1, max_size=3))
    for culprit in culprits:
        plaintext, slot = packing.place(culprit)
        summed[plaintext] += 1 << slot * packing.width
    with pytest.raises(OutOfRange) as caught:
        packing.unpack(summed, digits, contributors)
    first = min(culprits)
    assert (caught.value.plaintext, caught.value.slot) == divmod(first, packing.slots)
    assert caught.value.parameter == first
    assert f"parameter {first}" in str(caught.value)


@given(packings(), st.data())
@settings(deadline=None)
def test_padding_must_be_empty(packing, data):
    digits = data.draw(st.integers(1, packing.slots - 1))
    slot = data.draw(st.integers(digits, packing.slots - 1))
    summed = packing.pack(np.ones(digits, np.uint64))
    summed[0] += 1 << slot * packing.width
    with pytest.raises(OutOfRange) as caught:
        packing.unpack(summed, digits, 2)
    assert (caught.value.plaintext, caught.value.slot, caught.value.parameter) == (0, slot, None)


@given(packings(), st.integers(1, 2**600), st.booleans())
@settings(deadline=None)
def test_what_overflows_a_plaintext_is_refused(packing, excess, negative):
    digits = 3 * packing.slots
    summed = packing.pack(np.ones(digits, np.uint64))
    summed[1] = -gmpy2.mpz(excess) if negative else summed[1] + (excess << packing.slots * packing.width)
    with pytest.raises(OutOfRange) as caught:
        packing.unpack(summed, digits, 2)
    assert caught.value.plaintext == 1
    assert negative or caught.value.slot == packing.slots - 1
    assert negative or caught.value.parameter == 2 * packing.slots - 1


def test_an_earlier_slot_is_named_before_an_overflow():
    packing = Packing(512, 8, 2)
    summed = packing.pack(np.ones(2 * packing.slots, np.uint64))
    summed[0] += 510 << 3 * packing.width
    summed[1] += 1 << 511
    with pytest.raises(OutOfRange) as caught:
        packing.unpack(summed, 2 * packing.slots, 2)
    assert caught.value.parameter == 3


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_plaintexts_is_another_members_fault(count):
    packing = Packing(512, 8, 2)
    with pytest.raises(Malformed, match=f"{count} plaintexts instead of 2") as caught:
        packing.unpack([0] * count, 2 * packing.slots, 2)
    assert isinstance(caught.value, MemberFault)
    assert str(caught.value.blame(3)).startswith("member 3: ")


@pytest.mark.parametrize(
    "digits",
    [
        np.empty(0, np.uint64),
        np.zeros((2, 2), np.uint64),
        np.zeros(2, np.int64),
        np.zeros(2),
        np.array([256], np.uint64),
    ],
)
def test_only_flat_unsigned_digits_are_packed(digits):
    with pytest.raises(Misuse):
        Packing(512, 8, 2).pack(digits)


@pytest.mark.parametrize("contributors", [-1, 0, 5])
def test_contributors_are_members(contributors):
    with pytest.raises(Misuse, match="contributors"):
        Packing(512, 8, 4).unpack([0], 1, contributors)


@pytest.mark.parametrize(
    ("modulus_bits", "bits", "members"),
    [(512, 1, 2), (512, 25, 2), (512, 8, 0), (512, 8, MAX_MEMBERS + 1), (9, 8, 2)],
)
def test_impossible_packings_are_refused(modulus_bits, bits, members):
    with pytest.raises(Misuse):
        Packing(modulus_bits, bits, members)
