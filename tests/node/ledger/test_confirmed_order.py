"""One order for all: however snapshots are cut, listed, repeated, and whatever a client already knew."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.ledger import anchor, transaction
from node.ledger.client.order import Order, Recovered, SnapshotMissing
from node.ledger.errors import BrokenChain
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet

HEAD = "ab" * 28
WALLETS = [Wallet(bytes([n]) * 32) for n in (1, 2, 3)]
MEMBERS = {w.address: n for n, w in enumerate(WALLETS, start=1)}
FIRST = {
    n: anchor.Tip(TxIn(bytes([n]) * 32, 0), TxOut(w.address, 5_000_000), anchor.first_link(HEAD))
    for n, w in enumerate(WALLETS, start=1)
}


def after(tx):
    return anchor.Tip(TxIn(tx.id, 0), tx.outputs[0], transaction.blake2b(tx.outputs[0].datum))


def history(authors):
    """Anchors by the authors (1…3) in this order, and a stray payment after each."""
    tips = dict(FIRST)
    transactions = []
    for position, author in enumerate(authors):
        tx = anchor.build(WALLETS[author - 1], tips[author], b"%d by %d" % (position, author))
        tips[author] = after(tx)
        transactions.append(tx)
        payment = transaction.build_body((TxIn(bytes([position]) * 32, 1),), (TxOut(WALLETS[0].address, 2),))
        transactions.append(transaction.parse(WALLETS[1].sign(payment)))
    return transactions


@st.composite
def histories(draw):
    authors = draw(st.lists(st.integers(1, 3), min_size=1, max_size=8))
    transactions = history(authors)
    cuts = sorted(draw(st.sets(st.integers(0, len(transactions)), max_size=5)))
    bounds = [0, *cuts, len(transactions)]
    return [transactions[a:b] for a, b in itertools.pairwise(bounds)]


def read(snapshots, known=()):
    order = Order(MEMBERS, HEAD, known)
    for number, confirmed in enumerate(snapshots, start=1):
        order.feed(number, confirmed)
        order.feed(number, confirmed)
    return order


@given(histories(), st.data())
def test_whatever_order_a_node_lists_a_snapshot_in_all_read_the_same(snapshots, data):
    order = read(snapshots)
    listed = [data.draw(st.permutations(confirmed)) for confirmed in snapshots]
    assert read(listed).records == order.records
    assert [r.slot for r in order.records] == list(range(1, order.slot + 1))
    assert order.broken == []
    for member in (1, 2, 3):
        chain = [r.datum for r in order.records if r.member == member]
        assert order.ends[member].link == anchor.chain_digests(HEAD, chain)[-1]


@given(histories(), st.data())
def test_whatever_was_taken_over_before_the_rest_is_the_same(snapshots, data):
    order = read(snapshots)
    known = order.records[: data.draw(st.integers(0, order.slot))]
    listed = [data.draw(st.permutations(confirmed)) for confirmed in snapshots]
    late = read(listed, known)
    assert late.records == order.records[len(known) :]
    assert late.ends == order.ends
    assert not late.broken


def test_slots_go_by_depth_in_the_chain_and_then_by_member():
    """An order that only the node's list has, such as a seal before an attestation, means nothing."""
    order = Order(MEMBERS, HEAD)
    order.feed(1, history([3, 3, 2, 3, 1]))
    assert [r.datum for r in order.records] == [b"4 by 1", b"2 by 2", b"0 by 3", b"1 by 3", b"3 by 3"]


def test_a_snapshot_that_is_early_is_refused_and_changes_nothing():
    order = Order(MEMBERS, HEAD)
    transactions = history([1, 2])
    with pytest.raises(SnapshotMissing) as early:
        order.feed(2, transactions)
    assert (early.value.expected, early.value.got) == (1, 2)
    assert order.slot == order.last == 0
    order.feed(1, transactions)
    assert order.slot == 2


def test_another_snapshot_than_the_one_that_was_read_before_is_refused():
    before = read([history([1])])
    late = Order(MEMBERS, HEAD, before.records)
    with pytest.raises(BrokenChain):
        late.feed(1, history([2]))
    assert late.slot == 1
    assert late.last == 0


def _payment(wallet, spent, *outputs: TxOut):
    return transaction.parse(wallet.sign(transaction.build_body((spent,), outputs)))


