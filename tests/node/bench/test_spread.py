"""Work split over cores gives the same numbers, in threads and in processes."""

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.crypto import spread
from protocol.crypto.kernel import BadOperand, Modulus, available, backend, powers_under, using

ROOT = secrets.randbits(512) | 1 << 511 | 1
M = ROOT * ROOT


@pytest.fixture(scope="module", params=available())
def split(request):
    """Two workers of this backend, kept for all tests of the module: processes take a second to start."""
    with using(request.param), spread.over(2):
        yield request.param


@pytest.mark.parametrize("count", [0, 1, 8, 9, 16, 17, 40])
def test_lists_of_any_length(split, count):
    assert backend() == f"{split} on 2 cores"
    ring = Modulus(M)
    xs, es = [secrets.randbelow(M) for _ in range(count)], [secrets.randbits(200) for _ in range(count)]
    each = [pow(x, e, M) for x, e in zip(xs, es, strict=True)]
    product = 1
    for value in each:
        product = product * value % M
    assert ring.powers(xs, 77, secret=True) == [pow(x, 77, M) for x in xs]
    assert ring.powers_each(xs, es) == each
    assert powers_under(xs, es, [M + 2 * i for i in range(count)]) == [
        pow(x, e, M + 2 * i) for i, (x, e) in enumerate(zip(xs, es, strict=True))
    ]
    assert ring.multiexp(xs, es) == product
    assert ring.product(each) == product
    assert ring.multiply(xs, each) == [x * y % M for x, y in zip(xs, each, strict=True)]
    assert ring.columns([xs, each]) == ring.multiply(xs, each)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, (1 << 90) - 1), max_size=50))
def test_tables(split, exponents):
    table = Modulus(M).table(5, 90)
    assert table.powers(exponents) == [pow(5, e, M) for e in exponents]
    assert table.powers(exponents, secret=False) == [pow(5, e, M) for e in exponents]


def test_bad_operands_are_refused_before_anything_is_split(split):
    with pytest.raises(BadOperand):
        Modulus(M).powers([1] * 30 + [M], 3)


def test_one_core_changes_nothing_and_the_end_restores():
    before = backend()
    with spread.over(1):
        assert backend() == before
    with using("gmp"), spread.over(2):
        assert backend() == "gmp on 2 cores"
    assert backend() == before
