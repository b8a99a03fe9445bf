"""What clients send to the emulated head: parsed once, refused with the reason as the real node does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node.ledger import utxo_json
from node.ledger.emulator.state import Snapshot
from node.ledger.errors import MalformedMessage, MalformedTransaction
from node.ledger.transaction import TxIn, UTxO

_BARE = ("Init", "Close", "SafeClose", "Contest", "Fanout")
MAX_JSON_DEPTH_ERROR = RecursionError  # what the standard parser raises on hostile nesting


def parse_json(text: str | bytes) -> object:
    """Any JSON value; MalformedMessage if it is none."""
    try:
        return json.loads(text)
    except (ValueError, MAX_JSON_DEPTH_ERROR) as error:
        raise MalformedMessage(f"Error in $: not JSON: {error}") from error


def client_input(item: object) -> tuple[str, Any]:
    """(tag, subject) of a client input; the subject is what `Head.command` takes for that tag."""
    if not isinstance(item, Mapping):
        raise MalformedMessage("Error in $: parsing ClientInput failed, expected Object")
    tag = item.get("tag")
    try:
        if tag in _BARE:
            return str(tag), None
        if tag == "NewTx":
            return tag, utxo_json.transaction_from_json(item["transaction"])
        if tag == "Decommit":
            return tag, utxo_json.transaction_from_json(item["decommitTx"])
        if tag == "Recover":
            return tag, deposit_id(item["recoverTxId"])
        if tag == "SideLoadSnapshot":
            return tag, confirmed_snapshot(item["snapshot"])
    except KeyError as error:
        raise MalformedMessage(f"Error in $: parsing {tag} failed, key {error} not found") from error
    except MalformedTransaction as error:
        raise MalformedMessage(f"Error in $.transaction: {error}") from error
    raise MalformedMessage(f"Error in $.tag: unknown client input {str(tag)[:80]!r}")


def deposit_id(value: object) -> str:
    """A transaction id in hexadecimal."""
    if not isinstance(value, str) or len(value) != 64:
        raise MalformedMessage("Error in $: not a transaction id")
    try:
        return bytes.fromhex(value).hex()
    except ValueError as error:
        raise MalformedMessage("Error in $: not a transaction id") from error


def confirmed_snapshot(item: object) -> tuple[Snapshot | None, list[str]]:
    """A ConfirmedSnapshot as (snapshot, signatures); None stands for the initial one."""
    if not isinstance(item, Mapping):
        raise MalformedMessage("Error in $.snapshot: expected Object")
    if item.get("tag") == "InitialSnapshot" or "snapshot" not in item:
        if not isinstance(item.get("headId"), str):
            raise MalformedMessage("Error in $.snapshot: key headId not found")
        return None, []
    try:
        signatures = [str(s) for s in item["signatures"]["multiSignature"]]
        return _snapshot(item["snapshot"]), signatures
    except (KeyError, TypeError, ValueError, MalformedTransaction) as error:
        raise MalformedMessage(f"Error in $.snapshot: {error}") from error


def _snapshot(item: Mapping[str, Any]) -> Snapshot:
    arriving, leaving = item.get("utxoToCommit"), item.get("utxoToDecommit")
    return Snapshot(
        head_id=bytes.fromhex(item["headId"]).hex(),
        version=int(item["version"]),
        number=int(item["number"]),
        transactions=tuple(map(utxo_json.transaction_from_json, item["confirmed"])),
        utxo=utxo_json.from_json(item["utxo"]),
        to_commit=None if arriving is None else utxo_json.from_json(arriving),
        to_decommit=None if leaving is None else utxo_json.from_json(leaving),
    )


def commit_request(item: object) -> tuple[UTxO, UTxO]:
    """What a POST /commit, in any of its three forms, spends on L1, and what it asks to appear in the
    head."""
    if not isinstance(item, Mapping):
        raise MalformedMessage("Error in $: parsing DraftCommitTxRequest failed, expected Object")
    if "blueprintTx" not in item:
        spent = utxo_json.from_json(item.get("utxoToCommit", item))
        return spent, spent
    blueprint = utxo_json.transaction_from_json(item["blueprintTx"])
    known = utxo_json.from_json(item.get("utxo"))
    spent = {at: known[at] for at in blueprint.inputs if at in known}
    made = {TxIn(blueprint.id, n): output for n, output in enumerate(blueprint.outputs)}
    return spent, made or spent