def test_only_what_its_author_signs_and_what_spends_its_chain_is_a_record():
    thief = WALLETS[0]
    real = anchor.build(WALLETS[1], FIRST[2], b"real")
    datum = anchor.encode(b"planted", anchor.first_link(HEAD))
    onward = anchor.encode(b"planted", transaction.blake2b(real.outputs[0].datum))
    planted = _payment(thief, FIRST[1].at, TxOut(WALLETS[1].address, 9_000_000, datum))
    after_it = _payment(thief, TxIn(planted.id, 0), TxOut(WALLETS[1].address, 99_000_000, onward))
    copied = _payment(thief, FIRST[3].at, real.outputs[0])
    order = Order(MEMBERS, HEAD)
    order.feed(1, [planted, copied, real, after_it])
    assert [(r.member, r.datum) for r in order.records] == [(2, b"real")]
    assert order.ends[2] == dataclasses.replace(order.ends[2], at=TxIn(real.id, 0))
    assert order.broken == []


def test_a_member_that_forks_its_own_chain_has_one_all_the_same():
    first = anchor.build(WALLETS[0], FIRST[1], b"one")
    other = anchor.build(WALLETS[0], dataclasses.replace(FIRST[1], at=TxIn(b"\x09" * 32, 0)), b"two")
    beside = anchor.build(WALLETS[0], dataclasses.replace(after(first), at=TxIn(b"\x08" * 32, 0)), b"three")
    unlinked = anchor.build(WALLETS[0], dataclasses.replace(after(first), link=bytes(32)), b"four")
    chosen = min(first, other, key=lambda tx: tx.id)
    for listed in itertools.permutations([first, other]):
        order = Order(MEMBERS, HEAD)
        order.feed(1, listed)
        assert [r.transaction for r in order.records] == [chosen.raw]
        assert order.broken == [1]
    order = Order(MEMBERS, HEAD)
    order.feed(1, [first])
    order.feed(2, [first, other, beside, unlinked])
    assert [r.datum for r in order.records] == [b"one"]
    assert order.broken == [1]


@given(histories(), st.data())
def test_recovered_records_give_the_order_that_the_snapshots_give(snapshots, data):
    order = read(snapshots)
    known = order.records[: data.draw(st.integers(0, order.slot))]
    late = Order(MEMBERS, HEAD, known)
    kept = [Recovered(r.snapshot, r.transaction) for r in order.records[late.whole :]]
    continued = late.with_recovered(kept, len(snapshots))
    assert late.slot == len(known)
    taken = late.adopt(continued, len(snapshots))
    assert [(r.slot, r.datum) for r in taken] == [(r.slot, r.datum) for r in order.records[len(known) :]]
    assert all(r.recovered for r in taken)
    assert late.ends == order.ends
    assert late.last == len(snapshots)


def test_recovered_records_that_no_honest_member_has_are_refused():
    snapshots = [history([1, 2])[:1], history([1, 2])[2:3], history([1, 2, 1])[4:5]]
    order = read(snapshots)
    good = [Recovered(r.snapshot, r.transaction) for r in order.records]
    forged = Recovered(2, WALLETS[0].sign(anchor.build(WALLETS[1], FIRST[2], b"forged").body))
    skipped = anchor.build(WALLETS[0], FIRST[1], b"0 by 1")
    for bad in (
        [good[0], good[0]],
        [good[0], forged, good[2]],
        [good[0], Recovered(2, b"junk"), good[2]],
        [good[0], dataclasses.replace(good[2], snapshot=2), dataclasses.replace(good[1], snapshot=3)][::-1],
        [good[2]],
        [good[1], dataclasses.replace(good[0], snapshot=1)],
        [dataclasses.replace(good[1], snapshot=1), dataclasses.replace(good[0], snapshot=1)],
        [*good, Recovered(4, skipped.raw)],
    ):
        late = Order(MEMBERS, HEAD)
        with pytest.raises(BrokenChain):
            late.with_recovered(bad, 4)
        assert late.slot == late.last == 0


def test_a_member_that_is_ahead_supplies_more_than_is_wanted():
    order = read([history([1, 2])[:1], history([1, 2])[2:3], history([1, 2, 1])[4:5]])
    whole = [Recovered(r.snapshot, r.transaction) for r in order.records]
    late = Order(MEMBERS, HEAD)
    assert len(late.adopt(late.with_recovered(whole, 2), 2)) == late.slot == 2


def test_what_was_known_of_a_snapshot_is_in_what_is_recovered_of_it():
    order = read([history([1, 2, 1])])
    late = Order(MEMBERS, HEAD, order.records[:1])
    with pytest.raises(BrokenChain):
        late.with_recovered([Recovered(r.snapshot, r.transaction) for r in order.records[1:]], 1)
