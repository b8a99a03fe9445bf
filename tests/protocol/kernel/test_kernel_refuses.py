"""What the kernel is not given correctly, it refuses with a typed error that says what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.crypto.kernel import (
    BackendUnavailable,
    BadModulus,
    BadOperand,
    LengthMismatch,
    Modulus,
    NotInvertible,
    available,
    backend,
    choose,
    powers_under,
    using,
)

M = 3 * ((1 << 80) + 13)


@pytest.fixture(params=available(), autouse=True)
def _backend(request) -> Iterator[None]:
    with using(request.param):
        yield


BAD_MODULI = {
    "zero": 0,
    "one": 1,
    "negative": -(1 << 90) + 1,
    "even": 1 << 90,
    "64 bits": (1 << 64) - 1,
    "even above 64 bits": 1 << 64,
    "16385 bits": (1 << 16385) - 1,
    "float": 2.5,
    "text": "7",
    "bool": True,
}


@pytest.mark.parametrize("value", BAD_MODULI.values(), ids=BAD_MODULI.keys())
def test_bad_moduli(value):
    with pytest.raises(BadModulus):
        Modulus(value)
    with pytest.raises(BadModulus):
        powers_under([1], [1], [value])


@pytest.mark.parametrize("bad", [-1, M, M + 1, 1.0, "1", None, False])
def test_operands_must_be_reduced_integers(bad):
    ring = Modulus(M)
    calls = [
        lambda: ring.powers([1, bad], 3),
        lambda: ring.powers_each([bad], [3]),
        lambda: ring.multiply([1], [bad]),
        lambda: ring.product([1, bad]),
        lambda: ring.columns([[1], [bad]]),
        lambda: ring.multiexp([bad], [3]),
        lambda: ring.table(bad, 10),
        lambda: powers_under([bad], [3], [M]),
    ]
    for call in calls:
        with pytest.raises(BadOperand):
            call()


def test_the_error_names_the_operand_but_not_its_value():
    with pytest.raises(BadOperand, match="operand 2") as caught:
        Modulus(M).product([1, 2, M + 12345])
    assert str(M + 12345) not in str(caught.value)


def test_exponents_out_of_range():
    ring = Modulus(M)
    with pytest.raises(BadOperand):
        ring.multiexp([2], [-1])
    with pytest.raises(BadOperand):
        ring.table(2, 10).powers([1 << 10])
    with pytest.raises(BadOperand):
        ring.table(2, 10).powers([-1])
    with pytest.raises(BadOperand):
        ring.powers([2], 1 << (1 << 17))


@pytest.mark.parametrize(("bits", "window"), [(0, 4), (-1, 4), (10, 0), (10, 9), ((1 << 17) + 1, 8)])
def test_tables_of_impossible_shape(bits, window):
    with pytest.raises(BadOperand):
        Modulus(M).table(2, bits, window=window)


def test_lengths_must_agree():
    ring = Modulus(M)
    for call in (
        lambda: ring.multiply([1], [1, 2]),
        lambda: ring.powers_each([1], []),
        lambda: ring.multiexp([1, 2], [1]),
        lambda: ring.columns([[1], [1, 2]]),
        lambda: ring.columns([]),
        lambda: powers_under([1], [1], []),
    ):
        with pytest.raises(LengthMismatch):
            call()


def test_a_base_without_inverse():
    ring = Modulus(M)
    for call in (
        lambda: ring.powers([3], -1),
        lambda: ring.powers_each([2, 6], [-1, -2]),
        lambda: ring.powers([0], -1),
        lambda: powers_under([3], [-1], [M]),
    ):
        with pytest.raises(NotInvertible):
            call()


def test_an_unknown_backend_changes_nothing():
    before = backend()
    with pytest.raises(BackendUnavailable, match="gmp"):
        choose("abacus")
    assert backend() == before


def test_using_restores_the_backend_after_an_error():
    before = backend()

    def fail_inside() -> None:
        with using("gmp"):
            assert backend() == "gmp"
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert backend() == before


def test_a_modulus_is_a_value():
    assert Modulus(M) == Modulus(M)
    assert len({Modulus(M), Modulus(M)}) == 1
    assert Modulus(M) != Modulus(M + 2)
    with pytest.raises(AttributeError):
        Modulus(M).value = 5
