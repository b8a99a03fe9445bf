"""Quantisation: its grid, its bounds, its randomness and what it refuses."""

import math
import random
import secrets
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding.errors import Misuse, NotFinite
from protocol.encoding.quantise import Quantiser
from protocol.errors import OwnFault

bits = st.sampled_from([*range(2, 17), 24])
clips = st.floats(2.0**-20, 2.0**20)
alphas = st.fractions(min_value=Fraction(1, 1000), max_value=1, max_denominator=1000)


@given(bits, clips, alphas, st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@settings(deadline=None)
def test_every_finite_value_lands_beside_its_clipped_and_weighted_self(bits, clip, alpha, values):
    quantiser = Quantiser(bits, clip)
    digits = quantiser.encode(np.array(values), alpha)
    assert digits.min() >= 1
    assert digits.max() <= 2**bits - 1
    centred = digits.astype(np.int64) - quantiser.offset
    exact = np.clip(values, -clip, clip) * float(alpha) / quantiser.step
    assert np.all(np.abs(centred - exact) <= 1 + 1e-6)
    assert np.all(np.abs(centred) <= quantiser.bound(1, alpha))


@given(bits, clips, st.data())
@settings(deadline=None)
def test_values_on_the_grid_are_carried_exactly(bits, clip, data):
    quantiser = Quantiser(bits, clip)
    ends = [-quantiser.peak, 0, quantiser.peak]
    inner = data.draw(st.lists(st.integers(-quantiser.peak, quantiser.peak)))
    values = np.array(ends + inner) * quantiser.step
    decoded = quantiser.decode(quantiser.encode(values), 1, Fraction(1))
    np.testing.assert_allclose(
        decoded, values, rtol=1e-6, atol=quantiser.step * (1e-6 if bits < 24 else 1.01)
    )
    assert decoded[1] == 0


def test_the_clip_is_reached_at_both_ends_and_never_passed():
    for width in (2, 8, 16, 24):
        digits = Quantiser(width, 0.1).encode(np.array([-1e300, -0.1, 0.1, 1e300]))
        assert digits.tolist() == [1, 1, 2**width - 1, 2**width - 1]


@pytest.mark.parametrize("fraction", [2.0**-10, 0.1, 0.5, 0.9, 1 - 2.0**-10])
@pytest.mark.parametrize("whole", [-3, 0, 2])
def test_rounding_is_unbiased(fraction, whole):
    """Hoeffding: the mean of M roundings strays by t with probability ≤ 2·exp(−2Mt²) < 3e-11 here."""
    samples = 400_000
    quantiser = Quantiser(8, 127.0)
    digits = quantiser.encode(np.full(samples, whole + fraction))
    mean = digits.astype(np.float64).mean() - quantiser.offset
    assert abs(mean - (whole + fraction)) < math.sqrt(25 / (2 * samples))


def test_the_average_of_many_contributions_is_closer_than_one_step():
    """Each mean of 1,024 roundings strays by 0.15 steps with probability ≤ 2·exp(−46) (Hoeffding)."""
    quantiser, contributors = Quantiser(4, 1.0), 1024
    values = np.linspace(-1, 1, 101)
    sums = sum(quantiser.encode(values) for _ in range(contributors))
    average = quantiser.decode(sums, contributors, Fraction(contributors))
    assert np.abs(average - values).max() < 0.15 * quantiser.step


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_all_32_bits_of_a_threshold_decide(threshold):
    """A fraction of (t + ½)/2^32 is rounded up for the threshold t and down for t + 1."""
    values = np.array([(threshold + 0.5) / 2**32])
    with pytest.MonkeyPatch.context() as patch:
        for drawn, expected in ((threshold, 1), (min(threshold + 1, 2**32 - 1), threshold == 2**32 - 1)):
            patch.setattr(secrets, "token_bytes", lambda _, drawn=drawn: drawn.to_bytes(4, "little"))
            assert Quantiser(8, 127.0).encode(values)[0] - 128 == expected


def test_secrets_is_the_only_source_of_randomness(monkeypatch):
    asked = []

    def token_bytes(count):
        asked.append(count)
        return bytes(range(256)) * (count // 256) + bytes(count % 256)

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    values = np.linspace(-0.9, 0.9, 2**20 + 100)
    first, second = (Quantiser(8, 1.0).encode(values) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert sum(asked) == 2 * 4 * values.size, "one fresh 32-bit threshold for each value"


def test_seeding_other_generators_changes_nothing():
    values, encoded = np.full(4096, 0.003), []
    for _ in range(2):
        np.random.seed(7)
        random.seed(7)
        encoded.append(Quantiser(8, 1.0).encode(values))
    assert not np.array_equal(*encoded), "equal with probability below 2^-1000"


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused(poison):
    with pytest.raises(NotFinite, match="1 of 3 values") as caught:
        Quantiser(16, 1.0).encode(np.array([0.0, poison, 1.0]))
    assert isinstance(caught.value, OwnFault)
    assert "lower the learning rate" in caught.value.remedy


@pytest.mark.parametrize("width", [-1, 0, 1, 25])
def test_digit_widths_have_limits(width):
    with pytest.raises(Misuse, match="bits"):
        Quantiser(width, 1.0)


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan, math.inf, 2.0**65])
def test_clips_are_positive_and_ordinary(clip):
    with pytest.raises(Misuse, match="clip"):
        Quantiser(16, clip)


@pytest.mark.parametrize("alpha", [Fraction(0), Fraction(-1), Fraction(3, 2)])
def test_weights_are_above_zero_and_at_most_one(alpha):
    with pytest.raises(Misuse, match="weight"):
        Quantiser(16, 1.0).encode(np.zeros(1), alpha)


@pytest.mark.parametrize("values", [np.zeros(2, complex), np.array(["1"]), np.array([None])])
def test_only_real_numbers_are_quantised(values):
    with pytest.raises(Misuse, match="real numbers"):
        Quantiser(16, 1.0).encode(values)


@pytest.mark.parametrize(("contributors", "total"), [(0, Fraction(1)), (1, Fraction(0))])
def test_an_average_needs_a_contribution(contributors, total):
    with pytest.raises(Misuse, match="at least one"):
        Quantiser(16, 1.0).decode(np.zeros(1, np.uint64), contributors, total)


@pytest.mark.parametrize("source", [bytes, lambda count: b"\xff" * count])
def test_what_needs_no_rounding_is_not_rounded_whatever_is_drawn(monkeypatch, source):
    monkeypatch.setattr(secrets, "token_bytes", source)
    digits = Quantiser(8, 127.0).encode(np.arange(-127.0, 128.0))
    assert digits.tolist() == list(range(1, 256))


@pytest.mark.parametrize("source", [bytes, lambda count: b"\xff" * count])
def test_the_clip_holds_where_its_scaling_rounds_outwards(monkeypatch, source):
    """For many clips C and reaches r, C·(r/C) in floats is just above r."""
    monkeypatch.setattr(secrets, "token_bytes", source)
    for thousandths in range(1, 3000):
        clip = thousandths / 1000
        low, high = Quantiser(16, clip).encode(np.array([-clip, clip])).tolist()
        assert low in (1, 2)
        assert high in (2**16 - 2, 2**16 - 1)
