"""UTxO sets, outputs and transactions in the JSON of hydra-node and cardano-cli."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import cbor2

from node.ledger import plutus, transaction
from node.ledger.errors import MalformedMessage
from node.ledger.transaction import Transaction, TxIn, TxOut, UTxO

_SCRIPTS = ("SimpleScript", "PlutusScriptV1", "PlutusScriptV2", "PlutusScriptV3")


@functools.lru_cache(maxsize=4_096)
def output_to_json(output: TxOut) -> Mapping[str, Any]:
    """One output; zero lovelace is left out, as the real node does.

    Every snapshot repeats most outputs, so the answer is kept, and must not be changed.
    """
    value: dict[str, Any] = {"lovelace": output.lovelace} if output.lovelace else {}
    for policy, names in output.assets.items():
        value[policy.hex()] = {name.hex(): amount for name, amount in names.items()}
    item: dict[str, Any] = {
        "address": transaction.address_text(output.address),
        "datum": None,
        "datumhash": output.datum_hash and output.datum_hash.hex(),
        "inlineDatum": None,
        "inlineDatumRaw": None,
        "referenceScript": None,
        "value": value,
    }
    if output.datum is not None:
        del item["datumhash"]
        item["inlineDatum"] = plutus.to_json(plutus.parse(output.datum))
        item["inlineDatumRaw"] = output.datum.hex()
        item["inlineDatumhash"] = transaction.blake2b(output.datum).hex()
    if output.script is not None:
        item["referenceScript"] = _script_to_json(output.script)
    return item


def output_from_json(item: Mapping[str, Any]) -> TxOut:
    """One output; MalformedMessage where a field has the wrong type or a Byron address is met."""
    try:
        value = dict(item["value"])
        lovelace = value.pop("lovelace", 0)
        raw, digest, script = item.get("inlineDatumRaw"), item.get("datumhash"), item.get("referenceScript")
        return TxOut(
            address=transaction.parse_address(item["address"]),
            lovelace=_amount(lovelace),
            datum=None if raw is None else bytes.fromhex(raw),
            datum_hash=None if digest is None or raw is not None else bytes.fromhex(digest),
            assets={bytes.fromhex(p): _assets(names) for p, names in value.items()},
            script=None if script is None else _script_from_json(script),
        )
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise MalformedMessage(f"not an output: {error}") from error


def _assets(names: Mapping[str, int]) -> dict[bytes, int]:
    return {bytes.fromhex(name): _amount(amount) for name, amount in names.items()}


def _amount(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not an amount")
    return value


def _script_to_json(script: bytes) -> dict[str, Any]:
    kind = _SCRIPTS[script[1]]
    language = "SimpleScriptLanguage" if script[1] == 0 else f"PlutusScriptLanguage {kind}"
    return {
        "script": {"cborHex": script[2:].hex(), "description": "", "type": kind},
        "scriptLanguage": language,
    }


def _script_from_json(item: Mapping[str, Any]) -> bytes:
    script = item["script"]
    return bytes([0x82, _SCRIPTS.index(script["type"])]) + bytes.fromhex(script["cborHex"])


def to_json(utxo: UTxO) -> dict[str, Any]:
    """A UTxO set keyed by `txid#index`."""
    return {str(at): output_to_json(output) for at, output in sorted(utxo.items())}


def from_json(item: object, addresses: Iterable[bytes] | None = None) -> UTxO:
    """A UTxO set; with `addresses`, only the outputs there, so that foreign kinds cannot disturb."""
    if not isinstance(item, Mapping):
        raise MalformedMessage("a UTxO set that is no JSON object")
    wanted = None if addresses is None else {transaction.address_text(a) for a in addresses}
    try:
        return {
            TxIn.parse(at): output_from_json(output)
            for at, output in item.items()
            if wanted is None or (isinstance(output, Mapping) and output.get("address") in wanted)
        }
    except (ValueError, AttributeError) as error:
        raise MalformedMessage(f"not a UTxO set: {error}") from error


def envelope(tx: Transaction, description: str = "") -> dict[str, str]:
    """The text envelope of a transaction with the id the real node adds."""
    return {"cborHex": tx.raw.hex(), "description": description, "txId": tx.id.hex(), "type": "Tx ConwayEra"}


def transaction_from_json(item: object) -> Transaction:
    """A transaction from its envelope; a `txId` that does not fit is an error, as in the real node."""
    if not isinstance(item, Mapping) or not isinstance(item.get("cborHex"), str):
        raise MalformedMessage("a transaction envelope needs cborHex")
    try:
        tx = transaction.parse(bytes.fromhex(item["cborHex"]))
    except ValueError as error:
        raise MalformedMessage(f"cborHex is not hexadecimal: {error}") from error
    claimed = item.get("txId")
    if claimed is not None and claimed != tx.id.hex():
        raise MalformedMessage(f"txId {str(claimed)[:64]} is not the transaction's {tx.id.hex()}")
    return tx


def output_size(output: TxOut) -> int:
    """Bytes of the output in a transaction."""
    return len(cbor2.dumps(output.primitive()))
