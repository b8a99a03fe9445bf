"""The emulated head's core, without clock or socket: snapshots, stalls, deposits, its end, its log."""

from __future__ import annotations

import contextlib
import json

import pytest

from node.ledger import anchor, transaction
from node.ledger.emulator import events as ev
from node.ledger.emulator.head import MAX_TRANSACTIONS, Head, Refused
from node.ledger.emulator.rules import Invalid
from node.ledger.emulator.state import Genesis
from node.ledger.emulator.store import BrokenStore, Store, read_genesis
from node.ledger.emulator.views import Views
from node.ledger.snapshot import verified
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet

WALLETS = [Wallet(bytes([n]) * 32) for n in (1, 2, 3)]


class Driver:
    """A head and a clock that jumps to whatever is due."""

    def __init__(self, head) -> None:
        self.head = head
        self.now = 1000.0

    def settle(self):
        for _ in range(100):
            self.head.tick(self.now)
            due = self.head.next_due(self.now)
            if due is None or due > self.now + 30:
                return self.head.state
            self.now = max(self.now, due) + 0.001
        raise AssertionError("the head does not come to rest")

    def say(self, party, tag, subject=None):
        replies = self.head.command(party, tag, subject, self.now)
        self.settle()
        return [r.tag for r in replies]

    def fund(self, wallet, *, sign=True):
        utxo = {at: o for at, o in self.head.state.chain.items() if o.address == wallet.address}
        tx = self.head.draft_deposit(utxo, utxo, self.now)
        self.head.submit(transaction.parse(wallet.sign(tx.body)) if sign else tx, self.now)
        return tx.id.hex()

    def kinds(self, since=0):
        return [type(e).__name__ for e in self.head.state.events[since:]]


def _genesis(**changes: object):
    return Genesis(
        hydra_seeds=tuple(bytes([0x40 + n]) * 32 for n in range(3)),
        participants=tuple(w.key_hash for w in WALLETS),
        funds=tuple((w.address, 500_000_000) for w in WALLETS),
        **{"contestation_period": 20, **changes},
    )


@pytest.fixture
def head():
    return Driver(Head(_genesis()))


@pytest.fixture
def opened(head):
    head.say(0, "Init")
    head.fund(WALLETS[0])
    head.settle()
    return head


def _pay(head, count, size=2_000_000):
    """Split the first member's output, then `count` payments that do not depend on each other."""
    wallet = WALLETS[0]
    [(at, output)] = head.head.state.active_utxo().items()
    pieces = [TxOut(wallet.address, size)] * count
    rest = TxOut(wallet.address, output.lovelace - size * count)
    body = transaction.build_body((at,), (*pieces, rest))
    split = transaction.parse(wallet.sign(body))
    head.say(0, "NewTx", split)
    return [
        transaction.parse(
            wallet.sign(transaction.build_body((TxIn(split.id, n),), (TxOut(WALLETS[1].address, size),)))
        )
        for n in range(count)
    ]


def test_a_deposit_becomes_part_of_the_head(opened):
    state = opened.head.state
    assert [o.lovelace for o in state.active_utxo().values()] == [500_000_000]
    assert state.version == 1
    assert opened.kinds()[-5:] == [
        "SnapshotRequested",
        "SnapshotConfirmed",
        "CommitApproved",
        "ChainPosted",
        "CommitFinalized",
    ]
    assert all(o.address != WALLETS[0].address for o in state.chain.values())


