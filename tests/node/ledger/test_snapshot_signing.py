"""The bytes that parties sign, and what a verifier accepts."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from nacl.signing import SigningKey

from node.ledger import plutus
from node.ledger.snapshot import Signable, verified
from node.ledger.transaction import TxIn, TxOut

KEYS = [SigningKey(bytes([n]) * 32) for n in (1, 2, 3)]
PARTIES = [bytes(k.verify_key) for k in KEYS]
EMPTY = hashlib.sha256(b"").digest()
PLAIN = Signable(
    head_id=b"\xaa" * 28,
    version=1,
    number=300,
    accumulator=b"\xbb" * 32,
    utxo=None,
    to_commit={},
    to_decommit={},
)


def _sign(message):
    return [k.sign(message).signature for k in KEYS]


def test_the_layout_of_release_2_3():
    expected = (
        bytes.fromhex("581c") + b"\xaa" * 28 + b"\x01" + bytes.fromhex("19012c")
        + bytes.fromhex("5820") + b"\xbb" * 32
        + bytes.fromhex("5820") + EMPTY + bytes.fromhex("5820") + EMPTY
    )  # fmt: skip
    assert PLAIN.layouts()[0] == expected
    assert verified(PLAIN, _sign(expected), PARTIES)


def test_commits_come_after_decommits():
    leaving = {TxIn(bytes(32), 0): TxOut(b"\x60" + bytes(28), 7)}
    arriving = {TxIn(bytes(32), 1): TxOut(b"\x60" + bytes(28), 9)}
    [message] = dataclasses.replace(PLAIN, to_commit=arriving, to_decommit=leaving).layouts()
    assert message.endswith(
        b"\x58\x20" + plutus.hash_outputs(leaving) + b"\x58\x20" + plutus.hash_outputs(arriving)
    )


def test_releases_before_2_2_sign_the_outputs():
    utxo = {TxIn(bytes(32), 0): TxOut(b"\x60" + bytes(28), 7)}
    old = dataclasses.replace(PLAIN, accumulator=None, utxo=utxo)
    [message] = old.layouts()
    assert message.endswith(
        b"\x58\x20" + plutus.hash_outputs(utxo) + b"\x58\x20" + EMPTY + b"\x58\x20" + EMPTY
    )
    assert verified(old, _sign(message), PARTIES)
    richer = {TxIn(bytes(32), 0): TxOut(b"\x60" + bytes(28), 8)}
    assert not verified(dataclasses.replace(old, utxo=richer), _sign(message), PARTIES)
    assert not verified(dataclasses.replace(old, utxo=None), _sign(message), PARTIES)


@pytest.mark.parametrize(
    "changes",
    [
        {"head_id": b"\xab" * 28},
        {"version": 2},
        {"number": 301},
        {"accumulator": b"\xbc" * 32},
        {"to_decommit": {TxIn(bytes(32), 0): TxOut(b"\x60" + bytes(28), 1)}},
        {"to_commit": {TxIn(bytes(32), 0): TxOut(b"\x60" + bytes(28), 1)}},
    ],
)
def test_a_signature_covers_every_part(changes):
    signatures = _sign(PLAIN.layouts()[0])
    assert not verified(dataclasses.replace(PLAIN, **changes), signatures, PARTIES)


def test_every_party_must_sign_in_its_place():
    signatures = _sign(PLAIN.layouts()[0])
    assert not verified(PLAIN, signatures[:2], PARTIES)
    assert not verified(PLAIN, signatures[::-1], PARTIES)
    assert not verified(PLAIN, [*signatures[:2], signatures[0]], PARTIES)
    assert not verified(PLAIN, [], [])
    assert not verified(PLAIN, [b"short", *signatures[1:]], PARTIES)


def test_outputs_are_serialised_as_on_chain_scripts_see_them():
    # d8799f: constructor 0, indefinite list; a key credential without stake, 5 lovelace, no datum, no script.
    output = TxOut(b"\x60" + b"\x01" * 28, 5)
    assert plutus.serialise(plutus.output_data(output)).hex() == (
        "d8799f" + "d8799f" + "d8799f581c" + "01" * 28 + "ff" + "d87a80" + "ff"
        + "a140a14005" + "d87980" + "d87a80" + "ff"
    )  # fmt: skip


def test_long_byte_strings_come_in_chunks():
    assert plutus.serialise(bytes(65)).hex() == "5f5840" + "00" * 64 + "4100" + "ff"
    assert plutus.serialise(plutus.Constructor(7, (1,))).hex() == "d905009f01ff"
