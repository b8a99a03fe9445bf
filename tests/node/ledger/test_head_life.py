"""A head from Init to settlement, through real sockets: three members, each with its own node."""

from __future__ import annotations

import json

import pytest
import structlog
import trio
import trio.testing

from node.ledger import anchor, transaction
from node.ledger.audit import Verdict, audit_settlement
from node.ledger.client.deposit import FEE
from node.ledger.client.node import HydraNode
from node.ledger.client.order import Recovered
from node.ledger.errors import CommandRefused, DraftRefused
from node.ledger.interface import HeadFinalised, LedgerState, Resumed, Stalled, StallReason
from node.ledger.transaction import TxIn, TxOut


async def _three(cohort):
    return [(await cohort.follow(m))[0] for m in (1, 2, 3)]


async def test_members_agree_on_one_order_and_it_settles(cohort, take):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    for n in range(4):
        for member, ledger in enumerate(ledgers, start=1):
            await ledger.submit(b"record %d of %d" % (n, member))
    orders = [await take(ledger, 12) for ledger in ledgers]
    assert orders[0] == orders[1] == orders[2]
    assert [r.slot for r in orders[0]] == list(range(1, 13))
    for member in (1, 2, 3):
        assert [r.datum for r in orders[0] if r.member == member] == [
            b"record %d of %d" % (n, member) for n in range(4)
        ]

    head_id = ledgers[0].status().head_id
    await ledgers[1].close()
    await ledgers[2].fanout()
    assert ledgers[2].status().state is LedgerState.FINALISED

    chain = {}
    for wallet in cohort.wallets:
        chain |= await cohort.emulator.chain_utxo(wallet.address)
    members = {w.address: n for n, w in enumerate(cohort.wallets, start=1)}
    expected = {m: [r.datum for r in orders[0] if r.member == m] for m in (1, 2, 3)}
    report = audit_settlement(chain, members, expected, head_id)
    assert report.settled
    forged = {**expected, 2: [b"another history"]}
    report = audit_settlement(chain, members, forged, head_id)
    assert [f.verdict for f in report.findings] == [Verdict.SETTLED, Verdict.DIFFERENT, Verdict.SETTLED]


async def test_a_record_submitted_again_is_not_doubled(cohort, take):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    for _ in range(5):
        await ledgers[0].submit(b"once")
    await take(ledgers[0], 1)
    await ledgers[0].submit(b"once")
    await ledgers[0].submit(b"twice")
    assert [r.datum for r in await take(ledgers[1], 2)] == [b"once", b"twice"]


async def test_a_restarted_client_goes_on_after_its_cursor(cohort, take):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    for n in range(3):
        await ledgers[1].submit(b"before %d" % n)
    known = await take(ledgers[0], 2)
    await take(ledgers[1], 3)
    late, crash = await cohort.follow(1, known=known, head_id=ledgers[0].status().head_id)
    assert [r.datum for r in await take(late, 1, after=2)] == [b"before 2"]
    crash.cancel()
    for n in range(5):
        await ledgers[1].submit(b"during %d" % n)
    everything = await take(ledgers[1], 8)
    start = ledgers[0].tip.at
    again, _ = await cohort.follow(1, known=known, start=start, head_id=ledgers[0].status().head_id)
    assert await take(again, 6, after=2) == everything[2:]
    await again.submit(b"back")
    assert (await take(ledgers[2], 9))[-1].datum == b"back"


async def test_an_offline_party_stalls_the_head_and_nothing_is_lost(cohort, take, event_of):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    await cohort.emulator.party(3, "offline")
    stalls = []
    async with trio.open_nursery() as nursery:

        async def wait():
            stalls.append(await event_of(ledgers[0], Stalled, reason=StallReason.PARTY_OFFLINE))

        nursery.start_soon(wait)
        await ledgers[0].submit(b"patience")
    assert stalls
    assert ledgers[0].status().state is LedgerState.STALLED
    assert "offline" in ledgers[0].status().waits_for
    assert ledgers[0].status().slot == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(event_of, ledgers[0], Resumed)
        await trio.testing.wait_all_tasks_blocked()
        await cohort.emulator.party(3, "online")
    assert [r.datum for r in await take(ledgers[2], 1)] == [b"patience"]
    assert ledgers[0].status().state is LedgerState.OPEN


