"""The anchor chain: each member's records, one after the other, in one output that the head carries.

An anchor spends the member's previous anchor output and makes the same output again, same address, same
value, with a new inline datum. The datum is `121([link, chunk, chunk, …])` in CBOR, written as cardano-cli
would: the record in byte strings of at most 64 bytes (a Plutus limit), after the hash of the datum it
replaces. Only the last datum reaches L1 with the fan-out; the links make it commit to every record before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cbor2

from node.ledger import cbor, plutus, transaction
from node.ledger.errors import AnchorTooLarge, OutOfFunds
from node.ledger.transaction import Transaction, TxIn, TxOut
from node.ledger.wallet import Wallet, verify

MAX_RECORD = 900  # bytes; with link, chunk headers and output it stays well below the limits of fan-out
MAX_DATUM = 1_024  # bytes; larger outputs may never leave a head (hydra #2616)
MAX_ANCHOR = 10_250  # bytes of a transaction; enforced here whatever the node's parameters say
CHUNK = 64  # bytes; longest byte string in Plutus data
_CONSTRUCTOR_0 = 121  # CBOR tag of the first constructor in Plutus data


@dataclass(frozen=True, slots=True)
class Tip:
    """The output that the member's next anchor spends; `link` is what its datum must start with."""

    at: TxIn
    output: TxOut
    link: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """A confirmed anchor: whose, the record, the `link` it claims and `next_link`, the hash of its datum."""

    member: int
    record: bytes
    link: bytes
    next_link: bytes
    at: TxIn
    output: TxOut


def first_link(head_id: str) -> bytes:
    """What the first anchor of a member links to: the head, so that no chain serves two heads."""
    return transaction.blake2b(bytes.fromhex(head_id))


def encode(record: bytes, link: bytes) -> bytes:
    """The datum (CBOR) of `record` after the datum hashed in `link`; AnchorTooLarge over the limits."""
    if len(record) > MAX_RECORD:
        raise AnchorTooLarge(f"a record of {len(record)} bytes", remedy=f"at most {MAX_RECORD} fit an anchor")
    chunks = [record[i : i + CHUNK] for i in range(0, len(record), CHUNK)]
    datum = plutus.serialise(plutus.Constructor(0, (link, *chunks)))
    if len(datum) > MAX_DATUM:
        raise AnchorTooLarge(f"a datum of {len(datum)} bytes", remedy=f"at most {MAX_DATUM} can leave a head")
    return datum


def decode(datum: bytes) -> tuple[bytes, bytes] | None:
    """(link, record) of an anchor's datum; None where the datum is something else."""
    if len(datum) > MAX_DATUM:
        return None
    try:
        value = cbor.loads(datum)
    except ValueError:
        return None
    if (
        not isinstance(value, cbor2.CBORTag)
        or value.tag != _CONSTRUCTOR_0
        or not isinstance(value.value, list)
    ):
        return None
    if not value.value or not all(isinstance(c, bytes) and len(c) <= CHUNK for c in value.value):
        return None
    link, *chunks = value.value
    return (link, b"".join(chunks)) if len(link) == 32 else None


def build(wallet: Wallet, tip: Tip, record: bytes) -> Transaction:
    """The signed anchor transaction of `record` on top of `tip`: no fee, no time bounds.

    Ed25519 is deterministic: the same tip and record give the same bytes, so sending again cannot double.
    Raises AnchorTooLarge, or OutOfFunds where the output holds less than min-ADA asks of it.
    """
    output = TxOut(wallet.address, tip.output.lovelace, encode(record, tip.link), tip.output.assets)
    if output.lovelace < (least := transaction.min_lovelace(output)):
        raise OutOfFunds(
            f"the anchor output holds {output.lovelace} lovelace, this datum needs {least}",
            remedy="deposit 3 to 5 ADA for this member's chain",
        )
    raw = wallet.sign(transaction.build_body((tip.at,), (output,)))
    if len(raw) > MAX_ANCHOR:
        raise AnchorTooLarge(f"a transaction of {len(raw)} bytes", remedy=f"at most {MAX_ANCHOR}")
    return transaction.parse(raw)


def read(tx: Transaction, members: dict[bytes, int]) -> Anchor | None:
    """The anchor in a confirmed transaction, or None where it is none.

    `members` maps addresses to roster indices. The first output must be at a member's address, carry an
    anchor datum, and that member must have signed: anyone may pay to an address, only its owner can sign.
    """
    if not tx.outputs:
        return None
    output = tx.outputs[0]
    member = members.get(output.address)
    if member is None or output.datum is None or (content := decode(output.datum)) is None:
        return None
    if not _signed_by(tx, transaction.address_key_hash(output.address)):
        return None
    link, record = content
    return Anchor(member, record, link, transaction.blake2b(output.datum), TxIn(tx.id, 0), output)


def _signed_by(tx: Transaction, key_hash: bytes | None) -> bool:
    return any(
        transaction.blake2b(key, transaction.KEY_HASH) == key_hash and verify(key, signature, tx.id)
        for key, signature in tx.witnesses
    )


def chain_digests(head_id: str, records: Iterable[bytes]) -> list[bytes]:
    """The first link, then the hash of the datum of each of these records in one chain."""
    digests = [first_link(head_id)]
    for record in records:
        digests.append(transaction.blake2b(encode(record, digests[-1])))
    return digests
