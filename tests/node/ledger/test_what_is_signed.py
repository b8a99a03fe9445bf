"""What a snapshot's outputs say counts: not how a node lists it, nor what anybody pays to an address."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
import structlog
import trio

from node.ledger import anchor, transaction, utxo_json
from node.ledger.audit import Verdict, audit_settlement, settled
from node.ledger.client.checks import Accounts, Incomplete, unfinished
from node.ledger.client.deposit import EMULATED_SCRIPT
from node.ledger.client.ledger import HydraLedger
from node.ledger.client.node import HydraNode
from node.ledger.client.order import End, Recovered
from node.ledger.interface import LedgerState, Stalled, StallReason
from node.ledger.transaction import TxIn, TxOut

HEAD = "ab" * 28


class Retelling(HydraNode):
    """The true node of a member, retold: `retell` may change what any snapshot lists."""

    def __init__(self, url) -> None:
        super().__init__(url)
        self.retell = lambda confirmed: confirmed

    @asynccontextmanager
    async def connect(self, *, history, utxo=True):
        async with super().connect(history=history, utxo=utxo) as channel:
            yield _Retold(self, channel)

    async def request(self, method, path, body=None):
        status, answer = await super().request(method, path, body)
        return status, self.retold(answer)

    def retold(self, item):
        if isinstance(item, dict) and isinstance(item.get("snapshot"), dict):
            item["snapshot"]["confirmed"] = self.retell(item["snapshot"]["confirmed"])
        return item


class _Retold:
    def __init__(self, node, channel) -> None:
        self._node, self._channel = node, channel
        self.send = channel.send

    async def receive(self):
        return json.dumps(self._node.retold(json.loads(await self._channel.receive())))


async def _told(cohort, node, **options: object):
    """A running client of member 1 behind a node that retells."""
    members = [w.key_hash for w in cohort.wallets]
    options = {"timing": cohort.timing, "deposit_scripts": {EMULATED_SCRIPT}, **options}
    ledger = HydraLedger(node, cohort.wallets[0], members, **options)
    cohort.owner[ledger] = cohort.wallets[0]
    await cohort.nursery.start(ledger.run)
    return ledger


async def _one_snapshot(cohort, *ledgers: HydraLedger, records=1):
    """Anchors of all members that one snapshot confirms."""
    await cohort.emulator.party(3, "slow?seconds=0.5")
    for n in range(records):
        for member, ledger in enumerate(ledgers, start=1):
            await ledger.submit(b"%d of %d" % (n, member))


@pytest.mark.parametrize("retell", [lambda listed: listed[::-1], lambda listed: listed[1:] + listed[:1]])
async def test_a_node_that_lists_a_snapshot_in_another_order_changes_no_slot(cohort, take, retell):
    node = Retelling(cohort.url(1))
    told = await _told(cohort, node)
    others = [(await cohort.follow(m))[0] for m in (2, 3)]
    await cohort.fund(told, *others)
    node.retell = retell
    await _one_snapshot(cohort, told, *others, records=3)
    orders = [await take(ledger, 9) for ledger in (told, *others)]
    assert orders[0] == orders[1] == orders[2]
    assert max([r.snapshot for r in orders[0]].count(n) for n in range(99)) > 1


async def _until_stalled(ledger, reason):
    with trio.fail_after(120):
        while ledger._session.stall is None or ledger._session.stall.reason is not reason:
            await trio.sleep(0.01)


async def test_a_record_that_the_node_leaves_out_is_a_gap_and_comes_from_the_others(cohort, take):
    """Every one of the three ways to leave it out: as it comes, when it is asked for, in the history."""
    others = [(await cohort.follow(m))[0] for m in (2, 3)]
    node, asked = Retelling(cohort.url(1)), []

    async def recover(gap, judge):
        asked.append(gap)
        whole = await take(others[1], 3)
        kept = [Recovered(r.snapshot, r.transaction) for r in whole if r.slot >= gap.from_slot]
        assert judge(kept).complete
        return kept, True

    told = await _told(cohort, node, recover=recover)
    await cohort.fund(told, *others)
    await told.submit(b"mine")
    await others[0].submit(b"theirs")
    await take(told, 2)
    hidden = cohort.wallets[1].address

    def hide(listed):
        parsed = [(each, transaction.parse(bytes.fromhex(each["cborHex"]))) for each in listed]
        return [each for each, tx in parsed if tx.outputs[0].address != hidden]

    node.retell = hide
    with structlog.testing.capture_logs() as logs:
        await others[0].submit(b"hidden")
        whole = await take(others[1], 3)
        assert [r.datum for r in await take(told, 3)] == [r.datum for r in whole]
    assert asked
    assert "SnapshotIncomplete" in {entry["event"] for entry in logs}
    await others[1].submit(b"shown")
    assert [r.datum for r in await take(told, 4)] == [r.datum for r in await take(others[0], 4)]
    assert told.status().state is LedgerState.OPEN


async def test_without_others_a_record_that_is_left_out_is_a_stall(cohort, take):
    honest = (await cohort.follow(2))[0]
    node = Retelling(cohort.url(1))
    told = await _told(cohort, node)
    await cohort.fund(told, honest)
    await honest.submit(b"seen")
    await take(told, 1)
    node.retell = lambda listed: []
    await honest.submit(b"hidden")
    await _until_stalled(told, StallReason.HISTORY_GAP)
    assert told.status().slot == 1
    node.retell = lambda listed: listed
    assert [r.datum for r in await take(told, 2)] == [b"seen", b"hidden"]


async def test_what_is_left_out_at_the_first_look_after_a_restart_is_missed(cohort, take):
    """The node shows the last transaction never again: neither in its snapshot nor in its history."""
    honest = (await cohort.follow(2))[0]
    await cohort.fund(honest)
    await honest.submit(b"known")
    await honest.submit(b"hidden")
    records = await take(honest, 2)
    node = Retelling(cohort.url(1))
    node.retell = lambda listed: [tx for tx in listed if tx["txId"] != records[1].id.hex()]
    told = await _told(cohort, node, head_id=honest.status().head_id, known=records[:1])
    await _until_stalled(told, StallReason.HISTORY_GAP)
    assert told.status().slot == 1
    node.retell = lambda listed: listed
    assert [r.datum for r in await take(told, 1, after=1)] == [b"hidden"]


def _elsewhere(cohort):
    """An anchor of member 2 that the head has never seen."""
    wallet = cohort.wallets[1]
    start = TxOut(wallet.address, 5_000_000)
    tip = anchor.Tip(TxIn(b"\x07" * 32, 0), start, anchor.first_link(HEAD))
    return utxo_json.envelope(anchor.build(wallet, tip, b"never confirmed"))


@pytest.mark.parametrize("more", ["elsewhere", "twice"])
async def test_a_listed_transaction_that_the_outputs_contradict_is_refused(cohort, take, more):
    honest = (await cohort.follow(2))[0]
    node = Retelling(cohort.url(1))
    told = await _told(cohort, node)
    await cohort.fund(told, honest)
    extra = _elsewhere(cohort)
    node.retell = lambda listed: [*listed, *([extra] if more == "elsewhere" else listed)]
    await honest.submit(b"true")
    await _until_stalled(told, StallReason.UNVERIFIED)
    assert told.status().slot == 0
    node.retell = lambda listed: listed
    assert [r.datum for r in await take(told, 1)] == [b"true"]


async def _plant(cohort, thief, datum, lovelace):
    """Member 3 pays to member 1's address inside the head, from its own output."""
    wallet, tip = cohort.wallets[2], thief.tip
    rest = TxOut(wallet.address, tip.output.lovelace - lovelace)
    planted = TxOut(cohort.wallets[0].address, lovelace, datum)
    tx = transaction.parse(wallet.sign(transaction.build_body((tip.at,), (planted, rest))))
    async with HydraNode(cohort.url(3)).connect(history=False) as channel:
        await channel.send(json.dumps({"tag": "NewTx", "transaction": utxo_json.envelope(tx)}))
        while "SnapshotConfirmed" not in json.loads(await channel.receive())["tag"]:
            pass
    return TxIn(tx.id, 0)