async def test_a_stall_names_the_member_whose_signature_is_missing(cohort, event_of):
    from nacl.signing import SigningKey

    keys = [bytes(SigningKey(seed).verify_key) for seed in cohort.genesis.hydra_seeds]
    ledger, _ = await cohort.follow(1, parties=keys)
    await cohort.fund(ledger)
    await cohort.emulator.party(2, "slow?seconds=30")
    stalls = []
    async with trio.open_nursery() as nursery:

        async def wait():
            stalls.append(await event_of(ledger, Stalled, members=(2,)))

        nursery.start_soon(wait)
        await ledger.submit(b"who is slow?")
    assert stalls[0].reason is StallReason.PARTY_OFFLINE
    assert "member 2" in ledger.status().waits_for


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (["1/unsynced"], StallReason.NODE_OUT_OF_SYNC),
        (["2/offline", "3/offline"], StallReason.MINORITY),
        (["1/offline"], StallReason.MINORITY),
    ],
)
async def test_other_stalls_are_named_and_pass(cohort, take, event_of, faults, reason):
    ledger, _ = await cohort.follow(1)
    await cohort.fund(ledger)
    for fault in faults:
        await cohort.emulator.party(int(fault[0]), fault[2:])
    stalls = []
    async with trio.open_nursery() as nursery:

        async def wait():
            stalls.append(await event_of(ledger, Stalled, reason=reason))

        nursery.start_soon(wait)
        await ledger.submit(b"stuck")
    assert stalls
    for fault in faults:
        undo = {"unsynced": "synced", "offline": "online"}[fault[2:]]
        await cohort.emulator.party(int(fault[0]), undo)
    assert [r.datum for r in await take(ledger, 1)] == [b"stuck"]


async def test_pruned_transactions_are_sent_again(cohort, take):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    await cohort.emulator.party(2, "slow?seconds=3600")
    await ledgers[0].submit(b"pruned")
    while (await cohort.emulator.status())["snapshot"] != 3 or ledgers[0].status().in_flight is None:
        await trio.sleep(0.01)
    await cohort.emulator.party(2, "slow?seconds=0")
    await cohort.emulator.prune()
    assert [r.datum for r in await take(ledgers[0], 1)] == [b"pruned"]
    await ledgers[0].submit(b"after")
    assert [r.datum for r in await take(ledgers[1], 2)] == [b"pruned", b"after"]


async def test_connections_and_the_node_itself_may_break(cohort, take):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    for n in range(12):
        await ledgers[n % 3].submit(b"%d" % n)
        if n % 3 == 0:
            await cohort.emulator.party(1 + n % 2, "drop")
        if n == 6:
            await cohort.stop()
            await cohort.start()
    orders = [await take(ledger, 12) for ledger in ledgers]
    assert orders[0] == orders[1] == orders[2]
    assert sorted(r.datum for r in orders[0]) == sorted(b"%d" % n for n in range(12))


async def test_a_truncated_history_is_filled_by_other_members(cohort, take):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    for n in range(5):
        await ledgers[n % 3].submit(b"%d" % n)
    records = await take(ledgers[0], 5)
    await cohort.emulator.party(1, "rotate")
    gaps = []

    async def recover(gap, judge):
        gaps.append(gap)
        kept = [Recovered(r.snapshot, r.transaction) for r in records[gap.from_slot - 1 :]]
        before = [r for r in kept if r.snapshot < gap.to_snapshot]
        assert judge(before).complete
        assert not judge(before[:-1]).complete or len(before) == 1
        return before, True

    head_id, start = ledgers[0].status().head_id, ledgers[0].tip.at
    late, _ = await cohort.follow(1, recover=recover, known=records[:2], head_id=head_id, start=start)
    found = await take(late, 3, after=2)
    assert [(r.slot, r.member, r.datum) for r in found] == [(r.slot, r.member, r.datum) for r in records[2:]]
    assert found[0].recovered
    assert not found[-1].recovered
    assert gaps[0].from_slot == 2
    await late.submit(b"and on")
    assert (await take(ledgers[2], 6))[-1].datum == b"and on"


async def test_without_help_a_truncated_history_is_a_stall(cohort, take, event_of):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    for n in range(3):
        await ledgers[0].submit(b"%d" % n)
    await take(ledgers[0], 3)
    await cohort.emulator.party(1, "rotate")
    late = cohort.ledger(1)
    async with trio.open_nursery() as nursery:
        stalls = []

        async def wait():
            stalls.append(await event_of(late, Stalled, reason=StallReason.HISTORY_GAP))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        cohort.nursery.start_soon(late.run)
    assert stalls


async def test_the_end_of_a_head_is_learnt_late(cohort, take):
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    await ledgers[0].submit(b"last words")
    await take(ledgers[0], 1)
    head_id = ledgers[0].status().head_id
    await ledgers[0].close()
    await ledgers[0].fanout()
    late = cohort.ledger(2, head_id=head_id)
    events = []

    async def collect():
        with late.events() as stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, HeadFinalised):
                    return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        await trio.testing.wait_all_tasks_blocked()
        cohort.nursery.start_soon(late.run)
    assert [r.datum for r in await take(late, 1)] == [b"last words"]
    [datum] = events[-1].datums[1]
    assert anchor.decode(datum)[1] == b"last words"


