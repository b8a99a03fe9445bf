"""Whose data are whose, and what is said of two sums of them."""

from pathlib import Path

import pytest

from node.consent import Consent, NotConsented, check_data, others_with
from node.journal import Use

ME, OTHER, THIRD = b"m" * 32, b"o" * 32, b"t" * 32


@pytest.mark.parametrize(
    ("data", "same"),
    [("/srv/a", True), ("/srv/a/part", True), ("/srv", True), ("/srv/ab", False), ("/srv/b", False)],
)
def test_a_folder_in_another_has_the_same_data(data, same):
    found = others_with(Path("/srv/a"), ME, [Use(OTHER, data), Use(ME, "/srv/a")])
    assert found == ([OTHER] if same else [])


def test_both_reasons_are_named_and_the_operators_word_covers_both():
    with pytest.raises(NotConsented) as refused:
        check_data([OTHER], [THIRD], Consent())
    told = str(refused.value)
    assert f"job {OTHER.hex()[:16]}, which is not over, has the same data" in told
    assert f"job {THIRD.hex()[:16]} has summed an update from the same data and model" in told
    assert "the difference is that member's update" in told
    check_data([OTHER], [THIRD], Consent(again=True))
    check_data([], [], Consent())
    with pytest.raises(NotConsented):
        check_data([], [THIRD], Consent(leaks=True))
