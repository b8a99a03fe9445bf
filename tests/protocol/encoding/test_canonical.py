"""What arrives is counted before it is built, and only what `dump` writes is taken."""

from __future__ import annotations

import tracemalloc

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.manifests import manifest

from protocol.encoding import canonical
from protocol.encoding.errors import Excess, Malformed
from protocol.manifest import Encoding, Manifest, TensorSpec

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
values = st.recursive(
    scalars | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=60,
)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (1 + max(map(depth, inner), default=0)) if isinstance(value, dict | list) else 0


@given(values.filter(lambda value: depth(value) <= canonical.MAX_DEPTH))
def test_every_value_comes_back(value):
    assert canonical.load(canonical.dump(value), "value") == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_malformed(data):
    try:
        value = canonical.load(data, "value")
    except Malformed:
        return
    assert canonical.dump(value) == data


def array_of(count: int, item: bytes) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big") + item * count


MIB = 2**20
BOMBS = {
    "empty arrays": array_of(16 * MIB, b"\x90"),
    "empty maps": array_of(16 * MIB, b"\x80"),
    "zeros": array_of(16 * MIB, b"\x00"),
    "empty texts": array_of(16 * MIB, b"\xa0"),
    "pairs": b"\xdf" + (8 * MIB).to_bytes(4, "big") + b"\xa1a\x90" * 8 * MIB,
    "arrays of arrays": array_of(400, array_of(400, array_of(400, b"\x90"))),
    "depth": b"\x91" * 16 * MIB + b"\x90",
    "an array announced only": b"\xdd\xff\xff\xff\xff",
    "a map announced only": b"\xdf\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_be_many_objects_is_refused_before_they_are_built(name):
    tracemalloc.start()
    try:
        with pytest.raises(Excess):
            canonical.load(BOMBS[name], "bomb")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc7\x01\x05x",
        b"\xd4\x05x",
        b"\x91",
        b"\xc6\xff\xff\xff\xff",
        b"\xd9",
        b"\xdd\x00",
        b"\x00\x00",
        b"\xcc\x01",
    ],
    ids=range(10),
)
def test_what_no_dump_writes_is_malformed(data):
    with pytest.raises(Malformed):
        canonical.load(data, "value")


def test_as_many_values_as_allowed_and_one_more():
    canonical.measure(msgpack.packb([0] * 99), "value", 100)
    with pytest.raises(Excess):
        canonical.measure(msgpack.packb([0] * 100), "value", 100)


def test_the_largest_manifest_that_fits_is_within_the_count():
    tensors = tuple(TensorSpec(f"{number}", (1, 1, 1, 1), 1.0) for number in range(16_384))
    largest = manifest(3)
    encoding = Encoding(largest.encoding.bits, tensors, (), 1)

    data = msgspec.structs.replace(largest, encoding=encoding).to_bytes()
    assert len(data) < Manifest.LIMIT
    assert Manifest.from_bytes(data).encoding.tensors == tensors