@pytest.mark.parametrize("when", ["before the first record", "between records"])
async def test_an_output_that_is_planted_at_an_address_changes_nothing(cohort, take, when):
    ledgers = [(await cohort.follow(m))[0] for m in (1, 2, 3)]
    await cohort.fund(*ledgers)
    victim, other, thief = ledgers
    head_id, known = victim.status().head_id, []
    link = anchor.first_link(head_id)
    if when == "between records":
        await victim.submit(b"first")
        known = await take(victim, 1)
        link = anchor.chain_digests(head_id, [b"first"])[-1]
    start = victim.tip.at
    planted = await _plant(cohort, thief, anchor.encode(b"forged", link), 45_000_000)
    assert victim.tip.at == start != planted

    again, _ = await cohort.follow(1, known=known, head_id=head_id, start=start)
    await again.submit(b"mine")
    records = await take(other, len(known) + 1)
    assert records[-1].datum == b"mine"
    assert again.tip.at == TxIn(records[-1].id, 0)

    await other.close()
    await other.fanout()
    found = other._session.life.finished.datums[1]
    assert len(found) == 2
    written = [r.datum for r in records]
    assert settled(anchor.chain_digests(head_id, written), found) == len(written)
    chain = await cohort.emulator.chain_utxo(cohort.wallets[0].address)
    report = audit_settlement(chain, {cohort.wallets[0].address: 1}, {1: written}, head_id)
    assert report.findings[0].verdict is Verdict.SETTLED


