"""What other members supply of a forgotten order is taken as far as an honest member stands behind it."""

from __future__ import annotations

import msgspec
import pytest
import structlog
import trio

from node.engine.gaps import Gaps
from node.envelope import Order as Answer
from node.envelope import OrderPart, OrderWanted
from node.ledger import anchor, transaction
from node.ledger.client.checks import unfinished
from node.ledger.client.order import Order, Recovered
from node.ledger.client.session import Judged
from node.ledger.errors import BrokenChain, HistoryGap
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet
from protocol.errors import MemberFault
from protocol.history import START, extend
from protocol.records import Record, Seal

HEAD = "ab" * 28
WALLETS = [Wallet(bytes([n]) * 32) for n in (1, 2, 3, 4)]
MEMBERS = {w.address: n for n, w in enumerate(WALLETS, start=1)}
ME, CURRENT = 2, 9
GAP = HistoryGap(1, None, from_snapshot=1, to_snapshot=CURRENT)


def _first(n):
    output = TxOut(WALLETS[n - 1].address, 5_000_000)
    return anchor.Tip(TxIn(bytes([n]) * 32, 0), output, anchor.first_link(HEAD))


class Log:
    """A head's log as it is written: `say` confirms a record of a member in a snapshot of its own."""

    def __init__(self) -> None:
        self.tips = {n: _first(n) for n in MEMBERS.values()}
        self.digests = [START]
        self.kept: list[tuple[int, bytes]] = []
        self.utxo: dict[str, dict[str, object]] = {}

    def claim(self, member, seen):
        body = Seal(len(self.kept) + 1)
        return Record(1, bytes(32), member, 1, bytes(32), seen, self.digests[seen], body).to_bytes()

    def say(self, member, seen=None, data=None):
        data = data or self.claim(member, len(self.kept) if seen is None else seen)
        tx = anchor.build(WALLETS[member - 1], self.tips[member], data)
        self.utxo.pop(str(self.tips[member].at), None)
        self.tips[member] = anchor.Tip(
            TxIn(tx.id, 0), tx.outputs[0], transaction.blake2b(tx.outputs[0].datum)
        )
        self.utxo[f"{tx.id.hex()}#0"] = {
            "address": transaction.address_text(WALLETS[member - 1].address),
            "inlineDatumRaw": tx.outputs[0].datum.hex(),
        }
        self.kept.append((len(self.kept) + 1, tx.raw))
        self.digests.append(extend(self.digests[-1], member, data))
        return self


def _judge(utxo):
    def judge(recovered):
        order = Order(MEMBERS, HEAD).with_recovered(recovered, CURRENT - 1)
        return Judged(order, not unfinished(order.ends, utxo, MEMBERS), tuple(order.records))

    return judge


def interleaved(authors, snapshot=None):
    """Records without meaning, whose chains are the same in any interleaving."""
    log, count = Log(), dict.fromkeys(MEMBERS.values(), 0)
    for member in authors:
        count[member] += 1
        log.say(member, data=b"record %d of %d" % (count[member], member))
    if snapshot:
        log.kept = [(snapshot, raw) for _, raw in log.kept]
    return log


def part(log, until=CURRENT - 1, kept=None):
    return Answer(until, tuple(log.kept if kept is None else kept))


PATIENCE = 4  # times that a member is asked until it is clear that nothing is filled


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("node.engine.gaps.ANSWER_SECONDS", 0.1)


async def fill(answers, utxo, vouchers=2, judge=None):
    """What is filled in when members answer so (None: nothing), and who was asked, in their order."""
    asked: list[int] = []

    async def ask(member, wanted):
        await trio.lowlevel.checkpoint()
        asked.append(member)
        assert wanted == OrderWanted(HEAD, 0)
        if asked.count(member) > PATIENCE:
            scope.cancel()
        elif member in answers:
            gaps.answered(member, answers[member])

    gaps = Gaps([1, 3, 4], ask, vouchers)
    found = None
    with trio.CancelScope() as scope:
        found = await gaps.fill(GAP, HEAD, START, judge or _judge(utxo))
    return found and ([(r.snapshot, r.transaction) for r in found[0]], found[1]), asked


TRUE, FORGED = interleaved([3, 4, 1]), interleaved([1, 3, 4])


@pytest.mark.parametrize("order", [(1, 3, 4), (3, 1, 4), (4, 3, 1)])
async def test_one_liar_among_three_does_not_choose_the_interleaving(order):
    assert TRUE.utxo == FORGED.utxo
    answers = {member: part(FORGED if member == order[0] else TRUE) for member in order}
    found, _ = await fill(answers, TRUE.utxo)
    assert found == (TRUE.kept, True)


async def test_one_answer_alone_is_not_believed_where_there_may_be_a_colluder():
    found, asked = await fill({1: part(FORGED)}, TRUE.utxo)
    assert found is None
    assert asked.count(4) > 1
    found, _ = await fill({1: part(FORGED), 3: part(TRUE)}, TRUE.utxo)
    assert found is None


async def test_of_two_members_the_other_one_suffices():
    found, _ = await fill({3: part(TRUE)}, TRUE.utxo, vouchers=1)
    assert found == (TRUE.kept, True)


FORGERY = Recovered(2, WALLETS[0].sign(anchor.build(WALLETS[2], _first(3), b"never said").body))


async def test_members_that_are_ahead_are_believed_up_to_where_this_node_has_its_own():
    log = interleaved([3, 4, 1])
    later = interleaved([3, 4, 1, 1, 3])
    ahead = part(log, until=CURRENT + 3, kept=[*log.kept, *((CURRENT + n, raw) for n, raw in later.kept[3:])])
    found, _ = await fill({3: ahead, 4: part(log)}, log.utxo)
    assert found == (log.kept, True)


