"""The ledger inside the emulated head and on its L1: Conway rules for key-locked outputs, without fees.

Refusals name the Conway ledger's own predicate failure, which is what clients of a real node see. Scripts,
minting, certificates and the like are refused as unsupported instead of being half checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from node.ledger import plutus, transaction
from node.ledger.transaction import Transaction, TxOut, UTxO
from node.ledger.utxo_json import output_size
from node.ledger.wallet import verify

MAX_OUTPUT = 5_000  # bytes; maxValueSize of the protocol parameters, here for the whole output
_LOVELACE = (b"", b"")


class Invalid(Exception):
    """A transaction that the ledger refuses; the message is what TxInvalid carries."""


def check(utxo: UTxO, tx: Transaction, *, slot: int, mainnet: bool = False) -> None:
    """Raise Invalid unless `tx` may be applied to `utxo` at `slot`."""
    check_applies(utxo, tx)
    _check_form(tx)
    if (tx.starts is not None and slot < tx.starts) or (tx.expires is not None and slot >= tx.expires):
        raise _utxo_failure(f"OutsideValidityIntervalUTxO (slot {slot})")
    _check_outputs(tx, mainnet)
    _check_value(utxo, tx)
    _check_witnesses(utxo, tx)
    _check_auxiliary_data(tx)


def check_applies(utxo: UTxO, tx: Transaction) -> None:
    """Only what depends on the state: that the inputs exist. Enough for a transaction checked before."""
    missing = [str(i) for i in tx.inputs if i not in utxo]
    if missing:
        raise _utxo_failure(f"BadInputsUTxO ({', '.join(missing)})")


def apply(utxo: UTxO, tx: Transaction) -> None:
    """Spend the inputs and add the outputs of a checked transaction, in place."""
    for spent in tx.inputs:
        del utxo[spent]
    for index, output in enumerate(tx.outputs):
        utxo[transaction.TxIn(tx.id, index)] = output


def _check_form(tx: Transaction) -> None:
    if not tx.inputs:
        raise _utxo_failure("InputSetEmptyUTxO")
    if len(tx.raw) > transaction.MAX_TRANSACTION:
        raise _utxo_failure(f"MaxTxSizeUTxO ({len(tx.raw)} > {transaction.MAX_TRANSACTION})")
    if tx.extras:
        raise Invalid(f"the emulated head does not support body fields {list(tx.extras)}")


def _check_outputs(tx: Transaction, mainnet: bool) -> None:
    if tx.network not in (None, int(mainnet)):
        raise _utxo_failure("WrongNetworkInTxBody")
    for output in tx.outputs:
        if len(output.address) not in (29, 57) or output.address[0] >> 4 > 7 or output.script is not None:
            raise Invalid("the emulated head supports Shelley addresses and no reference scripts")
        if output.address[0] & 1 != int(mainnet):
            raise _utxo_failure("WrongNetwork")
        if output_size(output) > MAX_OUTPUT:
            raise _utxo_failure(f"OutputTooBigUTxO ({output_size(output)} > {MAX_OUTPUT})")
        if output.lovelace < (least := transaction.min_lovelace(output)):
            raise _utxo_failure(f"BabbageOutputTooSmallUTxO ({output.lovelace} < {least})")
        _check_datum(output)


def _check_datum(output: TxOut) -> None:
    if output.datum is not None:
        try:
            plutus.parse(output.datum)
        except ValueError as error:
            raise Invalid(f"an inline datum is no supported Plutus data: {error}") from error


def _check_value(utxo: UTxO, tx: Transaction) -> None:
    consumed, produced = _total(utxo[i] for i in tx.inputs), _total(tx.outputs)
    produced[_LOVELACE] += tx.fee
    if consumed != produced:
        coins = f"consumed Coin {consumed[_LOVELACE]}, produced Coin {produced[_LOVELACE]}"
        raise _utxo_failure(f"ValueNotConservedUTxO ({coins})")


def _total(outputs: Iterable[TxOut]) -> Counter[tuple[bytes, bytes]]:
    total: Counter[tuple[bytes, bytes]] = Counter()
    for output in outputs:
        total[_LOVELACE] += output.lovelace
        for policy, names in output.assets.items():
            for name, amount in names.items():
                total[policy, name] += amount
    return total


def _check_witnesses(utxo: UTxO, tx: Transaction) -> None:
    if not all(verify(key, signature, tx.id) for key, signature in tx.witnesses):
        raise Invalid("ConwayUtxowFailure (InvalidWitnessesUTXOW)")
    present = {transaction.blake2b(key, transaction.KEY_HASH) for key, _ in tx.witnesses}
    needed = {transaction.address_key_hash(utxo[i].address) for i in tx.inputs}
    if None in needed:
        raise Invalid("ConwayUtxowFailure (MissingScriptWitnessesUTXOW): scripts are not supported")
    if not needed <= present:
        raise Invalid("ConwayUtxowFailure (MissingVKeyWitnessesUTXOW)")


def _check_auxiliary_data(tx: Transaction) -> None:
    actual = None if tx.auxiliary is None else transaction.blake2b(tx.auxiliary)
    if actual == tx.auxiliary_hash:
        return
    if actual is None:
        raise Invalid("ConwayUtxowFailure (MissingTxMetadata)")
    if tx.auxiliary_hash is None:
        raise Invalid("ConwayUtxowFailure (MissingTxBodyMetadataHash)")
    raise Invalid("ConwayUtxowFailure (ConflictingMetadataHash)")


def _utxo_failure(reason: str) -> Invalid:
    return Invalid(f"ConwayUtxowFailure (UtxoFailure ({reason}))")
