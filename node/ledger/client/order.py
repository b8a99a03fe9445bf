"""The one order of confirmed anchors, from snapshots: pure, the same for every member."""

from __future__ import annotations

import dataclasses
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

    `links` says where the members' chains were at the cursor (`links_of`); only filling a gap needs it. Slots
    come from snapshot number, then position in `confirmed`. Snapshots may be fed again: one that is not the
    next is either known, and ignored, or early, and refused with SnapshotMissing.
    """

    def __init__(
        self,
        members: Mapping[bytes, int],
        cursor: Confirmed | None = None,
        links: Mapping[int, bytes] | None = None,
    ) -> None:
        self._members = dict(members)
        self._cursor = cursor
        self.base = cursor.slot if cursor else 0
        self.records: list[Confirmed] = []
        # The cursor's snapshot is read again, anchors after the cursor's may follow in it; a record that
        # filled a gap has no transaction, and says up to which snapshot all is known.
        self.last = 0 if cursor is None else cursor.snapshot - 1 if cursor.transaction else cursor.snapshot
        self.links = dict(links or {})
        self.broken: list[int] = []

    def begin(self, head_id: str) -> None:
        """Before anything else, every chain links to its head."""
        if self._cursor is None and self.slot == 0:
            self.links = dict.fromkeys(self._members.values(), anchor.first_link(head_id))

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
        if strangers := {r.member for r in wanted} - set(ends):
            raise BrokenChain(f"records of members {sorted(strangers)}, who have no chain in the head")
        for member, end in ends.items():
            if member not in self.links:
                raise BrokenChain("it is not known where the chain was at the cursor", member=member)
            anchor.follow(member, self.links[member], (r.datum for r in wanted if r.member == member), end)
        new = [
            Confirmed(slot, r.member, r.datum, "", self.last)
            for slot, r in enumerate(wanted, start=self.slot + 1)
        ]
        if new:
            # Only the last one vouches for the end of the gap: a crash before it fills the rest again.
            new[-1] = dataclasses.replace(new[-1], snapshot=to_snapshot)
        self.records += new
        self.links.update(ends)
        self.last = to_snapshot
        return new


def links_of(members: int, head_id: str, records: Iterable[Confirmed]) -> dict[int, bytes]:
    """Where each of `members` chains stands after `records`, all of them, in order."""
    links = dict.fromkeys(range(1, members + 1), anchor.first_link(head_id))
    for record in records:
        datum = anchor.encode(record.datum, links[record.member])
        links[record.member] = transaction.blake2b(datum)
    return links
