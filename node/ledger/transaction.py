"""Cardano transactions as far as a head needs them: parsing, identity, building, signing.

The transaction id is the Blake2b-256 of the body's own bytes, so the parser keeps those bytes instead of
re-encoding them: other encoders are free to order maps and to choose lengths differently. Ledger CDDL:
the Conway era. Any party may send a head what this parser does not know: an output that it cannot read is
`UNREADABLE`, and everything beside inputs, outputs and keys is passed over.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cbor2

from node.ledger import bech32, cbor
from node.ledger.errors import MalformedTransaction

MAX_TRANSACTION = 16_384  # bytes; maxTxSize of the protocol parameters
KEY_HASH = 28  # bytes; Blake2b-224 of an Ed25519 key
TX_ID = 32  # bytes
COINS_PER_BYTE = 4_310  # lovelace; utxoCostPerByte of mainnet
OUTPUT_OVERHEAD = 160  # bytes that the min-ADA rule adds to an output's size (Babbage ledger rule)
_SET, _ENCODED = 258, 24  # CBOR tags: a set; CBOR inside a byte string


@dataclass(frozen=True, slots=True, order=True)
class TxIn:
    """Output number `index` of transaction `id`."""

    id: bytes
    index: int

    def __str__(self) -> str:
        return f"{self.id.hex()}#{self.index}"

    @classmethod
    def parse(cls, text: str) -> TxIn:
        """From `<64 hex digits>#<index>`; ValueError otherwise."""
        digits, _, index = text.partition("#")
        if len(digits) != 2 * TX_ID or not index.isascii() or not index.isdigit() or len(index) > 5:
            raise ValueError(f"not a transaction input: {text[:80]!r}")
        return cls(bytes.fromhex(digits), int(index))


Assets = Mapping[bytes, Mapping[bytes, int]]


@dataclass(frozen=True, slots=True)
class TxOut:
    """An output: `address` and `datum` (inline, as CBOR) in their raw bytes, `lovelace` as an integer."""

    address: bytes
    lovelace: int
    datum: bytes | None = None
    assets: Assets = field(default_factory=dict, hash=False)
    datum_hash: bytes | None = None
    script: bytes | None = None

    def primitive(self) -> object:
        """What CBOR encodes; the short form of the era before Babbage where nothing needs the long one."""
        value: object = [self.lovelace, self.assets] if self.assets else self.lovelace
        if self.datum is None and self.script is None:
            return [self.address, value] + ([self.datum_hash] if self.datum_hash else [])
        long: dict[int, object] = {0: self.address, 1: value}
        if self.datum is not None:
            long[2] = [1, cbor2.CBORTag(_ENCODED, self.datum)]
        elif self.datum_hash is not None:
            long[2] = [0, self.datum_hash]
        if self.script is not None:
            long[3] = cbor2.CBORTag(_ENCODED, self.script)
        return long


UTxO = dict[TxIn, TxOut]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A parsed transaction; `raw` are its bytes and `body` the bytes that `id` and signatures cover.

    `extras` names the body's fields beyond inputs, outputs, fee, validity and auxiliary data.
    """

    id: bytes
    raw: bytes
    body: bytes
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    fee: int
    expires: int | None
    starts: int | None
    auxiliary_hash: bytes | None
    auxiliary: bytes | None
    witnesses: tuple[tuple[bytes, bytes], ...]
    network: int | None
    extras: tuple[int, ...]


_INPUTS, _OUTPUTS, _FEE, _EXPIRES, _AUXILIARY, _STARTS, _NETWORK = 0, 1, 2, 3, 7, 8, 15
_KNOWN_FIELDS = frozenset({_INPUTS, _OUTPUTS, _FEE, _EXPIRES, _AUXILIARY, _STARTS, _NETWORK})


def blake2b(data: bytes, size: int = 32) -> bytes:
    """Blake2b with `size` bytes of digest: 32 for transactions and datums, 28 for keys."""
    return hashlib.blake2b(data, digest_size=size).digest()


def transaction_id(raw: bytes) -> bytes:
    """The id of a transaction that was parsed before."""
    return blake2b(cbor.array(raw)[0])


UNREADABLE = TxOut(b"", 0)
"""Stands for an output of a kind that this parser does not know; it is at nobody's address."""


@functools.lru_cache(maxsize=256)
def parse(raw: bytes) -> Transaction:
    """Decode a transaction envelope's bytes; MalformedTransaction if they are not one.

    A node tells of each transaction several times over, so that the last ones are kept.
    """
    if len(raw) > 4 * MAX_TRANSACTION:
        raise MalformedTransaction(f"a transaction of {len(raw)} bytes")
    try:
        return _parse(raw)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise MalformedTransaction(f"not a Conway transaction: {error}") from error


