"""Values as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli import formats


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3600, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float | None, text: str):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3e15, "3000.0 TB")],
)
def test_sizes(count: float | None, text: str):
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("given_value", "text"),
    [
        (None, "–"),
        ("", "–"),
        ([], "–"),
        ({}, "–"),
        (0, "0"),
        (False, "no"),
        ([1, 2], "1, 2"),
        ({"a": [True], "b": 0.5}, "a yes, b 0.5"),
    ],
)
def test_values(given_value: object, text: str):
    assert formats.value(given_value) == text


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("accuracy", 0.97125, "97.12 %"),
        ("accuracy_top5", 1.0, "100.00 %"),
        ("loss", 0.123456, "0.1235"),
        ("wall_seconds", 90.0, "1 min"),
        ("peak_bytes", 3.4e8, "340.0 MB"),
        ("loss", None, "–"),
    ],
)
def test_metrics(name: str, number: float | None, text: str):
    assert formats.metric(name, number) == text


def test_a_curve_goes_from_its_least_to_its_greatest():
    assert formats.sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert formats.sparkline([0.5, 0.5]) == "▁▁"
    assert formats.sparkline([]) == ""


@given(st.lists(st.floats(-1e12, 1e12), max_size=100), st.integers(1, 50))
def test_a_curve_has_a_place_for_each_of_the_last_values(values: list[float], width: int):
    assert len(formats.sparkline(values, width)) == min(len(values), width)


@given(st.text())
def test_clean_text_is_printable(text: str):
    assert formats.clean(text).isprintable()
    assert len(formats.clean(text)) <= 500
