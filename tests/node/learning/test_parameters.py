import pytest

from node.learning.parameters import Reader
from protocol.errors import OperatorFault


@pytest.mark.parametrize("value", [0.06, "0.06", "6e-2"])
def test_numbers_may_be_decimal_text(value):
    assert Reader({"rate": value}).number("rate", 1.0, 0.0, 1.0) == 0.06


@pytest.mark.parametrize("value", [True, "nan", "inf", "1e999", "0.0.6", None, [], float("nan"), 2, -1e-9])
def test_other_numbers_are_refused(value):
    with pytest.raises(OperatorFault, match="'rate'"):
        Reader({"rate": value}).number("rate", 1.0, 0.0, 1.0)


@pytest.mark.parametrize("value", [True, 1.0, "1", 11, -1, None])
def test_other_integers_are_refused(value):
    with pytest.raises(OperatorFault, match="an integer from 0 to 10"):
        Reader({"count": value}).integer("count", 1, 0, 10)


def test_defaults_are_in_force():
    reader = Reader({"model": "b"})
    reader.choice("model", "a", ["a", "b"])
    reader.integer("count", 3, 0, 10)
    reader.finish()
    assert reader.in_force == {"model": "b", "count": 3}


def test_unknown_parameters_are_named():
    reader = Reader({"modle": "b"})
    reader.choice("model", "a", ["a", "b"])
    with pytest.raises(OperatorFault, match="modle"):
        reader.finish()
