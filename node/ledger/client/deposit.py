"""The deposit that brings this member's ADA into a head. Pure.

The hydra-node drafts one, with its own fuel beside what is offered: signing that would be to sign for
whatever else lies at the same key. So a draft is only read. Its deposit output is compared, field by field,
with the one that must be there: script, value, head, deadline, and the output that appears in the head. The
transaction that is signed is built here, of the outputs that are offered and nothing else, and pays its own
fee.

Source: hydra-tx `Deposit.hs` and hydra-plutus `deposit.ak` of releases 2.0 to 2.3.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from node.ledger import plutus, transaction
from node.ledger.errors import DraftRefused, OutOfFunds
from node.ledger.transaction import Transaction, TxIn, TxOut, UTxO

DEPOSIT_SCRIPTS = frozenset(
    bytes.fromhex(text)
    for text in (
        "ae01dade3a9c346d5c93ae3ce339412b90a0b8f83f94ec6baa24e30c",  # release 2.0
        "0430c1afbb704085b936bd7fd530b5c674009c0b85fd18e7a8494ad8",  # release 2.1
        "c78e8c9205721eb3ef4410f3db9c6169fa6db497c24641d29c20529c",  # releases 2.2 and 2.3
    )
)
"""Hashes of the deposit validators, from the blueprints (`plutus.json`) of the releases."""

EMULATED_SCRIPT = transaction.blake2b(b"emulated deposit script", transaction.KEY_HASH)
"""The emulated head's; on a real chain nobody could get anything back from there."""

FEE = 250_000  # lovelace; the ledger asks 155,381 and 44 for each byte, of which this transaction has 500
MAX_INPUTS = 16
MAX_LOCKED = 30 * 24 * 3600.0  # seconds until an unused deposit can be taken back, at most


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen: `blueprint` spends the `offered` outputs and has one, which becomes `at` in the
    head."""

    offered: UTxO
    blueprint: Transaction
    at: TxIn

    @property
    def output(self) -> TxOut:
        """This member's output in the head."""
        return self.blueprint.outputs[0]


def plan(offered: UTxO, address: bytes) -> Plan:
    """Bring all that is offered, less the fee, into the head, to the same `address`.

    Raises OutOfFunds where that is too little, DraftRefused where it is not plain ADA of this address.
    """
    if not 1 <= len(offered) <= MAX_INPUTS:
        raise DraftRefused(f"{len(offered)} outputs are offered for a deposit", remedy="offer one")
    if any(output.address != address or output.assets or output.script for output in offered.values()):
        raise DraftRefused(
            "an output that is offered is not plain ADA of this member", remedy="offer another"
        )
    output = TxOut(address, sum(each.lovelace for each in offered.values()) - FEE)
    if output.lovelace < (least := transaction.min_lovelace(output)):
        raise OutOfFunds(f"{output.lovelace} lovelace are too little for a deposit of {least}")
    body = transaction.build_body(tuple(sorted(offered)), (output,), FEE)
    blueprint = transaction.parse(transaction.assemble(body, ()))
    return Plan(offered, blueprint, TxIn(blueprint.id, 0))


def body_of(
    wanted: Plan, draft: Transaction, head_id: str, scripts: Collection[bytes], now: float, *, mainnet: bool
) -> bytes:
    """The body to sign, after a draft that was read; DraftRefused says what in it is not as it must be.

    `scripts` are the deposit validators that are known, `now` is POSIX seconds.
    """
    deposits = [output for output in draft.outputs if _script_of(output.address, mainnet) in scripts]
    if len(deposits) != 1:
        raise _refused(
            f"it has {len(deposits)} outputs at a known deposit script",
            "is the hydra-node of a newer release? Name its script under ledger.deposit_script",
        )
    [output] = deposits
    if (output.lovelace, output.assets) != (wanted.output.lovelace, {}):
        raise _refused(f"it deposits {output.lovelace} lovelace instead of {wanted.output.lovelace}")
    if output.script is not None or output.datum is None:
        raise _refused("its deposit has no inline datum, or a script")
    _check_datum(output.datum, wanted, head_id, now)
    if draft.expires is None or draft.starts is not None:
        raise _refused("its validity has no end, or a beginning")
    return transaction.build_body(tuple(sorted(wanted.offered)), (output,), FEE, expires=draft.expires)


def _check_datum(datum: bytes, wanted: Plan, head_id: str, now: float) -> None:
    try:
        value = plutus.parse(datum)
        head, deadline, commits = value.fields  # type: ignore[attr-defined]
        committed = [_commit(each) for each in commits]
    except (ValueError, TypeError, AttributeError):
        raise _refused("its datum is none of a deposit") from None
    if head != bytes.fromhex(head_id):
        raise _refused("it is for another head")
    if not isinstance(deadline, int) or not now < deadline / 1000 <= now + MAX_LOCKED:
        raise _refused("its deadline has passed, or lies more than 30 days ahead")
    if committed != [(wanted.at, _plain(plutus.serialise(plutus.output_data(wanted.output))))]:
        raise _refused("what would appear in the head is not this member's output")


def _commit(value: plutus.Constructor) -> tuple[TxIn, object]:
    reference, output = value.fields
    tx_id, index = reference.fields  # type: ignore[attr-defined]
    return TxIn(tx_id, index), _plain(output)


def _plain(serialised: object) -> object:
    if not isinstance(serialised, bytes):
        raise TypeError("not bytes")
    return plutus.parse(serialised)


def _script_of(address: bytes, mainnet: bool) -> bytes | None:
    """The script hash of an enterprise script address (CIP-19 type 7) of this network."""
    return address[1:] if address[:1] == bytes([0x70 | mainnet]) else None


def _refused(what: str, remedy: str = "do not trust this hydra-node; nothing was signed") -> DraftRefused:
    return DraftRefused(f"the hydra-node's draft of the deposit: {what}", remedy=remedy)