def _parse(raw: bytes) -> Transaction:
    items = cbor.array(raw) if raw[:1] == b"\x84" else []
    if len(items) != 4 or 1 + sum(map(len, items)) != len(raw):
        raise ValueError("a transaction is an array of four")
    body, witness_set, _, auxiliary = items
    fields = {_number(key): value for key, value in cbor.mapping(body).items()}
    numbers = {n: _number(fields[n]) for n in (_FEE, _EXPIRES, _STARTS, _NETWORK) if n in fields}
    return Transaction(
        id=blake2b(body),
        raw=raw,
        body=body,
        inputs=tuple(sorted(map(_input, cbor.array(fields[_INPUTS])))),
        outputs=tuple(map(_readable, cbor.array(fields[_OUTPUTS]))),
        fee=numbers[_FEE],
        expires=numbers.get(_EXPIRES),
        starts=numbers.get(_STARTS),
        auxiliary_hash=None if _AUXILIARY not in fields else _bytes(cbor.loads(fields[_AUXILIARY]), 32),
        auxiliary=None if auxiliary == b"\xf6" else auxiliary,
        witnesses=tuple(sorted(_witnesses(witness_set))),
        network=numbers.get(_NETWORK),
        extras=tuple(sorted(fields.keys() - _KNOWN_FIELDS)),
    )


def _number(item: bytes) -> int:
    return item[0] if len(item) == 1 and item[0] < 24 else _uint(cbor.loads(item))


def _input(item: bytes) -> TxIn:
    at, index = cbor.loads(item)
    return TxIn(_bytes(at, TX_ID), _uint(index))


def _witnesses(witness_set: bytes) -> list[tuple[bytes, bytes]]:
    encoded = cbor.mapping(witness_set).get(b"\x00")
    pairs = [] if encoded is None else map(cbor.loads, cbor.array(encoded))
    return [(_bytes(key, 32), _bytes(signature, 64)) for key, signature in pairs]


def _readable(item: bytes) -> TxOut:
    try:
        return _output(cbor.loads(item))
    except (ValueError, TypeError, LookupError, AttributeError):
        return UNREADABLE


def _output(item: Mapping[int, Any] | Sequence[Any]) -> TxOut:
    if not isinstance(item, Mapping):
        item = dict(enumerate(item))
        if 2 in item:
            item[2] = (0, item[2])
    kind, datum = item.get(2, (None, None))
    lovelace, assets = (item[1], {}) if isinstance(item[1], int) else item[1]
    return TxOut(
        address=_bytes(item[0]),
        lovelace=_uint(lovelace),
        assets={_bytes(policy): _amounts(names) for policy, names in assets.items()},
        datum=_bytes(datum.value) if kind == 1 else None,
        datum_hash=_bytes(datum, 32) if kind == 0 else None,
        script=_bytes(item[3].value) if 3 in item else None,
    )


def _amounts(names: Mapping[bytes, int]) -> dict[bytes, int]:
    return {_bytes(name): _uint(amount) for name, amount in names.items()}


def _bytes(value: object, size: int | None = None) -> bytes:
    if not isinstance(value, bytes) or (size is not None and len(value) != size):
        raise ValueError("a byte string of the wrong type or length")
    return value


def _uint(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise ValueError("not an unsigned integer of 64 bits")
    return value


def build_body(
    inputs: tuple[TxIn, ...], outputs: tuple[TxOut, ...], fee: int = 0, *, expires: int | None = None
) -> bytes:
    """The body of a transaction that is valid before slot `expires`, or always; inputs carry the set tag as
    cardano-cli writes it."""
    body: dict[int, object] = {
        _INPUTS: cbor2.CBORTag(_SET, [[i.id, i.index] for i in inputs]),
        _OUTPUTS: [o.primitive() for o in outputs],
        _FEE: fee,
    }
    return cbor2.dumps(body if expires is None else {**body, _EXPIRES: expires})


def assemble(body: bytes, witnesses: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """A whole transaction from `body` and (key, signature) pairs, no scripts, no auxiliary data."""
    witness_set = {0: cbor2.CBORTag(_SET, [list(w) for w in witnesses])} if witnesses else {}
    return b"\x84" + body + cbor2.dumps(witness_set) + b"\xf5\xf6"


def min_lovelace(output: TxOut) -> int:
    """The least lovelace that `output` may hold (Babbage min-ADA rule)."""
    return (OUTPUT_OVERHEAD + len(cbor2.dumps(output.primitive()))) * COINS_PER_BYTE


def key_address(key_hash: bytes, *, mainnet: bool = False) -> bytes:
    """The enterprise address (CIP-19 type 6) of a payment key's hash."""
    return bytes([0x60 | int(mainnet)]) + key_hash


def address_key_hash(address: bytes) -> bytes | None:
    """The payment key hash that must sign to spend from `address`; None for scripts and Byron."""
    return address[1 : 1 + KEY_HASH] if address[:1] and address[0] >> 4 in (0, 2, 4, 6) else None


@functools.lru_cache(maxsize=4_096)
def address_text(address: bytes) -> str:
    """The bech32 form of a Shelley address."""
    return bech32.encode("addr" if address[0] & 1 else "addr_test", address)


@functools.lru_cache(maxsize=4_096)
def parse_address(text: str) -> bytes:
    """The bytes of a bech32 address; ValueError if it is not one."""
    prefix, data = bech32.decode(text)
    if not data or prefix != ("addr" if data[0] & 1 else "addr_test"):
        raise ValueError(f"not a Shelley address: {text[:20]}…")
    return data
