"""A head may be closed with an older snapshot, or contested with one that others never saw confirmed."""

from __future__ import annotations

import dataclasses

import pytest
import trio

from node.engine.anchors import Anchors
from node.journal import Journal, KeptSlot, new_journal_key
from node.ledger import anchor
from node.ledger.audit import Verdict, audit_settlement
from node.ledger.errors import CommandRefused
from node.ledger.interface import LedgerState
from node.ledger.transaction import TxIn, TxOut
from protocol.inputs import Confirmed


async def _written(cohort, take, count):
    ledgers = [(await cohort.follow(m))[0] for m in (1, 2, 3)]
    await cohort.fund(*ledgers)
    for n in range(count):
        for ledger in ledgers[:2]:
            await ledger.submit(b"%d" % n)
    return ledgers, await take(ledgers[2], 2 * count)


async def _until(ledger, state):
    with trio.fail_after(120):
        while ledger.status().state is not state:
            await trio.sleep(0.01)


async def _report(cohort, ledger, records):
    chain = {}
    for wallet in cohort.wallets:
        chain |= await cohort.emulator.chain_utxo(wallet.address)
    members = {w.address: n for n, w in enumerate(cohort.wallets, start=1)}
    written = {m: [r.datum for r in records if r.member == m] for m in (1, 2, 3)}
    return audit_settlement(chain, members, written, ledger.status().head_id)


async def test_a_head_that_is_closed_with_an_older_snapshot_loses_the_later_records(cohort, take, tmp_path):
    ledgers, records = await _written(cohort, take, 3)
    older = records[2].snapshot
    expected = {m: [r.datum for r in records if r.member == m and r.snapshot <= older] for m in (1, 2)}
    await cohort.emulator.close(older)
    await ledgers[0].fanout()
    report = await _report(cohort, ledgers[0], records)
    assert not report.settled
    for finding in report.findings[:2]:
        kept = len(expected[finding.member])
        assert finding.lost == 3 - kept
        assert finding.verdict is (Verdict.SHORTER if kept < 3 else Verdict.SETTLED)
    assert sum(finding.lost for finding in report.findings) >= 2

    journal = Journal(tmp_path / "journal.sqlite", new_journal_key())
    authors = [w.key_hash.hex() for w in cohort.wallets]
    slots = [KeptSlot(Confirmed(r.slot, r.member, r.datum), r.snapshot, r.transaction) for r in records]
    journal.keep_slots(ledgers[0].status().head_id, slots, authors)
    port = Anchors(ledgers[0], journal, bytes(32), 1, authors, 0, None, None)
    final = await port._settled(ledgers[0]._session.life.finished.datums)
    assert final.lost == {f.member for f in report.findings if f.lost}
    assert final.datums == {m: written[-1] for m, written in expected.items() if written}
    journal.close()


async def test_a_closing_with_an_older_snapshot_can_be_contested(cohort, take):
    ledgers, records = await _written(cohort, take, 2)
    await cohort.emulator.close(records[1].snapshot)
    await _until(ledgers[1], LedgerState.CLOSED)
    await cohort.emulator.contest(records[-1].snapshot)
    with pytest.raises(CommandRefused, match="contested"):
        await cohort.emulator.contest(records[1].snapshot)
    await ledgers[2].fanout()
    assert (await _report(cohort, ledgers[0], records)).settled


async def test_what_one_party_alone_saw_confirmed_may_be_what_settles(cohort, take):
    ledgers, records = await _written(cohort, take, 1)
    await cohort.emulator.party(2, "hold")
    await ledgers[0].submit(b"signed by all, known to one")
    seen = (await take(ledgers[1], 3))[-1]
    assert seen.datum == b"signed by all, known to one"
    assert ledgers[2].status().slot == 2
    await cohort.emulator.close(seen.snapshot - 1)
    await _until(ledgers[2], LedgerState.CLOSED)
    await cohort.emulator.contest(seen.snapshot)
    await ledgers[2].fanout()
    assert [f.verdict for f in (await _report(cohort, ledgers[2], records)).findings] == [
        Verdict.LONGER,
        Verdict.SETTLED,
        Verdict.NOTHING_TO_SETTLE,
    ]
    assert (await _report(cohort, ledgers[1], [*records, seen])).settled


async def test_a_held_snapshot_that_others_side_load_over_is_the_holders_alone(cohort, take):
    ledgers, _ = await _written(cohort, take, 1)
    await cohort.emulator.party(2, "hold")
    await ledgers[0].submit(b"held")
    await take(ledgers[1], 3)
    assert (await cohort.emulator.status())["snapshot"] == ledgers[2].status().snapshot
    await cohort.emulator.prune()
    assert [r.datum for r in await take(ledgers[2], 3)][-1] == b"held"


async def test_only_what_all_have_signed_closes_a_head(cohort, take):
    ledgers, records = await _written(cohort, take, 1)
    for number in (0, records[-1].snapshot + 1):
        with pytest.raises(CommandRefused, match="closed"):
            await cohort.emulator.close(number)
    with pytest.raises(CommandRefused):
        await cohort.emulator.contest(records[-1].snapshot)
    assert ledgers[0].status().state is LedgerState.OPEN


def test_a_later_record_that_nobody_can_tell_from_a_planted_one_is_named_so(wallets):
    """The first record that this node has not seen links to the last one that it has."""
    head_id = "ab" * 28
    address = wallets[0].address
    chain = anchor.chain_digests(head_id, [b"a"])
    later = TxOut(address, 5_000_000, anchor.encode(b"b", chain[-1]))
    other = dataclasses.replace(later, datum=anchor.encode(b"b", bytes(32)))
    for output, verdict in ((later, Verdict.LONGER), (other, Verdict.DIFFERENT)):
        report = audit_settlement({TxIn(bytes(32), 0): output}, {address: 1}, {1: [b"a"]}, head_id)
        assert report.findings[0].verdict is verdict
        assert not report.settled
