"""Every backend computes what Python's own integers compute."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.crypto.kernel import Modulus, available, powers_under, using

MODULI = {
    "65 bits": (1 << 64) + 13,
    "104 bits": (1 << 104) - 1,  # two full 52-bit digits
    "2047 bits": (1 << 2047) - 19,
    "2048 bits": (1 << 2048) - 1,
    "2049 bits": (1 << 2048) + 1,
    "3072 bits": (1 << 3071) + (1 << 1500) + 1,
    "4095 bits": (1 << 4095) - 1,
    "4096 bits": (1 << 4096) - (1 << 2000) - 1,
    "6144 bits": (1 << 6144) - 1,
    "8192 bits": (1 << 8192) - 1,
    # squares, as Paillier's moduli are, have arithmetic of their own in the kernel
    "66-bit square": ((1 << 33) - 9) ** 2,
    "4096-bit square": ((1 << 2048) - 1) ** 2,
    "4095-bit square": ((1 << 2047) + (1 << 900) + 1) ** 2,
    "6144-bit square": ((1 << 3072) - (1 << 77) - 1) ** 2,
}


@pytest.fixture(params=available(), autouse=True)
def _backend(request) -> Iterator[None]:
    with using(request.param):
        yield


@pytest.fixture(params=MODULI.values(), ids=MODULI.keys())
def m(request) -> int:
    return request.param


def operands(m: int, count: int) -> list[int]:
    root = math.isqrt(m)
    edges = [0, 1, m - 1, 2, root, m - root, root + 1, m >> 1, (m >> 1) + 1, (1 << 64) - 1, m - 2]
    return (edges + [secrets.randbelow(m) for _ in range(count)])[:count]


small = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("modulus", ["2049 bits", "66-bit square"])
@pytest.mark.parametrize("count", [*range(18), 33])
def test_any_number_of_lanes(count, modulus):
    m = MODULI[modulus]
    xs, ys = operands(m, count), operands(m, count)[::-1]
    es = [secrets.randbits(150) for _ in range(count)]
    ring = Modulus(m)
    assert ring.multiply(xs, ys) == [x * y % m for x, y in zip(xs, ys, strict=True)]
    assert ring.powers(xs, 65537) == [pow(x, 65537, m) for x in xs]
    assert ring.powers_each(xs, es) == [pow(x, e, m) for x, e in zip(xs, es, strict=True)]
    assert ring.product(xs) == math.prod(xs) % m
    assert ring.columns([xs, ys, xs]) == [x * y * x % m for x, y in zip(xs, ys, strict=True)]
    assert ring.multiexp(xs, es) == math.prod(pow(x, e, m) for x, e in zip(xs, es, strict=True)) % m
    assert ring.table(3, 150, window=5).powers(es) == [pow(3, e, m) for e in es]
    moduli = [m - 2 * i for i in range(count)]
    assert powers_under([x % q for x, q in zip(xs, moduli, strict=True)], es, moduli) == [
        pow(x, e, q) for x, e, q in zip(xs, es, moduli, strict=True)
    ]


def test_edge_operands_at_every_size(m):
    xs = operands(m, 16)
    ring = Modulus(m)
    assert ring.powers(xs, 1) == xs
    assert ring.multiply(xs, xs) == [x * x % m for x in xs]
    assert ring.multiply(xs, xs[::-1]) == [x * y % m for x, y in zip(xs, xs[::-1], strict=True)]
    assert ring.multiply([m - 1] * 9, [m - 1] * 9) == [1] * 9
    assert ring.product(xs[1:]) == math.prod(xs[1:]) % m
    assert ring.product([m - 1] * 23) == m - 1


@pytest.mark.parametrize("secret", [False, True])
def test_edge_exponents_at_every_size(m, secret):
    xs = operands(m, 9)
    ring = Modulus(m)
    for e in (0, 1, 2, 31, 32, 33, 1 << 64, (1 << 65) - 1, secrets.randbits(90)):
        assert ring.powers(xs, e, secret=secret) == [pow(x, e, m) for x in xs]
    es = [0, 1, 2, 1 << 70, (1 << 70) - 1, 3, 0, 5, 1 << 32]
    assert ring.powers_each(xs, es, secret=secret) == [pow(x, e, m) for x, e in zip(xs, es, strict=True)]


@pytest.mark.parametrize("secret", [False, True])
def test_exponents_longer_than_the_modulus(secret):
    m = MODULI["2048 bits"]
    xs, e = operands(m, 9), secrets.randbits(4096) | 1 << 4095
    assert Modulus(m).powers(xs, e, secret=secret) == [pow(x, e, m) for x in xs]


def test_negative_exponents_invert():
    m = MODULI["2047 bits"]
    xs = [x for x in operands(m, 20) if math.gcd(x, m) == 1]
    ring = Modulus(m)
    assert ring.powers(xs, -5, secret=True) == [pow(x, -5, m) for x in xs]
    es = [(-1) ** i * (i + 3) for i in range(len(xs))]
    assert ring.powers_each(xs, es) == [pow(x, e, m) for x, e in zip(xs, es, strict=True)]
    assert powers_under(xs, es, [m] * len(xs)) == [pow(x, e, m) for x, e in zip(xs, es, strict=True)]


@small
@given(data=st.data())
def test_random_moduli_of_any_length(data):
    bits = data.draw(st.integers(65, 400))
    m = data.draw(st.integers(1 << (bits - 1), (1 << bits) - 1).filter(lambda x: x > 1 << 64)) | 1
    numbers = st.integers(0, m - 1)
    xs = data.draw(st.lists(numbers, max_size=12))
    ys = data.draw(st.lists(numbers, min_size=len(xs), max_size=len(xs)))
    es = data.draw(st.lists(st.integers(0, 1 << 130), min_size=len(xs), max_size=len(xs)))
    secret = data.draw(st.booleans())
    ring = Modulus(m)
    assert ring.multiply(xs, ys) == [x * y % m for x, y in zip(xs, ys, strict=True)]
    assert ring.columns([xs, ys]) == [x * y % m for x, y in zip(xs, ys, strict=True)]
    assert ring.product(xs) == math.prod(xs) % m
    powers = [pow(x, e, m) for x, e in zip(xs, es, strict=True)]
    assert ring.powers_each(xs, es, secret=secret) == powers
    assert ring.multiexp(xs, es) == math.prod(powers) % m


@small
@given(data=st.data())
def test_a_modulus_for_each_element(data):
    moduli = data.draw(st.lists(st.integers(1 << 64, 1 << 300).map(lambda x: x | 1), max_size=20))
    moduli = [m if m > 1 << 64 else m + 2 for m in moduli]
    xs = [data.draw(st.integers(0, m - 1)) for m in moduli]
    es = data.draw(st.lists(st.integers(0, 1 << 310), min_size=len(moduli), max_size=len(moduli)))
    expected = [pow(x, e, m) for x, e, m in zip(xs, es, moduli, strict=True)]
    assert powers_under(xs, es, moduli, secret=data.draw(st.booleans())) == expected


@small
@given(data=st.data(), window=st.integers(1, 8), bits=st.integers(1, 200))
def test_tables_of_any_shape(data, window, bits):
    m = (1 << 127) - 1
    base = data.draw(st.integers(0, m - 1))
    es = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=20))
    es = [0, 1, (1 << bits) - 1, *es]
    table = Modulus(m).table(base, bits, window=window)
    assert table.powers(es) == [pow(base, e, m) for e in es]
    assert table.powers(es[:2], secret=False) == [pow(base, e, m) for e in es[:2]]
    assert table.powers([], secret=False) == table.powers([]) == []


@pytest.mark.parametrize("modulus", ["65 bits", "66-bit square", "2048 bits"])
def test_tables_for_more_exponents_than_one_pass_takes(modulus):
    m = MODULI[modulus]
    es = [secrets.randbits(60) for _ in range(300)]
    assert Modulus(m).table(m - 5, 60).powers(es) == [pow(m - 5, e, m) for e in es]


@pytest.mark.parametrize("count", [1, 7, 40, 150])
def test_multiexp_of_many_short_weights(count):
    m = MODULI["3072 bits"]
    bases, weights = operands(m, count)[-count:], [secrets.randbits(128) for _ in range(count)]
    bases = [b or 7 for b in bases]
    expected = math.prod(pow(b, w, m) for b, w in zip(bases, weights, strict=True)) % m
    assert Modulus(m).multiexp(bases, weights) == expected


def test_sums_of_many_rows():
    m = MODULI["2048 bits"]
    rows = [[secrets.randbelow(m) for _ in range(11)] for _ in range(40)]
    assert Modulus(m).columns(rows) == [math.prod(c) % m for c in zip(*rows, strict=True)]
    assert Modulus(m).columns([[5]]) == [5]
    assert Modulus(m).columns([[], []]) == []