async def test_the_next_head_begins_chains_of_its_own_with_what_the_last_one_left(cohort, take):
    with structlog.testing.capture_logs() as logs:
        for number in (b"first", b"second"):
            ledgers = await _three(cohort)
            await cohort.fund(*ledgers)
            for ledger in ledgers:
                await ledger.submit(number)
            records = await take(ledgers[0], 3)
            assert [r.datum for r in records] == 3 * [number]
            head_id = ledgers[0].status().head_id
            await ledgers[0].close()
            await ledgers[0].fanout()
    chain = await cohort.emulator.chain_utxo(cohort.wallets[0].address)
    report = audit_settlement(chain, {cohort.wallets[0].address: 1}, {1: [b"second"]}, head_id)
    assert report.settled
    assert {"AnchorChainBroken", "ForeignHeadMessage"}.isdisjoint(entry["event"] for entry in logs)


async def test_an_init_that_is_on_its_way_is_not_sent_again(cohort, monkeypatch):
    ledger, _ = await cohort.follow(1)
    sent = []
    monkeypatch.setattr(ledger._session, "command", lambda tag, **fields: sent.append(tag))
    async with HydraNode(cohort.url(1)).connect(history=False) as before_the_restart:
        await before_the_restart.send(json.dumps({"tag": "Init"}))
        with trio.fail_after(120):
            await ledger.open_head(patience=120)
    assert ledger.status().head_id is not None
    assert not sent


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_deposit_that_the_head_does_not_take_in_time_comes_back(hasty, monkeypatch, restarted):
    monkeypatch.setattr("node.ledger.client.ledger.RECOVER_AGAIN", 0.1)
    ledger, scope = await hasty.follow(1)
    await ledger.open_head()
    await hasty.emulator.party(3, "offline")
    address = hasty.wallets[0].address
    before = await hasty.emulator.chain_utxo(address)
    deposit = await ledger.begin_deposit(before)
    assert await ledger.pending_deposits() == [deposit.id]
    if restarted:
        scope.cancel()
        ledger, _ = await hasty.follow(1)
    with trio.fail_after(120), pytest.raises(CommandRefused, match="back on L1"):
        await ledger.end_deposit(deposit)
    after = await hasty.emulator.chain_utxo(address)
    assert [o.lovelace + FEE for o in after.values()] == [o.lovelace for o in before.values()]
    assert not after.keys() & before.keys()
    await hasty.emulator.party(3, "online")
    await ledger.deposit(after)
    assert ledger.status().state is LedgerState.OPEN


async def test_a_deposit_that_a_restart_interrupted_goes_on(cohort):
    ledger, scope = await cohort.follow(1)
    await ledger.open_head()
    await cohort.emulator.party(3, "offline")
    deposit = await ledger.begin_deposit(await cohort.emulator.chain_utxo(cohort.wallets[0].address))
    scope.cancel()
    ledger, _ = await cohort.follow(1)
    await cohort.emulator.party(3, "online")
    with trio.fail_after(120):
        await ledger.end_deposit(deposit)
    assert ledger.status().state is LedgerState.OPEN


async def test_commands_that_the_head_refuses_are_errors(cohort):
    ledger, _ = await cohort.follow(1)
    with pytest.raises(CommandRefused, match="Close"):
        await ledger.close()
    with pytest.raises(CommandRefused, match="no head"):
        await ledger.deposit(await cohort.emulator.chain_utxo(cohort.wallets[0].address))
    await cohort.fund(ledger)
    with pytest.raises(DraftRefused, match="0 outputs"):
        await ledger.deposit({})
    with pytest.raises(CommandRefused, match="/commit"):
        await ledger.deposit({TxIn(bytes(32), 0): TxOut(cohort.wallets[0].address, 5_000_000)})
    with pytest.raises(CommandRefused, match="/commits"):
        await ledger.recover_deposit("xyz")
    assert await ledger.pending_deposits() == []


async def test_breaks_at_full_speed_write_nothing_twice(cohort, take):
    """Connections break while anchors are under way: what a node knows and what was heard of it differ."""
    ledgers = await _three(cohort)
    await cohort.fund(*ledgers)
    each = 8

    async def write(member, ledger):
        for n in range(each):
            await ledger.submit(b"%d of %d" % (n, member))

    async def disturb():
        for n in range(150):
            await cohort.emulator.party(1 + n % 3, "drop")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(disturb)
        for member, ledger in enumerate(ledgers, start=1):
            nursery.start_soon(write, member, ledger)
        orders = [await take(ledger, 3 * each) for ledger in ledgers]
        nursery.cancel_scope.cancel()
    assert orders[0] == orders[1] == orders[2]
    for member in (1, 2, 3):
        assert [r.datum for r in orders[0] if r.member == member] == [
            b"%d of %d" % (n, member) for n in range(each)
        ]
    await ledgers[0].submit(b"the end")
    assert (await take(ledgers[0], 1, after=3 * each))[0].datum == b"the end"


async def test_an_output_is_taken_back_to_l1(cohort):
    ledger, _ = await cohort.follow(1)
    await cohort.fund(ledger)
    wallet = cohort.wallets[0]
    tip = ledger.tip
    body = transaction.build_body((tip.at,), (tip.output,))
    await ledger.decommit(transaction.parse(wallet.sign(body)))
    assert list((await cohort.emulator.chain_utxo(wallet.address)).values()) == [tip.output]
