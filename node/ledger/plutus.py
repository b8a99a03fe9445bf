"""Plutus data: its detailed JSON form, and the bytes and hashes that Hydra's signatures cover.

`serialise` follows the Plutus core library's encoding, which differs from plain CBOR in that non-empty lists
have indefinite length and byte strings over 64 bytes come in chunks.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import cbor2

from node.ledger import cbor, transaction
from node.ledger.transaction import TxOut, UTxO

_CHUNK = 64  # bytes
_SMALL, _LARGE, _GENERAL = 121, 1280, 102  # CBOR tags of constructors 0–6, 7–127, any
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Constructor:
    """Constructor number `index` of a data type, applied to `fields`."""

    index: int
    fields: tuple[object, ...] = ()


def parse(raw: bytes) -> object:
    """Plutus data from CBOR: Constructor, dict, list, int or bytes; ValueError if it is none of these."""
    try:
        return _structure(cbor.loads(raw))
    except TypeError as error:
        raise ValueError(f"not Plutus data: {error}") from error


def _structure(value: object) -> object:
    if isinstance(value, cbor2.CBORTag):
        index, fields = _constructor(value.tag, value.value)
        return Constructor(index, tuple(_structure(f) for f in fields))
    if isinstance(value, Mapping):
        return {_frozen(_structure(k)): _structure(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_structure(v) for v in value]
    if isinstance(value, bytes) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f"no Plutus data: {type(value).__name__}")


def _frozen(value: object) -> object:
    if isinstance(value, list | dict):
        raise ValueError("lists and maps as map keys are not supported")
    return value


def _constructor(tag: int, value: object) -> tuple[int, list[object]]:
    if _SMALL <= tag < _SMALL + 7 and isinstance(value, list | tuple):
        return tag - _SMALL, list(value)
    if _LARGE <= tag < _LARGE + 121 and isinstance(value, list | tuple):
        return tag - _LARGE + 7, list(value)
    if tag == _GENERAL and isinstance(value, list | tuple) and len(value) == 2:
        return int(value[0]), list(value[1])
    raise ValueError(f"CBOR tag {tag} is no constructor")


def to_json(value: object) -> Json:
    """The detailed schema of cardano-cli: every node says its kind."""
    if isinstance(value, Constructor):
        return {"constructor": value.index, "fields": [to_json(f) for f in value.fields]}
    if isinstance(value, dict):
        return {"map": [{"k": to_json(k), "v": to_json(v)} for k, v in value.items()]}
    if isinstance(value, list):
        return {"list": [to_json(v) for v in value]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    assert isinstance(value, int)  # noqa: S101  `parse` lets nothing else through
    return {"int": value}


def serialise(value: object) -> bytes:
    """The bytes of Plutus data as the on-chain builtin `serialiseData` writes them."""
    if isinstance(value, Constructor):
        return _constructor_head(value.index) + _list(value.fields)
    if isinstance(value, dict):
        pairs = b"".join(serialise(k) + serialise(v) for k, v in value.items())
        return _head(5, len(value)) + pairs
    if isinstance(value, list | tuple):
        return _list(value)
    if isinstance(value, bytes) and len(value) > _CHUNK:
        chunks = (cbor2.dumps(value[i : i + _CHUNK]) for i in range(0, len(value), _CHUNK))
        return b"\x5f" + b"".join(chunks) + b"\xff"
    return cbor2.dumps(value)


def _constructor_head(index: int) -> bytes:
    if index < 7:
        return _head(6, _SMALL + index)
    if index < 128:
        return _head(6, _LARGE + index - 7)
    return _head(6, _GENERAL) + b"\x82" + cbor2.dumps(index)


def _list(items: tuple[object, ...] | list[object]) -> bytes:
    return b"\x9f" + b"".join(map(serialise, items)) + b"\xff" if items else b"\x80"


def _head(major: int, number: int) -> bytes:
    plain = cbor2.dumps(number)
    return bytes([plain[0] | major << 5]) + plain[1:]


def output_data(output: TxOut) -> Constructor:
    """An output as a Plutus V3 script sees it (`TxOut` of the script context)."""
    nothing = Constructor(1)
    if output.datum is not None:
        datum = Constructor(2, (parse(output.datum),))
    elif output.datum_hash is not None:
        datum = Constructor(1, (output.datum_hash,))
    else:
        datum = Constructor(0)
    script = nothing if output.script is None else Constructor(0, (_script_hash(output.script),))
    return Constructor(0, (_address(output.address), _value(output), datum, script))


def _address(address: bytes) -> Constructor:
    kind, payment, staking = address[0] >> 4, address[1:29], address[29:57]
    if kind > 7 or kind in (4, 5) or len(payment) != 28:
        raise ValueError("addresses of this kind have no script view here")
    stake = Constructor(1)
    if staking:
        stake = Constructor(0, (Constructor(0, (Constructor(kind >> 1 & 1, (staking,)),)),))
    return Constructor(0, (Constructor(kind & 1, (payment,)), stake))


def _value(output: TxOut) -> dict[bytes, dict[bytes, int]]:
    assets = {p: dict(sorted(names.items())) for p, names in sorted(output.assets.items())}
    return {b"": {b"": output.lovelace}, **assets}


def _script_hash(script: bytes) -> bytes:
    language, content = script[1], script[2:]
    return transaction.blake2b(
        bytes([language]) + (content if language == 0 else cbor.loads(content)), transaction.KEY_HASH
    )


def hash_outputs(utxo: UTxO) -> bytes:
    """Hydra's `hashUTxO`: SHA-256 over the serialised outputs in the order of their inputs."""
    return hashlib.sha256(b"".join(_output_bytes(utxo[at]) for at in sorted(utxo))).digest()


@functools.lru_cache(maxsize=4_096)
def _output_bytes(output: TxOut) -> bytes:
    return serialise(output_data(output))
