"""The ledger rules of the emulated head: each refusal by its name, and what is allowed."""

from __future__ import annotations

import cbor2
import pytest

from node.ledger import anchor, transaction
from node.ledger.emulator import rules
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet

OWNER, OTHER = Wallet(b"\x01" * 32), Wallet(b"\x02" * 32)
AT = TxIn(b"\x11" * 32, 0)
UTXO = {AT: TxOut(OWNER.address, 10_000_000)}
POLICY = {b"\x05" * 28: {b"token": 3}}


def _spend(*outputs: TxOut, inputs=(AT,), signers=(OWNER,), fee=0, extra=None, auxiliary=b"\xf6"):
    body = cbor2.loads(transaction.build_body(inputs, outputs, fee)) | (extra or {})
    body[0] = cbor2.CBORTag(258, [[i.id, i.index] for i in inputs])
    raw = cbor2.dumps(body)
    witnesses = tuple((w.public_key, w.signature(raw)) for w in signers)
    assembled = transaction.assemble(raw, witnesses)
    return transaction.parse(assembled[:-1] + auxiliary)


def _check(tx, utxo=UTXO, slot=100):
    rules.check(utxo, tx, slot=slot)


def test_a_payment_moves_the_output():
    tx = _spend(TxOut(OTHER.address, 4_000_000), TxOut(OWNER.address, 6_000_000))
    _check(tx)
    utxo = dict(UTXO)
    rules.apply(utxo, tx)
    assert utxo == {TxIn(tx.id, 0): tx.outputs[0], TxIn(tx.id, 1): tx.outputs[1]}
    with pytest.raises(rules.Invalid, match="BadInputsUTxO"):
        _check(tx, utxo)


def test_tokens_and_fees_are_conserved_too():
    utxo = {AT: TxOut(OWNER.address, 10_000_000, assets=POLICY)}
    _check(_spend(TxOut(OTHER.address, 9_900_000, assets=POLICY), fee=100_000), utxo)
    with pytest.raises(rules.Invalid, match="ValueNotConserved"):
        _check(_spend(TxOut(OTHER.address, 10_000_000)), utxo)


@pytest.mark.parametrize(
    ("tx", "reason"),
    [
        (_spend(TxOut(OTHER.address, 10_000_000), inputs=(TxIn(bytes(32), 0),)), "BadInputsUTxO"),
        (_spend(TxOut(OTHER.address, 10_000_000), inputs=()), "InputSetEmptyUTxO"),
        (_spend(TxOut(OTHER.address, 10_000_001)), "ValueNotConservedUTxO"),
        (_spend(TxOut(OTHER.address, 500_000), TxOut(OTHER.address, 9_500_000)), "BabbageOutputTooSmall"),
        (_spend(TxOut(OTHER.address, 10_000_000), signers=()), "MissingVKeyWitnesses"),
        (_spend(TxOut(OTHER.address, 10_000_000), signers=(OTHER,)), "MissingVKeyWitnesses"),
        (_spend(TxOut(b"\x61" + OTHER.key_hash, 10_000_000)), "WrongNetwork"),
        (_spend(TxOut(OTHER.address, 10_000_000), extra={15: 1}), "WrongNetworkInTxBody"),
        (_spend(TxOut(OTHER.address, 10_000_000), extra={3: 50}), "OutsideValidityInterval"),
        (_spend(TxOut(OTHER.address, 10_000_000), extra={8: 101}), "OutsideValidityInterval"),
        (_spend(TxOut(OTHER.address, 10_000_000), extra={9: {}}), "does not support body fields"),
        (_spend(TxOut(OTHER.address, 10_000_000), extra={7: bytes(32)}), "MissingTxMetadata"),
        (_spend(TxOut(OTHER.address, 10_000_000), auxiliary=b"\xa1\x01\x02"), "MissingTxBodyMetadataHash"),
        (
            _spend(TxOut(OTHER.address, 10_000_000), extra={7: bytes(32)}, auxiliary=b"\xa0"),
            "ConflictingMetadataHash",
        ),
        (_spend(TxOut(OTHER.address, 10_000_000, cbor2.dumps(b"x" * 5200))), "OutputTooBig"),
        (_spend(TxOut(OTHER.address, 10_000_000, b"\xfb" + bytes(8))), "no supported Plutus data"),
        (_spend(*[TxOut(OTHER.address, 1_000_000)] * 500), "MaxTxSize"),
    ],
)
def test_what_the_ledger_refuses(tx, reason):
    with pytest.raises(rules.Invalid, match=reason):
        _check(tx)


def test_a_false_signature_is_refused_even_if_nobody_needs_it():
    tx = _spend(TxOut(OTHER.address, 10_000_000))
    forged = (OTHER.public_key, bytes(64))
    raw = transaction.assemble(tx.body, (*tx.witnesses, forged))
    with pytest.raises(rules.Invalid, match="InvalidWitnesses"):
        _check(transaction.parse(raw))


def test_metadata_with_its_hash_is_fine():
    metadata = cbor2.dumps({1: "note"})
    hashed = {7: transaction.blake2b(metadata)}
    _check(_spend(TxOut(OTHER.address, 10_000_000), extra=hashed, auxiliary=metadata))


def test_outputs_at_scripts_cannot_be_spent():
    utxo = {AT: TxOut(b"\x70" + bytes(28), 10_000_000)}
    with pytest.raises(rules.Invalid, match="scripts are not supported"):
        _check(_spend(TxOut(OTHER.address, 10_000_000)), utxo)


def test_an_anchor_is_valid():
    tip = anchor.Tip(AT, UTXO[AT], anchor.first_link("ab" * 28))
    _check(anchor.build(OWNER, tip, bytes(900)))
