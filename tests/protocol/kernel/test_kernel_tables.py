"""Fixed-base tables modulo squares, where the kernel keeps units as a number and a logarithm."""

import math
import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.crypto.kernel import Modulus, available, using

ROOTS = {
    "33 bits": (1 << 33) - 9,
    "202 bits": (1 << 202) - 183,  # R = 2^208 is 64 times as large: no room for more than 32 logarithms
    "203 bits": (1 << 203) - 159,
    "1024 bits": (1 << 1024) - 105,
    "2048 bits": (1 << 2048) - 1942289,
    "3072 bits": (1 << 3072) - 1103717,
}


@pytest.fixture(params=available(), autouse=True)
def _backend(request):
    with using(request.param):
        yield


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS.keys())
@pytest.mark.parametrize("window", [1, 3, 8])
def test_units_and_others(root, window):
    m = root * root
    exponents = [0, 1, (1 << 70) - 1, *(secrets.randbits(70) for _ in range(14))]
    bases = [0, 1, m - 1, root, m - root, root - 1, root + 1, 2, secrets.randbelow(m)]
    for base in bases:
        table = Modulus(m).table(base, 70, window=window)
        assert table.powers(exponents) == [pow(base, e, m) for e in exponents]


@pytest.mark.parametrize("bits", [31, 32, 33, 300, 2047, 2049])
def test_any_number_of_rows(bits):
    exponents = [(1 << bits) - 1, secrets.randbits(bits), 1]
    for root in (ROOTS["202 bits"], ROOTS["1024 bits"]):
        m = root * root
        base = secrets.randbelow(m)
        table = Modulus(m).table(base, bits, window=1)
        assert table.powers(exponents) == [pow(base, e, m) for e in exponents]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_roots_of_any_length(data):
    bits = data.draw(st.integers(34, 420))
    root = data.draw(st.integers(1 << (bits - 1), (1 << bits) - 1)) | 1
    m = root * root
    base = data.draw(st.integers(0, m - 1))
    if data.draw(st.booleans()):
        base = base * math.gcd(root, 3 * 5 * 7 * 11) % m
    window, size = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 260))
    exponents = data.draw(st.lists(st.integers(0, (1 << size) - 1), max_size=18))
    table = Modulus(m).table(base, size, window=window)
    assert table.powers(exponents) == [pow(base, e, m) for e in exponents]
    assert table.powers(exponents, secret=False) == [pow(base, e, m) for e in exponents]


def test_real_lengths_and_full_passes():
    root = ROOTS["2048 bits"]
    m, base = root * root, secrets.randbelow(root * root)
    exponents = [secrets.randbits(1024) for _ in range(150)] + [(1 << 1024) - 1] * 3
    assert Modulus(m).table(base, 1024).powers(exponents) == [pow(base, e, m) for e in exponents]
