"""One order for all: however snapshots are cut, repeated, and whatever a client already knew."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.ledger import anchor, transaction
from node.ledger.client.order import Order, Recovered, SnapshotMissing, links_of
from node.ledger.errors import BrokenChain
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet

HEAD = "ab" * 28
WALLETS = [Wallet(bytes([n]) * 32) for n in (1, 2, 3)]
MEMBERS = {w.address: n for n, w in enumerate(WALLETS, start=1)}


def _history(authors):
    """Anchors by the authors (1…3) in this order, and a stray payment between them."""
    tips = {
        n: anchor.Tip(TxIn(bytes([n]) * 32, 0), TxOut(w.address, 5_000_000), anchor.first_link(HEAD))
        for n, w in enumerate(WALLETS, start=1)
    }
    transactions = []
    for position, author in enumerate(authors):
        tx = anchor.build(WALLETS[author - 1], tips[author], b"%d by %d" % (position, author))
        link = transaction.blake2b(tx.outputs[0].datum)
        tips[author] = dataclasses.replace(tips[author], at=TxIn(tx.id, 0), link=link)
        transactions.append(tx)
        payment = transaction.build_body((TxIn(bytes([position]) * 32, 1),), (TxOut(WALLETS[0].address, 2),))
        transactions.append(transaction.parse(WALLETS[1].sign(payment)))
    return transactions


@st.composite
def histories(draw):
    authors = draw(st.lists(st.integers(1, 3), min_size=1, max_size=8))
    transactions = _history(authors)
    cuts = sorted(draw(st.sets(st.integers(0, len(transactions)), max_size=5)))
    bounds = [0, *cuts, len(transactions)]
    return authors, [transactions[a:b] for a, b in itertools.pairwise(bounds)]


@given(histories(), st.data())
def test_every_cursor_gives_the_same_order(history, data):
    authors, snapshots = history
    order = Order(MEMBERS)
    for number, confirmed in enumerate(snapshots, start=1):
        order.feed(number, confirmed)
    assert [(r.slot, r.member) for r in order.records] == list(enumerate(authors, start=1))

    cursor = data.draw(st.sampled_from(order.records))
    late = Order(MEMBERS, cursor)
    for number, confirmed in enumerate(snapshots, start=1):
        late.feed(number, confirmed)
        late.feed(number, confirmed)
    assert late.records == order.records[cursor.slot :]
    assert not late.broken
    assert not order.broken


def test_a_snapshot_that_is_early_is_refused_and_changes_nothing():
    order = Order(MEMBERS)
    transactions = _history([1, 2])
    with pytest.raises(SnapshotMissing) as early:
        order.feed(2, transactions)
    assert (early.value.expected, early.value.got) == (1, 2)
    assert order.slot == order.last == 0
    order.feed(1, transactions)
    assert order.slot == 2


def test_a_cursor_that_the_history_does_not_know_is_an_error():
    order = Order(MEMBERS)
    order.feed(1, _history([1]))
    stranger = dataclasses.replace(order.records[0], transaction="00" * 32)
    with pytest.raises(BrokenChain):
        Order(MEMBERS, stranger).feed(1, _history([1]))


def test_a_member_that_breaks_its_own_chain_is_noticed():
    order = Order(MEMBERS)
    order.begin(HEAD)
    first, _, second, _ = _history([1, 1])
    order.feed(1, [first])
    order.feed(2, [first])
    assert order.broken == [1]
    order.broken.clear()
    honest = Order(MEMBERS)
    honest.begin(HEAD)
    honest.feed(1, [first, second])
    assert honest.broken == []


@given(st.lists(st.integers(1, 3), min_size=2, max_size=8), st.data())
def test_a_gap_is_filled_and_a_crash_within_it_is_harmless(authors, data):
    whole = Order(MEMBERS)
    whole.begin(HEAD)
    for number, tx in enumerate(_history(authors), start=1):
        whole.feed(number, [tx])
    known = data.draw(st.integers(0, len(authors) - 1))
    cursor = whole.records[known - 1] if known else None
    late = Order(MEMBERS, cursor, links_of(3, HEAD, whole.records[:known]))
    missing = [Recovered(r.member, r.datum) for r in whole.records[known:]]
    if known:
        late.feed(cursor.snapshot, _history(authors)[cursor.snapshot - 1 : cursor.snapshot])
    filled = late.fill(whole.last, missing, whole.links)
    assert [r.datum for r in filled] == [r.datum for r in whole.records[known:]]
    assert late.slot == whole.slot

    crashed = data.draw(st.sampled_from(filled))
    again = Order(MEMBERS, crashed, links_of(3, HEAD, whole.records[: crashed.slot]))
    rest = [Recovered(r.member, r.datum) for r in whole.records[crashed.slot :]]
    if again.last < whole.last:
        again.fill(whole.last, rest, whole.links)
    else:
        assert rest == []
    assert again.slot == whole.slot


def test_what_does_not_lead_to_the_head_fills_nothing():
    whole = Order(MEMBERS)
    whole.begin(HEAD)
    whole.feed(1, _history([1, 2, 1]))
    good = [Recovered(r.member, r.datum) for r in whole.records]
    for bad in (
        good[:-1],
        [*good, Recovered(3, b"extra")],
        [good[0], Recovered(2, b"forged"), good[2]],
        [good[2], good[1], good[0]],
        [*good, Recovered(9, b"stranger")],
    ):
        late = Order(MEMBERS)
        late.begin(HEAD)
        with pytest.raises(BrokenChain):
            late.fill(1, bad, whole.links)
        assert late.slot == late.last == 0
    unknowing = Order(MEMBERS, whole.records[0])
    with pytest.raises(BrokenChain, match="cursor"):
        unknowing.fill(1, good[1:], whole.links)
