"""The anchor chain and its transactions, against cardano-cli's and pycardano's bytes."""

from __future__ import annotations

import contextlib
import json

import cbor2
import pycardano
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.ledger import anchor, transaction
from node.ledger.errors import (
    AnchorTooLarge,
    KeyFileError,
    MalformedTransaction,
    OutOfFunds,
)
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet, verify

HEAD = "ab" * 28
WALLET = Wallet(bytes(range(32)))
TIP = anchor.Tip(TxIn(bytes(32), 0), TxOut(WALLET.address, 4_000_000), anchor.first_link(HEAD))
records = st.binary(max_size=anchor.MAX_RECORD)

# The self-transaction of hydra's documentation, as cardano-cli signed it (hydra, docs, Apache-2.0).
CLI_ADDRESS = "addr_test1vp5cxztpc6hep9ds7fjgmle3l225tk8ske3rmwr9adu0m6qchmx5z"
CLI_ID = "5e0cc0a74606a48f6a99bd9793ac84aacb7db9141d4a526532aefe926b0ee589"


def test_a_plain_transaction_is_cardano_clis_byte_for_byte(hydra_api):
    vector = json.loads((hydra_api / "vectors" / "docs-signed-self-tx.json").read_text())
    parsed = transaction.parse(bytes.fromhex(vector["transaction"]["cborHex"]))
    address = transaction.parse_address(CLI_ADDRESS)
    body = transaction.build_body((TxIn(bytes(32), 0),), (TxOut(address, 100_000_000),))
    assert transaction.blake2b(body).hex() == CLI_ID == vector["transaction"]["txId"]
    assert transaction.assemble(body, parsed.witnesses) == parsed.raw
    assert all(verify(key, signature, parsed.id) for key, signature in parsed.witnesses)


def test_the_transaction_id_of_the_cardano_cli_vector_is_rebuilt():
    body = transaction.build_body(
        (TxIn(bytes(32), 0),), (TxOut(transaction.parse_address(CLI_ADDRESS), 100_000_000),)
    )
    assert transaction.blake2b(body).hex() == CLI_ID


@settings(max_examples=20)
@given(records)
def test_pycardano_builds_the_same_anchor(record):
    ours = anchor.build(WALLET, TIP, record)
    key = pycardano.PaymentSigningKey(bytes(range(32)))
    chunks = [record[i : i + 64] for i in range(0, len(record), 64)]
    datum = pycardano.RawPlutusData(cbor2.CBORTag(121, [TIP.link, *chunks]))
    address = pycardano.Address(
        payment_part=pycardano.PaymentVerificationKey.from_signing_key(key).hash(),
        network=pycardano.Network.TESTNET,
    )
    body = pycardano.TransactionBody(
        inputs=pycardano.OrderedSet(
            [pycardano.TransactionInput(pycardano.TransactionId(bytes(32)), 0)], use_tag=True
        ),
        outputs=[
            pycardano.TransactionOutput(address, pycardano.Value(4_000_000), datum=datum, post_alonzo=True)
        ],
        fee=0,
    )
    assert body.hash() == ours.id
    assert transaction.address_text(WALLET.address) == str(address)


@given(records)
def test_a_record_comes_back_from_its_datum(record):
    datum = anchor.encode(record, TIP.link)
    assert anchor.decode(datum) == (TIP.link, record)
    assert len(datum) <= anchor.MAX_DATUM
    assert len(anchor.build(WALLET, TIP, record).raw) <= anchor.MAX_ANCHOR


@given(st.binary(max_size=1200))
def test_foreign_datums_are_no_anchors(junk):
    content = anchor.decode(junk)
    assert content is None or len(content[0]) == 32


def test_limits_are_enforced_before_anything_is_sent():
    with pytest.raises(AnchorTooLarge):
        anchor.encode(bytes(anchor.MAX_RECORD + 1), TIP.link)
    poor = anchor.Tip(TIP.at, TxOut(WALLET.address, 1_000_000), TIP.link)
    with pytest.raises(OutOfFunds, match="1000000 lovelace"):
        anchor.build(WALLET, poor, bytes(300))


def test_only_the_owner_writes_to_a_chain():
    members = {WALLET.address: 1}
    genuine = anchor.build(WALLET, TIP, b"mine")
    assert anchor.read(genuine, members).record == b"mine"
    thief = Wallet(b"\x07" * 32)
    forged = transaction.parse(thief.sign(genuine.body))
    assert anchor.read(forged, members) is None
    key, signature = genuine.witnesses[0]
    broken = bytes([signature[0] ^ 1]) + signature[1:]
    assert (
        anchor.read(transaction.parse(transaction.assemble(genuine.body, ((key, broken),))), members) is None
    )
    assert anchor.read(genuine, {thief.address: 2}) is None


@given(st.lists(records, max_size=5))
def test_links_commit_to_every_record(written):
    digests = anchor.chain_digests(HEAD, written)
    assert digests[0] == anchor.first_link(HEAD)
    assert len(set(digests)) == len(written) + 1
    assert anchor.chain_digests(HEAD, [*written, b""])[:-1] == digests
    assert set(anchor.chain_digests("cd" * 28, written)).isdisjoint(digests)


@given(st.binary(max_size=400))
def test_junk_is_no_transaction(junk):
    with pytest.raises(MalformedTransaction):
        transaction.parse(junk)


@given(st.integers(0, 200), st.integers(0, 255))
def test_damaged_transactions_never_crash_the_parser(position, value):
    raw = bytearray(anchor.build(WALLET, TIP, b"some record").raw)
    raw[position % len(raw)] = value
    with contextlib.suppress(MalformedTransaction):
        assert transaction.parse(bytes(raw)).raw == bytes(raw)


@given(st.binary(min_size=1, max_size=60))
def test_bech32_comes_back_and_notices_damage(data):
    from node.ledger import bech32

    text = bech32.encode("addr_test", data)
    assert bech32.decode(text) == ("addr_test", data)
    damaged = text[:-1] + ("q" if text[-1] != "q" else "p")
    with pytest.raises(ValueError, match="checksum"):
        bech32.decode(damaged)


def test_keys_are_private_files(tmp_path):
    path = tmp_path / "payment.skey"
    made = Wallet.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Wallet.load(path).address == made.address
    with pytest.raises(KeyFileError):
        Wallet.create(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Wallet.load(path)
    with pytest.raises(KeyFileError):
        Wallet.load(tmp_path / "missing")
    secret = json.loads(path.read_text())["cborHex"][4:]
    assert secret not in repr(made)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"type":"x","cborHex":"zz"}', bytes(33), b"[" * 9999])
def test_what_is_no_key_is_refused(content):
    with pytest.raises(KeyFileError):
        Wallet.from_credential(content)


def test_a_key_of_cardano_cli_is_understood():
    key = pycardano.PaymentSigningKey(bytes(range(32)))
    assert Wallet.from_credential(key.to_json().encode()).public_key == WALLET.public_key
    assert Wallet.from_credential(bytes(range(32))).public_key == WALLET.public_key
