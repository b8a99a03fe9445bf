"""This member's key signs one transaction on L1: its own deposit, made here, whatever its node drafts."""

from __future__ import annotations

import dataclasses
import json

import pycardano
import pytest
import structlog
import trio

from node.config import Ledger
from node.funds import Funds
from node.ledger import plutus, transaction, utxo_json
from node.ledger.client.deposit import DEPOSIT_SCRIPTS, EMULATED_SCRIPT, FEE, MAX_LOCKED, plan
from node.ledger.client.ledger import HydraLedger
from node.ledger.emulator.deposits import deposit_datum
from node.ledger.errors import CommandRefused, DraftRefused, MalformedMessage, OutOfFunds
from node.ledger.interface import Deposit, LedgerState
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet, verify

HEAD = "ab" * 28
NOW = 1_800_000_000.0
VICTIM, THIEF = Wallet(b"\x01" * 32), Wallet(b"\x66" * 32)
OFFERED = {TxIn(b"\xaa" * 32, 0): TxOut(VICTIM.address, 5_000_000)}
SAVINGS = TxIn(b"\xbb" * 32, 3)  # another output at the same key: 10,000 ADA
FUEL = TxIn(b"\xcc" * 32, 0)
REAL = sorted(DEPOSIT_SCRIPTS)[0]
PLAN = plan(OFFERED, VICTIM.address)


def _output(**changes: object):
    head, deadline, arriving = HEAD, int((NOW + 3 * 3600) * 1000), {PLAN.at: PLAN.output}
    head, deadline = changes.pop("head", head), changes.pop("deadline", deadline)
    datum = deposit_datum(head, deadline, changes.pop("arriving", arriving))
    fields = {"address": b"\x70" + REAL, "lovelace": PLAN.output.lovelace, "datum": datum}
    return TxOut(**{**fields, **changes})


def _draft(*outputs: TxOut, inputs: tuple[TxIn, ...] = (*OFFERED, FUEL), expires: int | None = 7_000):
    change = TxOut(THIEF.address, 30_000_000)
    return transaction.build_body(inputs, (*(outputs or (_output(),)), change), 180_000, expires=expires)


class Drafts:
    """A node that answers every request for a deposit with `body`."""

    def __init__(self, body) -> None:
        self._body = body
        self.asked: list[object] = []
        self.posted: list[transaction.Transaction] = []

    async def request(self, method, path, body=None):
        if path == "/commit":
            self.asked.append(body)
            answer = self._body
            if isinstance(answer, bytes):
                answer = utxo_json.envelope(transaction.parse(transaction.assemble(answer, ())))
            return 200, answer
        self.posted.append(utxo_json.transaction_from_json(body))
        return 200, {"tag": "TransactionSubmitted"}


def _ledger(node):
    ledger = HydraLedger(node, VICTIM, [VICTIM.key_hash], head_id=HEAD, clock=lambda: NOW)
    ledger._session.life.state = LedgerState.OPEN
    return ledger


async def test_what_is_signed_spends_what_is_offered_and_nothing_else():
    """Also after a draft that takes everything: of it only the deposit's output is used, once it is right."""
    for inputs in ((*OFFERED, FUEL), (*OFFERED, SAVINGS), (SAVINGS,), ()):
        node, kept = Drafts(_draft(inputs=inputs)), []

        async def keep(deposit, node=node, kept=kept):
            assert not node.posted
            kept.append(deposit)

        deposit = await _ledger(node).begin_deposit(OFFERED, keep)
        [tx] = node.posted
        assert tx.inputs == tuple(OFFERED)
        assert tx.outputs == (_output(),)
        assert tx.fee == FEE == 5_000_000 - tx.outputs[0].lovelace
        assert tx.expires == 7_000
        assert (tx.starts, tx.extras, tx.auxiliary, tx.network) == (None, (), None, None)
        assert [key for key, signature in tx.witnesses if verify(key, signature, tx.id)] == [
            VICTIM.public_key
        ]
        assert kept == [deposit]
        assert Deposit.parse(str(deposit)) == deposit == Deposit(tx.id.hex(), PLAN.at)


async def test_pycardano_reads_the_same_in_what_is_signed():
    node = Drafts(_draft())
    await _ledger(node).begin_deposit(OFFERED)
    [tx] = node.posted
    body = pycardano.Transaction.from_cbor(tx.raw).transaction_body
    assert [(bytes(i.transaction_id), i.index) for i in body.inputs] == [(b"\xaa" * 32, 0)]
    [output] = body.outputs
    assert output.amount.coin == 5_000_000 - FEE
    assert output.address.payment_part.payload == REAL
    assert (body.fee, body.ttl) == (FEE, 7_000)
    assert not any((body.certificates, body.withdraws, body.mint, body.required_signers, body.collateral))
    head, deadline, commits = output.datum.data.value if hasattr(output.datum, "data") else output.datum.value
    assert (head, deadline) == (bytes.fromhex(HEAD), int((NOW + 3 * 3600) * 1000))
    reference, serialised = commits[0].value
    assert list(reference.value) == [PLAN.at.id, 0]
    assert plutus.parse(bytes(serialised)).fields[1] == {b"": {b"": 5_000_000 - FEE}}
    least = 155_381 + 44 * len(tx.raw)
    assert least <= FEE


async def test_the_node_is_asked_for_a_deposit_to_this_member_only():
    node = Drafts(_draft())
    await _ledger(node).begin_deposit(OFFERED)
    [asked] = node.asked
    blueprint = utxo_json.transaction_from_json(asked["blueprintTx"])
    assert (blueprint.inputs, blueprint.witnesses) == (tuple(OFFERED), ())
    assert blueprint.outputs == (TxOut(VICTIM.address, 5_000_000 - FEE),)
    assert json.loads(json.dumps(asked["utxo"])) == utxo_json.to_json(OFFERED)


