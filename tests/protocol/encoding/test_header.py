"""Blob headers: one encoding, strict types, strict limits."""

from dataclasses import fields, replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding.errors import Malformed, Mismatch, Misuse
from protocol.encoding.header import MAX_CIPHERTEXTS, MAX_HEADER_BYTES, MAX_ROUND, Header, Kind
from protocol.encoding.packing import MAX_MEMBERS

HEADER = Header(Kind.UPDATE, b"j" * 32, 3, 2, b"k" * 32, b"e" * 32, b"", 2048, 8850)
PARTIAL = replace(HEADER, kind=Kind.PARTIAL, aggregate=b"a" * 32)

digests = st.binary(min_size=32, max_size=32)
kinds = st.sampled_from([(Kind.UPDATE, b""), (Kind.PARTIAL, b"a" * 32)])
headers = st.builds(
    lambda kind, job, number, sender, key, encoding, width, count: Header(
        kind[0], job, number, sender, key, encoding, kind[1], width, count
    ),
    kinds,
    digests,
    st.integers(1, MAX_ROUND),
    st.integers(1, MAX_MEMBERS),
    digests,
    digests,
    st.integers(256, 8192),
    st.integers(1, MAX_CIPHERTEXTS),
)


def values_of(header):
    return msgpack.unpackb(header.to_bytes())


def encoded(changes):
    return msgpack.packb(values_of(HEADER) | changes)


@given(headers)
@settings(deadline=None)
def test_a_header_survives_its_encoding(header):
    assert len(header.to_bytes()) <= MAX_HEADER_BYTES
    assert Header.from_bytes(header.to_bytes()) == header


def test_the_encoding_is_known():
    written = (
        b"\x89\xa4kind\xa6update\xa3job\xc4\x20" + b"j" * 32 + b"\xa5round\x03\xa6sender\x02"
        b"\xa3key\xc4\x20" + b"k" * 32 + b"\xa8encoding\xc4\x20" + b"e" * 32 + b"\xa9aggregate\xc4\x00"
        b"\xacmodulus_bits\xcd\x08\x00\xa5count\xcd\x22\x92"
    )
    assert HEADER.to_bytes() == written


def test_the_largest_header_is_within_its_limit():
    largest = replace(PARTIAL, round=MAX_ROUND, sender=MAX_MEMBERS, modulus_bits=8192, count=MAX_CIPHERTEXTS)
    assert len(largest.to_bytes()) < 300


@pytest.mark.parametrize(
    ("modulus_bits", "width"), [(2048, 512), (3072, 768), (512, 128), (257, 65), (258, 65)]
)
def test_ciphertexts_are_as_wide_as_the_squared_modulus(modulus_bits, width):
    assert replace(HEADER, modulus_bits=modulus_bits).width == width


@pytest.mark.parametrize("field", [field.name for field in fields(Header)])
def test_the_first_field_that_differs_is_named(field):
    other = Header(Kind.PARTIAL, b"J" * 32, 4, 3, b"K" * 32, b"E" * 32, b"A" * 32, 3072, 8851)
    changes = {field: getattr(other, field)}
    if field == "kind":
        changes["aggregate"] = other.aggregate
    base = PARTIAL if field == "aggregate" else HEADER
    base.require(base)
    with pytest.raises(Mismatch, match=f"blob's {field} "):
        replace(base, **changes).require(base)


@pytest.mark.parametrize(
    "changes",
    [
        {"job": b"j" * 31},
        {"key": b""},
        {"encoding": b"e" * 33},
        {"aggregate": b"a" * 32},
        {"kind": Kind.PARTIAL},
        {"round": 0},
        {"round": MAX_ROUND + 1},
        {"sender": 0},
        {"sender": MAX_MEMBERS + 1},
        {"modulus_bits": 255},
        {"modulus_bits": 8193},
        {"count": 0},
        {"count": -1},
        {"count": MAX_CIPHERTEXTS + 1},
    ],
)
def test_values_outside_the_limits_are_refused_on_both_sides(changes):
    with pytest.raises(Misuse):
        replace(HEADER, **changes)
    wire = {name: str(value) if isinstance(value, Kind) else value for name, value in changes.items()}
    with pytest.raises(Malformed):
        Header.from_bytes(encoded(wire))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "model"},
        {"kind": b"update"},
        {"kind": None},
        {"job": "j" * 32},
        {"job": [1] * 32},
        {"round": True},
        {"round": 3.0},
        {"round": "3"},
        {"sender": None},
        {"count": {}},
        {"surprise": 1},
    ],
)
def test_wrong_types_and_unknown_fields_are_refused(changes):
    with pytest.raises(Malformed):
        Header.from_bytes(encoded(changes))


@pytest.mark.parametrize("field", [field.name for field in fields(Header)])
def test_every_field_is_required(field):
    values = values_of(HEADER)
    del values[field]
    with pytest.raises(Malformed):
        Header.from_bytes(msgpack.packb(values))


def test_other_encodings_of_the_same_values_are_refused():
    canonical = HEADER.to_bytes()
    values = values_of(HEADER)
    variants = [
        canonical.replace(b"round\x03", b"round\xcc\x03"),
        canonical.replace(b"\xa4kind", b"\xd9\x04kind"),
        canonical.replace(b"\xc4\x20", b"\xc5\x00\x20", 1),
        b"\xde\x00\x09" + canonical[1:],
        b"\x8a" + canonical[1:] + b"\xa5round\x03",
        b"\x8a" + canonical[1:] + b"\xa5count\xcd\x22\x92",
        msgpack.packb(dict(reversed(values.items()))),
        canonical + b"\x00",
        msgpack.packb(list(values.values())),
    ]
    for variant in variants:
        assert variant != canonical
        with pytest.raises(Malformed):
            Header.from_bytes(variant)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x91" * 500, b"\x81\x90\x90", b"\xd5\xff\x00\x00", b"\xa1\xff", bytes(513)]
)
def test_what_is_not_a_header_is_refused(data):
    with pytest.raises(Malformed):
        Header.from_bytes(data)


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_arbitrary_bytes_are_refused_with_the_same_error(data):
    with pytest.raises(Malformed):
        Header.from_bytes(data)
