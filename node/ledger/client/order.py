"""The one order of confirmed anchors, from snapshots: pure, the same for every member.

What the parties sign covers a snapshot's outputs, neither the order nor the completeness of the transactions
that its `confirmed` lists. So the order here is canonical: snapshots by number; within one, anchors by their
depth in their author's chain since the snapshot before, then by author. Depth and author follow from the
outputs, since each chain's last datum commits to all before it: whatever order a node lists them in, all
members give the same slots.

A chain is followed from its first anchor, which links to the head, by spending: an anchor counts only where
it spends the output of the one before and links to its datum. Its author's key has signed it, so no payment
to the author's address is ever taken for one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from node.ledger import anchor, transaction
from node.ledger.anchor import Anchor
from node.ledger.errors import BrokenChain, MalformedTransaction
from node.ledger.interface import Confirmed
from node.ledger.transaction import Transaction, TxIn


class SnapshotMissing(Exception):
    """A snapshot came before those between; `expected` is the first one missing."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"snapshot {got} came, {expected} was expected")
        self.expected = expected
        self.got = got


@dataclass(frozen=True, slots=True)
class Recovered:
    """An anchor that another member supplies where the node's own history is gone: its transaction, with its
    author's witness, and the snapshot that confirmed it."""

    snapshot: int
    transaction: bytes


@dataclass(frozen=True, slots=True)
class End:
    """Where a chain ends: what the next anchor links to, and the output that it spends (None: any of its
    author's, for a first anchor)."""

    link: bytes
    at: TxIn | None = None


class Order:
    """Counts the anchors of `members` (roster indices by address) from the slots `known` on.

    `known` are all records of head `head_id` that were taken over before. Snapshots may be fed again: one
    that is not the next is either known, and ignored, or early, and refused with SnapshotMissing. `last` is
    the last snapshot that is in the order whole, `broken` names members that signed what does not continue
    their chain.
    """

    def __init__(
        self, members: Mapping[bytes, int], head_id: str | None = None, known: Sequence[Confirmed] = ()
    ) -> None:
        self._members = dict(members)
        self.base = len(known)
        self.records: list[Confirmed] = []
        self.broken: list[int] = []
        self.last = known[-1].snapshot - 1 if known else 0
        # The last snapshot is read again: anchors may follow in it after those that were taken over.
        self._again = tuple(record.id for record in known if record.snapshot > self.last)
        self.ends: dict[int, End] = {}
        if head_id is not None:
            self.begin(head_id)
            for record in known[: self.base - len(self._again)]:
                link = transaction.blake2b(anchor.encode(record.datum, self.ends[record.member].link))
                self.ends[record.member] = End(link, TxIn(record.id, 0))

    def begin(self, head_id: str) -> None:
        """Before anything else, every chain links to its head."""
        if not self.ends:
            first = End(anchor.first_link(head_id))
            self.ends = dict.fromkeys(self._members.values(), first)

    @property
    def slot(self) -> int:
        """The last slot given out."""
        return self.base + len(self.records)

    @property
    def whole(self) -> int:
        """The last slot of snapshot `last`: what came after may be the beginning of a snapshot."""
        return self.slot - len(self._again)

    def feed(self, number: int, transactions: Sequence[Transaction]) -> list[Confirmed]:
        """Take in snapshot `number` with its confirmed transactions, in any order; gives the new records.

        Raises BrokenChain, and changes nothing, where it contradicts what was taken over of it before.
        """
        if number <= self.last:
            return []
        if number > self.last + 1:
            raise SnapshotMissing(self.last + 1, number)
        anchors, ends, broken = self._canonical(transactions)
        taken = len(self._again)
        if tuple(each.at.id for each, _ in anchors[:taken]) != self._again:
            raise BrokenChain(f"snapshot {number} is not the one that slot {self.slot} was read from")
        new = [
            Confirmed(slot, each.member, each.record, tx.raw, number)
            for slot, (each, tx) in enumerate(anchors[taken:], start=self.slot + 1)
        ]
        self.records += new
        self.broken += broken
        self.ends, self.last, self._again = ends, number, ()
        return new

    def _canonical(
        self, transactions: Sequence[Transaction]
    ) -> tuple[list[tuple[Anchor, Transaction]], dict[int, End], list[int]]:
        """A snapshot's anchors in their order, where the chains end then, and who signed what is none."""
        found: dict[int, list[tuple[Anchor, Transaction]]] = {}
        for tx in transactions:
            if (read := anchor.read(tx, self._members)) is not None:
                found.setdefault(read.member, []).append((read, tx))
        ends, placed, broken = dict(self.ends), [], []
        for member, candidates in found.items():
            depth = 0
            while (step := _next(candidates, ends[member])) is not None:
                candidates.remove(step)
                ends[member] = End(step[0].next_link, step[0].at)
                placed.append((depth, member, step))
                depth += 1
            broken += [member] * bool(candidates)
        placed.sort(key=lambda item: item[:2])
        return [step for _, _, step in placed], ends, broken

    # gaps

    def with_recovered(self, recovered: Iterable[Recovered], to_snapshot: int) -> Order:
        """A copy that goes on after slot `whole` with what another member supplied up to snapshot
        `to_snapshot`.

        It may have supplied more: whoever is ahead has later ones. The copy's `records` are those after
        `whole`, its `last` is the last snapshot that they name. Raises BrokenChain where a record is not
        its author's next, stands elsewhere than it belongs, or contradicts what is known.
        """
        copy = Order(self._members)
        copy.base, copy.last, copy.ends = self.whole, self.last, dict(self.ends)
        for number, group in itertools.groupby(recovered, key=lambda each: each.snapshot):
            if number > to_snapshot:
                break
            if number <= copy.last:
                raise BrokenChain(f"records of snapshot {number} after those of {copy.last}")
            transactions = [_parsed(each) for each in group]
            anchors, _, _ = copy._canonical(transactions)
            if [tx.id for _, tx in anchors] != [tx.id for tx in transactions]:
                raise BrokenChain(f"records of snapshot {number} that do not continue their authors' chains")
            copy.last = number - 1
            copy.feed(number, transactions)
        again = tuple(record.id for record in copy.records[: len(self._again)])
        if again != self._again[: len(again)]:
            raise BrokenChain(f"other records than the ones that are known up to slot {self.slot}")
        copy.records = [replace(record, recovered=True) for record in copy.records]
        return copy

    def adopt(self, continued: Order, last: int) -> list[Confirmed]:
        """Go on where a copy `with_recovered` is, all snapshots up to `last` taken in; gives what is new."""
        new = continued.records[len(self._again) :]
        self.records += new
        self.ends, self.last, self._again = continued.ends, last, ()
        return new


def _next(candidates: Sequence[tuple[Anchor, Transaction]], end: End) -> tuple[Anchor, Transaction] | None:
    """The anchor that continues a chain; of two first ones, which only their author can sign, the lower
    id."""
    going_on = [
        (each, tx)
        for each, tx in candidates
        if each.link == end.link and (end.at is None or end.at in tx.inputs)
    ]
    return min(going_on, key=lambda step: step[1].id, default=None)


def _parsed(recovered: Recovered) -> Transaction:
    try:
        return transaction.parse(recovered.transaction)
    except MalformedTransaction as error:
        raise BrokenChain(error.what) from None