def test_snapshots_are_signed_by_all_and_hold_at_most_a_hundred(opened):
    payments = _pay(opened, 150)
    opened.head.delay[2] = 5
    for tx in payments:
        opened.head.command(0, "NewTx", tx, opened.now)
    opened.settle()
    state = opened.head.state
    sizes = [len(s.transactions) for s, _ in state.confirmations.values()]
    assert sum(sizes) == 151
    assert max(sizes) == MAX_TRANSACTIONS
    for snapshot, signatures in state.confirmations.values():
        keys = [bytes.fromhex(s) for s in signatures]
        assert verified(snapshot.signable(), keys, opened.head.vkeys)
    numbers = [s.number for s, _ in state.confirmations.values()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_leader_of_the_next_snapshot_must_be_there(opened):
    [one, two] = _pay(opened, 2)
    leader = opened.head.state.number % 3
    opened.head.set_online(leader, False, opened.now)
    mark = len(opened.head.state.events)
    opened.say((leader + 1) % 3, "NewTx", one)
    assert opened.kinds(mark) == ["TransactionApplied"]
    opened.head.set_online(leader, True, opened.now)
    opened.settle()
    assert "SnapshotConfirmed" in opened.kinds(mark)
    follower = (opened.head.state.number + 1) % 3
    opened.head.set_online(follower, False, opened.now)
    mark = len(opened.head.state.events)
    opened.say((follower + 1) % 3, "NewTx", two)
    assert opened.kinds(mark) == ["TransactionApplied", "SnapshotRequested"]
    assert len(opened.head.signatories()) == 2


def test_an_offline_node_tells_its_clients_later_in_the_same_order(opened):
    [one] = _pay(opened, 1)
    opened.head.set_online(2, False, opened.now)
    before = len(opened.head.state.parties[2].feed)
    opened.say(0, "NewTx", one)
    assert len(opened.head.state.parties[2].feed) == before
    opened.head.set_online(2, True, opened.now)
    opened.settle()
    events = opened.head.state.events
    feeds = [[i for i, _ in p.feed if events[i].party is None] for p in opened.head.state.parties]
    confirmed = [[i for i in f if isinstance(events[i], ev.SnapshotConfirmed)] for f in feeds]
    assert confirmed[0] == confirmed[2]
    for party in opened.head.state.parties:
        sequence = [s for _, s in party.feed]
        assert sequence == sorted(set(sequence))


def test_without_a_majority_nothing_happens_until_it_is_back(opened):
    [one] = _pay(opened, 1)
    for party in (1, 2):
        opened.head.set_online(party, False, opened.now)
    mark = len(opened.head.state.events)
    assert opened.say(0, "NewTx", one) == []
    assert opened.kinds(mark) == []
    opened.head.set_online(1, True, opened.now)
    opened.settle()
    assert "TransactionApplied" in opened.kinds(mark)
    assert "SnapshotConfirmed" not in opened.kinds(mark)
    opened.head.set_online(2, True, opened.now)
    opened.settle()
    assert "SnapshotConfirmed" in opened.kinds(mark)


def test_pruning_drops_what_is_pending_and_its_outputs(opened):
    [one] = _pay(opened, 1)
    opened.head.set_online(1, False, opened.now)
    opened.say(0, "NewTx", one)
    opened.head.prune(opened.now)
    state = opened.head.state
    assert state.local_utxo == state.active_utxo()
    assert not state.pending
    assert state.in_flight is None
    opened.head.set_online(1, True, opened.now)
    opened.say(0, "NewTx", one)
    assert TxIn(one.id, 0) in state.active_utxo()


def test_side_loading_everywhere_prunes(opened):
    [one] = _pay(opened, 1)
    opened.head.delay[1] = 3600
    opened.head.command(0, "NewTx", one, opened.now)
    opened.head.tick(opened.now)
    wanted = (opened.head.state.confirmed, opened.head.state.signatures)
    for party in (0, 1):
        opened.head.command(party, "SideLoadSnapshot", wanted, opened.now)
        assert opened.head.state.in_flight is not None
    opened.head.command(2, "SideLoadSnapshot", wanted, opened.now)
    assert opened.head.state.in_flight is None
    assert not opened.head.state.pending


def test_a_decommit_takes_an_output_to_l1(opened):
    wallet = WALLETS[0]
    _pay(opened, 1)
    utxo = opened.head.state.active_utxo()
    at, output = max(utxo.items(), key=lambda pair: pair[1].lovelace)
    tx = transaction.parse(wallet.sign(transaction.build_body((at,), (output,))))
    opened.say(0, "Decommit", tx)
    assert opened.head.state.chain[TxIn(tx.id, 0)] == output
    assert TxIn(tx.id, 0) not in opened.head.state.active_utxo()
    assert opened.head.state.version == 2
    opened.say(0, "Decommit", tx)
    assert opened.kinds()[-1] == "DecommitInvalid"


def test_an_unused_deposit_expires_and_is_recovered():
    driver = Driver(Head(_genesis(deposit_period=10, deposit_activation=1)))
    driver.say(0, "Init")
    driver.head.set_online(1, False, driver.now)
    deposit = driver.fund(WALLETS[0])
    driver.head.tick(driver.now)
    assert [r.tag for r in driver.head.command(0, "Recover", deposit, driver.now)] == ["PostTxOnChainFailed"]
    driver.settle()
    assert driver.kinds()[-1] == "DepositExpired"
    driver.now += 30
    driver.say(0, "Recover", deposit)
    assert driver.kinds()[-1] == "CommitRecovered"
    state = driver.head.state
    assert [o.lovelace for o in state.chain.values() if o.address == WALLETS[0].address] == [500_000_000]
    assert driver.head.command(0, "Recover", "00" * 32, driver.now) == []
    views = Views(driver.head, [("h", 1)] * 3)
    told = [views.output(n) for n, _ in enumerate(state.events)]
    assert [m["tag"] for m in told if m][-4:] == [
        "CommitRecorded",
        "DepositActivated",
        "DepositExpired",
        "CommitRecovered",
    ]


def test_deposits_need_an_open_head_existing_outputs_and_the_owner(head):
    with pytest.raises(Refused, match="not open"):
        head.fund(WALLETS[0])
    head.say(0, "Init")
    unknown = {TxIn(bytes(32), 0): TxOut(WALLETS[0].address, 5)}
    with pytest.raises(Refused, match="not on L1"):
        head.head.draft_deposit(unknown, unknown, head.now)
    with pytest.raises(Invalid, match="MissingVKeyWitnesses"):
        head.fund(WALLETS[0], sign=False)


def test_fan_out_keeps_outputs_and_inline_datums(opened):
    wallet = WALLETS[0]
    [(at, output)] = opened.head.state.active_utxo().items()
    tip = anchor.Tip(at, output, anchor.first_link(opened.head.state.head_id))
    tx = anchor.build(wallet, tip, b"the last word")
    opened.say(0, "NewTx", tx)
    opened.say(1, "Close")
    assert opened.kinds()[-2:] == ["HeadClosed", "ReadyToFanout"]
    opened.say(2, "Fanout")
    assert opened.head.state.status == "Idle"
    assert tx.outputs[0] in opened.head.state.chain.values()
    assert sum(o.lovelace for o in opened.head.state.chain.values()) == 1_500_000_000
    opened.say(0, "Init")
    assert opened.head.state.status == "Open"
    assert opened.head.state.number == 0


@pytest.mark.parametrize("tag", ["Close", "SafeClose", "Contest", "Fanout", "NewTx", "Decommit"])
def test_commands_out_of_season_fail(head, tag):
    assert head.say(1, tag) == ["CommandFailed"]


def _fingerprint(head):
    state = head.state
    return (
        state.status,
        state.head_id,
        state.version,
        state.confirmed,
        state.local_utxo,
        list(state.pending),
        state.chain,
        {k: (d.status, d.utxo) for k, d in state.deposits.items()},
        [p.feed for p in state.parties],
        state.posted,
    )


async def test_the_log_gives_the_same_head_again(opened, tmp_path):
    payments = _pay(opened, 5)
    opened.head.set_online(2, False, opened.now)
    for tx in payments[:3]:
        opened.say(0, "NewTx", tx)
    with contextlib.closing(Store(tmp_path / "head")) as store:
        await store.append(opened.head.state.events)
        again = Driver(Head(_genesis(), store.load()))
    assert _fingerprint(again.head) == _fingerprint(opened.head)
    for driver in (opened, again):
        driver.now = 5000.0
        driver.head.set_online(2, True, driver.now)
        driver.settle()
    assert again.head.state.active_utxo() == opened.head.state.active_utxo()
    assert again.head.state.number == opened.head.state.number


async def test_a_torn_last_line_is_dropped_and_other_damage_refused(opened, tmp_path):
    folder = tmp_path / "head"
    with contextlib.closing(Store(folder)) as store:
        await store.append(opened.head.state.events)
        log = folder / "events.jsonl"
        whole = log.read_bytes()
        log.write_bytes(whole + b'{"event":"HeadOp')
        assert len(store.load()) == len(opened.head.state.events)
        assert log.read_bytes() == whole
        log.write_bytes(whole.replace(b'"HeadOpened"', b'"HeadOpenee"'))
        with pytest.raises(BrokenStore, match="damaged"):
            store.load()


def test_the_genesis_is_kept_and_private(tmp_path):
    folder = tmp_path / "head"
    with contextlib.closing(Store(folder)) as store:
        with pytest.raises(BrokenStore, match="participants"):
            store.genesis(None)
        assert store.genesis(_genesis()) == _genesis()
        assert store.genesis(None) == _genesis()
        with pytest.raises(BrokenStore, match="in use"):
            Store(folder)
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0
    (folder / "genesis.json").write_text(json.dumps({"hydra_seeds": 3}))
    with pytest.raises(BrokenStore, match="not a genesis"):
        read_genesis(folder)