WRONG = {
    "all to a thief": _draft(TxOut(THIEF.address, 10_005_000_000)),
    "no deposit": transaction.build_body(tuple(OFFERED), (TxOut(VICTIM.address, 4_000_000),), 0, expires=9),
    "two deposits": _draft(_output(), _output()),
    "less than what was offered": _draft(_output(lovelace=2_000_000)),
    "more than what was offered": _draft(_output(lovelace=10_004_000_000)),
    "tokens": _draft(_output(assets={bytes(28): {b"x": 1}})),
    "another script": _draft(_output(address=b"\x70" + bytes(28))),
    "the emulated script": _draft(_output(address=b"\x70" + EMULATED_SCRIPT)),
    "a key instead of a script": _draft(_output(address=b"\x60" + REAL)),
    "another network": _draft(_output(address=b"\x71" + REAL)),
    "a reference script": _draft(_output(script=b"\x82\x00\x40")),
    "no datum": _draft(_output(datum=None)),
    "a datum hash": _draft(_output(datum=None, datum_hash=bytes(32))),
    "a datum of something else": _draft(_output(datum=plutus.serialise(7))),
    "two fields": _draft(_output(datum=plutus.serialise(plutus.Constructor(0, (bytes.fromhex(HEAD), 1))))),
    "another head": _draft(_output(head="cd" * 28)),
    "a deadline that has passed": _draft(_output(deadline=int(NOW * 1000))),
    "a deadline in seconds": _draft(_output(deadline=int(NOW) + 9_000)),
    "a deadline far away": _draft(_output(deadline=int((NOW + MAX_LOCKED + 1) * 1000))),
    "to the thief": _draft(_output(arriving={PLAN.at: TxOut(THIEF.address, PLAN.output.lovelace)})),
    "with a datum": _draft(_output(arriving={PLAN.at: dataclasses.replace(PLAN.output, datum=b"\x07")})),
    "less in the head": _draft(_output(arriving={PLAN.at: TxOut(VICTIM.address, 2_000_000)})),
    "elsewhere": _draft(_output(arriving={TxIn(PLAN.at.id, 1): PLAN.output})),
    "nothing in the head": _draft(_output(arriving={})),
    "two in the head": _draft(_output(arriving={PLAN.at: PLAN.output, SAVINGS: PLAN.output})),
    "without an end": _draft(expires=None),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_draft_that_is_not_as_it_must_be_is_refused_by_name_and_nothing_is_signed(kind, monkeypatch):
    monkeypatch.setattr(Wallet, "signature", lambda *_: pytest.fail("signed"))
    node = Drafts(WRONG[kind])
    with pytest.raises(DraftRefused, match="draft"):
        await _ledger(node).begin_deposit(OFFERED)
    assert not node.posted


@pytest.mark.parametrize("answer", [None, [], {}, {"cborHex": "zz"}, {"cborHex": "84"}, {"cborHex": 7}, "x"])
async def test_a_draft_that_is_none_is_refused(answer):
    node = Drafts(answer)
    with pytest.raises((MalformedMessage, CommandRefused, transaction.MalformedTransaction)):
        await _ledger(node).begin_deposit(OFFERED)
    assert not node.posted


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (TxOut(THIEF.address, 5_000_000), DraftRefused),
        (TxOut(VICTIM.address, 5_000_000, assets={bytes(28): {b"x": 1}}), DraftRefused),
        (TxOut(VICTIM.address, 900_000), OutOfFunds),
    ],
)
async def test_only_plain_ada_of_this_member_is_offered(output, error):
    node = Drafts(_draft())
    with pytest.raises(error):
        await _ledger(node).begin_deposit({TxIn(b"\xaa" * 32, 0): output})
    assert not node.asked


async def test_an_operator_can_name_the_script_of_a_newer_release():
    node = Drafts(_draft(_output(address=b"\x70" + bytes(28))))
    ledger = HydraLedger(
        node, VICTIM, [VICTIM.key_hash], head_id=HEAD, clock=lambda: NOW, deposit_scripts={bytes(28)}
    )
    ledger._session.life.state = LedgerState.OPEN
    await ledger.begin_deposit(OFFERED)
    assert node.posted


async def test_the_key_signs_nothing_while_an_older_head_opens():
    """Before 2.0 the node's own commit opens the head: this member's key has no part in it."""
    thieving = Drafts(_draft(TxOut(THIEF.address, 10_005_000_000)))
    ledger = _ledger(thieving)
    ledger._session.life.initialising = True
    with structlog.testing.capture_logs(), trio.move_on_after(0.05):
        await ledger._help_to_open()
    [tx] = thieving.posted
    assert tx.witnesses == ()


async def test_an_output_with_tokens_that_anybody_sent_is_not_what_is_deposited(monkeypatch):
    """The richest output at the address would make the chain so heavy that it carries no record."""
    heavy = TxOut(VICTIM.address, 99_000_000, assets={bytes(28): {b"spam": 1}})
    plain = {TxIn(b"\xaa" * 32, 0): TxOut(VICTIM.address, 5_000_000)}

    async def chain_utxo(self, address):
        await trio.lowlevel.checkpoint()
        return {TxIn(b"\xee" * 32, 0): heavy, **plain}

    monkeypatch.setattr("node.funds.Emulator.chain_utxo", chain_utxo)
    assert await Funds(Ledger(l1="http://127.0.0.1:1"), VICTIM)() == plain
