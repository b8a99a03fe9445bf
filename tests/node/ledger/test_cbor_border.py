"""CBOR from outside the node: refused by name, whatever a general decoder would make of it."""

from __future__ import annotations

import contextlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.ledger import anchor, cbor, plutus, transaction
from node.ledger.errors import MalformedTransaction
from node.ledger.transaction import UNREADABLE, TxIn, TxOut
from node.ledger.wallet import Wallet

WALLET = Wallet(b"\x01" * 32)
ODD = {
    "a decimal of 2**60 digits": cbor2.CBORTag(4, [2**60, 1]),
    "a float of 2**40 bits": cbor2.CBORTag(5, [2**40, 1]),
    "a division by zero": cbor2.CBORTag(30, [1, 0]),
    "a moment without end": cbor2.CBORTag(1, float("inf")),
    "a date far away": cbor2.CBORTag(100, 10**12),
    "a reference to nothing": cbor2.CBORTag(29, 5),
    "a regular expression": cbor2.CBORTag(35, "("),
    "an address": cbor2.CBORTag(260, b"\x01"),
    "not a number": float("nan"),
    "a fraction": 1.5,
    "undefined": cbor2.undefined,
}


def _nested(depth):
    return b"\x81" * depth + b"\x00"


@pytest.mark.parametrize("kind", ODD)
def test_odd_values_are_no_anchor_no_datum_and_no_output(kind):
    item = cbor2.dumps(cbor2.CBORTag(121, [b"x" * 32, ODD[kind]]))
    assert anchor.decode(item) is None
    with pytest.raises(ValueError, match=r"tag|integer|CBOR"):
        plutus.parse(item)
    with pytest.raises(MalformedTransaction):
        transaction.parse(b"\x84" + cbor2.dumps({0: [], 1: [], 2: ODD[kind]}) + b"\xa0\xf5\xf6")
    outputs = [[WALLET.address, 7], [WALLET.address, ODD[kind]]]
    tx = transaction.parse(b"\x84" + cbor2.dumps({0: [], 1: outputs, 2: 0}) + b"\xa0\xf5\xf6")
    assert tx.outputs == (TxOut(WALLET.address, 7), UNREADABLE)


@pytest.mark.parametrize("kind", ODD)
def test_a_transaction_with_odd_parts_that_do_not_concern_us_is_read(kind):
    """A party can send it to the head: a client that could not read it would be deaf for ever."""
    body = cbor2.dumps({0: [[bytes(32), 3]], 1: [], 2: 0, 20: ODD[kind]})
    auxiliary = cbor2.dumps({1: ODD[kind], 2: 0})[:-2] + b"\x02" + _nested(9_000)
    tx = transaction.parse(b"\x84" + body + cbor2.dumps({5: ODD[kind]}) + b"\xf5" + auxiliary)
    assert tx.inputs == (TxIn(bytes(32), 3),)
    assert tx.id == transaction.blake2b(body)
    assert tx.extras == (20,)


def test_deep_nesting_and_cut_items_are_refused():
    for raw in (_nested(70), b"\x9f" * 70 + b"\xff" * 70, b"\x5f\x41\x00", b"\x1c", b"\xff", b"\xdf\x00"):
        with pytest.raises(ValueError, match=r"deep|short|CBOR|tag"):
            cbor.loads(raw)
    with pytest.raises(ValueError, match="cut short"):
        cbor.end_of(b"\x9b" + b"\xff" * 8, 0)
    with pytest.raises(ValueError, match="twice"):
        cbor.mapping(b"\xa2\x00\x01\x00\x02")
    assert cbor.end_of(_nested(50_000), 0) == 50_001


@given(st.binary(max_size=200))
def test_whatever_comes_in_the_walk_ends_or_refuses(raw):
    with contextlib.suppress(ValueError):
        assert 0 < cbor.end_of(raw, 0) <= len(raw)
    with contextlib.suppress(ValueError):
        cbor.loads(raw)


@given(
    st.recursive(
        st.integers(-(2**70), 2**70) | st.binary(max_size=80) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    )
)
def test_the_walk_and_the_decoder_agree(value):
    raw = cbor2.dumps(value)
    assert cbor.end_of(raw + b"\x00", 0) == len(raw)
    assert cbor.loads(raw) == value