async def test_a_planted_output_neither_fills_nor_wedges_a_gap(cohort, take):
    ledgers = [(await cohort.follow(m))[0] for m in (1, 2, 3)]
    await cohort.fund(*ledgers)
    head_id = ledgers[0].status().head_id
    await _plant(cohort, ledgers[2], anchor.encode(b"forged", anchor.first_link(head_id)), 40_000_000)
    await ledgers[0].submit(b"true")
    await take(ledgers[1], 1)
    await ledgers[1].submit(b"too")
    records = await take(ledgers[1], 2)
    await cohort.emulator.party(2, "rotate")

    async def recover(gap, judge):
        kept = [Recovered(r.snapshot, r.transaction) for r in records]
        kept = [each for each in kept if each.snapshot < gap.to_snapshot]
        assert judge(kept).complete
        assert not judge(kept[:-1]).complete
        return kept, True

    late, _ = await cohort.follow(2, recover=recover)
    assert [r.datum for r in await take(late, 2)] == [b"true", b"too"]


class _Snapshot:
    """What `Accounts` looks at."""

    def __init__(self, utxo, transactions=(), to_commit=(), to_decommit=()) -> None:
        self.number, self.utxo, self.transactions, self.signable = 7, utxo, transactions, self
        self.to_commit, self.to_decommit = to_commit, to_decommit


def test_nothing_comes_or_goes_without_a_listed_transaction(wallets):
    member, stranger = (transaction.address_text(w.address) for w in wallets[:2])
    tx = anchor.build(
        wallets[0], anchor.Tip(TxIn(bytes(32), 0), TxOut(wallets[0].address, 5_000_000), bytes(32)), b"x"
    )
    before, after = f"{'00' * 32}#0", f"{tx.id.hex()}#0"
    arriving, theirs = TxIn(b"\x05" * 32, 0), f"{'06' * 32}#1"

    def accounts():
        fresh = Accounts(frozenset([member]))
        fresh.begin_with({before: {"address": member}, "junk": 7})
        return fresh

    def judge(utxo, *transactions: object, **more: object):
        books, snapshot = accounts(), _Snapshot(utxo, transactions, **more)
        books.note(snapshot)
        books.compare(snapshot)

    judge({before: {"address": member}, theirs: {"address": stranger}})
    judge({after: {"address": member}}, tx)
    judge({before: {"address": member}, str(arriving): {"address": member}}, to_commit=[arriving])
    judge({}, to_decommit=[arriving])
    for lost in ({}, {after: {"address": member}}, {before: {"address": member}, after: {"address": member}}):
        with pytest.raises(Incomplete):
            judge(lost)
    Accounts(frozenset([member])).compare(_Snapshot({}))


def test_a_chain_that_does_not_end_where_the_outputs_say_is_unfinished(wallets):
    members = {w.address: n for n, w in enumerate(wallets, start=1)}
    datum = anchor.encode(b"x", anchor.first_link(HEAD))
    at, address = TxIn(bytes(32), 0), transaction.address_text(wallets[0].address)
    stated = {"address": address, "inlineDatumRaw": datum.hex()}
    begun, fresh = End(transaction.blake2b(datum), at), End(anchor.first_link(HEAD))
    assert unfinished({1: begun}, {str(at): stated}, members) == []
    assert unfinished({1: fresh}, {str(at): {"address": address, "inlineDatumRaw": None}}, members) == []
    assert unfinished({1: begun}, {}, members) == [1]
    assert unfinished({1: begun}, {str(at): {**stated, "inlineDatumRaw": "zz"}}, members) == [1]
    assert unfinished({1: fresh}, {str(at): stated}, members) == [1]
    assert unfinished({2: fresh}, {str(at): stated, "junk": None}, members) == []


def test_a_stall_that_says_that_records_are_missing_says_what_helps():
    assert Stalled(StallReason.HISTORY_GAP, (), "").reason.remedy