BOGUS = {
    "longer": part(TRUE, kept=[*TRUE.kept, (4, anchor.build(WALLETS[0], _first(1), b"junk").raw)]),
    "without signatures": part(
        TRUE, kept=[(s, transaction.assemble(transaction.parse(raw).body, ())) for s, raw in TRUE.kept]
    ),
    "signed by another": part(TRUE, kept=[(FORGERY.snapshot, FORGERY.transaction)]),
    "junk": part(TRUE, kept=[(1, b"\x84junk")]),
    "backwards": part(TRUE, kept=TRUE.kept[::-1]),
}


@pytest.mark.parametrize("kind", BOGUS)
async def test_a_bogus_answer_is_its_senders_and_wedges_nothing(kind):
    with structlog.testing.capture_logs() as logs:
        found, _ = await fill({1: BOGUS[kind], 3: part(TRUE), 4: part(TRUE)}, TRUE.utxo)
    assert found == (TRUE.kept, True)
    assert {e["other"] for e in logs if e["event"] == "OrderAnswerRefused"} <= {1}
    with structlog.testing.capture_logs() as logs:
        found, asked = await fill({1: BOGUS[kind], 3: part(TRUE)}, TRUE.utxo)
    assert found is None
    assert {e["other"] for e in logs if e["event"] == "OrderAnswerRefused"} == {1}
    assert asked.count(1) == 1 < asked.count(3)


async def test_where_everybody_seems_to_be_wrong_it_begins_anew():
    _, asked = await fill(dict.fromkeys((1, 3, 4), BOGUS["junk"]), TRUE.utxo)
    assert asked.count(1) > 1


async def test_a_shorter_answer_is_not_the_end_of_the_log():
    short = part(TRUE, kept=TRUE.kept[:2])
    found, _ = await fill({1: short, 3: part(TRUE), 4: part(TRUE)}, TRUE.utxo)
    assert found == (TRUE.kept, True)
    found, _ = await fill({1: short, 3: short}, TRUE.utxo)
    assert found == (TRUE.kept[:2], True), "two say that they have read everything, and that there is no more"
    found, _ = await fill({1: part(TRUE, until=2, kept=TRUE.kept[:2]), 3: short}, TRUE.utxo)
    assert found == (TRUE.kept[:1], False), "more may follow in the last snapshot of one that is behind"


async def test_records_vouch_for_the_order_that_their_authors_had_read():
    """One answer is enough where confirmed records of two members name the digest that it leads to."""
    log = Log().say(1).say(3).say(4).say(3).say(4)
    found, _ = await fill({3: part(log)}, log.utxo)
    assert found is None, "nobody but its sender stands behind the last record"
    log.say(1, seen=5).say(4, seen=6)
    found, _ = await fill({3: part(log)}, log.utxo)
    assert found is None
    assert await _with_current(log, 6, {3: part(log, kept=log.kept[:6])}) == (log.kept[:6], True)
    assert await _with_current(log, 6, {4: part(log, kept=log.kept[:6])}) is None, "only 4 has read the sixth"


async def _with_current(log, count, answers):
    """The head's newest snapshot, which this member's own node has, holds the records after `count`."""

    def judge(recovered):
        order = Order(MEMBERS, HEAD).with_recovered(recovered, CURRENT - 1)
        then = Order(MEMBERS, HEAD).with_recovered(recovered, CURRENT - 1)
        then.last = CURRENT - 1
        then.feed(CURRENT, [transaction.parse(raw) for _, raw in log.kept[count:]])
        return Judged(order, not unfinished(then.ends, log.utxo, MEMBERS), tuple(then.records))

    return (await fill(answers, log.utxo, judge=judge))[0]


async def test_a_record_that_names_another_order_vouches_for_nothing():
    log = Log().say(1).say(3)
    lying = msgspec.structs.replace(Record.from_bytes(log.claim(4, 2)), order=b"\x07" * 32).to_bytes()
    log.say(4, data=lying)
    found, _ = await fill({3: part(log)}, log.utxo)
    assert found is None


async def test_long_gaps_are_filled_by_parts_as_far_as_they_are_vouched_for():
    log = interleaved([1, 3, 4, 1, 3, 4])
    cut = part(log, until=3, kept=log.kept[:4])
    found, _ = await fill({1: cut, 3: cut}, log.utxo)
    assert found == (log.kept[:3], False)


async def test_answers_to_nothing_that_was_asked_are_refused_at_the_door():
    async def ask(member, wanted):
        await trio.lowlevel.checkpoint()
        asked.set()

    gaps, asked = Gaps([1, 3], ask, 1), trio.Event()
    with pytest.raises(MemberFault):
        gaps.wanted(1, OrderPart(HEAD, 0), 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gaps.fill, GAP, HEAD, START, _judge(TRUE.utxo))
        await asked.wait()
        for other in (OrderPart(HEAD, 1), OrderPart("cd" * 28, 0)):
            with pytest.raises(MemberFault):
                gaps.wanted(1, other, 100)
        with pytest.raises(MemberFault):
            gaps.wanted(4, OrderPart(HEAD, 0), 100)
        with pytest.raises(MemberFault):
            gaps.wanted(1, OrderPart(HEAD, 0), Answer.LIMIT + 1)
        await gaps.wanted(1, OrderPart(HEAD, 0), 100)(part(TRUE).to_bytes())
        with pytest.raises(MemberFault):
            gaps.wanted(1, OrderPart(HEAD, 0), 100)


def test_what_a_judge_refuses_is_refused_for_a_reason():
    with pytest.raises(BrokenChain, match="continue"):
        Order(MEMBERS, HEAD).with_recovered([FORGERY], 8)
