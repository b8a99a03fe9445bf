"""The one order of confirmed anchors, from snapshots: pure, the same for every member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.ledger import anchor, transaction
from node.ledger.errors import BrokenChain
from node.ledger.interface import Confirmed
from node.ledger.transaction import Transaction


class SnapshotMissing(Exception):
    """A snapshot came before those between; `expected` is the first one missing."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"snapshot {got} came, {expected} was expected")
        self.expected = expected
        self.got = got


@dataclass(frozen=True, slots=True)
class Recovered:
    """A record that another member supplies where the node's own history is gone."""

    member: int
    datum: bytes


class Order:
    """Counts the anchors of `members` (addresses by roster index) in snapshot order from `cursor` on.

    Slots come from snapshot number, then position in `confirmed`. Snapshots may be fed again: one that is
    not the next is either known, and ignored, or early, and refused with SnapshotMissing.
    """

    def __init__(self, members: Mapping[bytes, int], cursor: Confirmed | None = None) -> None:
        self._members = dict(members)
        self._cursor = cursor
        self.base = cursor.slot if cursor else 0
        self.records: list[Confirmed] = []
        # The cursor's snapshot is read again: anchors after the cursor's may follow in it.
        self.last = cursor.snapshot - 1 if cursor else 0
        self.links: dict[int, bytes] = {}
        self.broken: list[int] = []

    @property
    def slot(self) -> int:
        """The last slot given out."""
        return self.base + len(self.records)

    def feed(self, number: int, transactions: Sequence[Transaction]) -> list[Confirmed]:
        """Take in snapshot `number` with its confirmed transactions; gives the new records."""
        if number <= self.last:
            return []
        if number > self.last + 1:
            raise SnapshotMissing(self.last + 1, number)
        anchors = [a for tx in transactions if (a := anchor.read(tx, self._members)) is not None]
        known = self._known(number, anchors)
        for old in anchors[:known]:
            self.links[old.member] = old.next_link
        new = [self._append(a, number) for a in anchors[known:]]
        self.last = number
        return new

    def _known(self, number: int, anchors: Sequence[anchor.Anchor]) -> int:
        """How many of a snapshot's anchors the cursor already covers."""
        if self._cursor is None or number != self._cursor.snapshot:
            return 0
        ids = [a.at.id.hex() for a in anchors]
        if self._cursor.transaction not in ids:
            raise BrokenChain(f"snapshot {number} lacks the transaction of slot {self._cursor.slot}")
        return ids.index(self._cursor.transaction) + 1

    def _append(self, new: anchor.Anchor, number: int) -> Confirmed:
        expected = self.links.get(new.member)
        if expected is not None and new.link != expected:
            self.broken.append(new.member)
        self.links[new.member] = new.next_link
        record = Confirmed(self.slot + 1, new.member, new.record, new.at.id.hex(), number)
        self.records.append(record)
        return record

    def fill(
        self, to_snapshot: int, recovered: Iterable[Recovered], ends: Mapping[int, bytes]
    ) -> list[Confirmed]:
        """Put `recovered` in place of the snapshots up to `to_snapshot`, in the order given.

        `ends` is what each member's chain must lead to: the hash of the datum that the head holds now, or
        that the next anchor links to. Raises BrokenChain, and changes nothing, where it does not.
        """
        wanted = list(recovered)
        for member, end in ends.items():
            mine = [r.datum for r in wanted if r.member == member]
            start = self.links.get(member)
            if start is not None:
                anchor.follow(member, start, mine, end)
        new = []
        for item in wanted:
            link = self.links.get(item.member)
            if link is not None:
                self.links[item.member] = transaction.blake2b(anchor.encode(item.datum, link))
            record = Confirmed(self.slot + 1, item.member, item.datum, "", to_snapshot)
            self.records.append(record)
            new.append(record)
        self.links.update(ends)
        self.last = to_snapshot
        return new
