"""What the order of records means: written from the protocol's table, independently of `History`.

The checkers measure members against this, and Byzantine members take their bearings from it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from protocol.encoding import canonical
from protocol.encoding.errors import EncodingError
from protocol.errors import MemberFault
from protocol.history import LOOKBACK
from protocol.inputs import Confirmed
from protocol.manifest import Manifest
from protocol.membership import verify_membership
from protocol.records import Blob, Record

View = tuple[Any, ...]
"""What members must agree on after a slot."""


@dataclass
class Round:
    """A round as the order has it: `model` is the digest it was opened with, '' if it was burned."""

    number: int
    base: bytes = b""
    waited: set[int] = field(default_factory=set)
    commits: dict[int, Blob] = field(default_factory=dict)
    verified: dict[int, set[int]] = field(default_factory=dict)
    refused: dict[int, set[int]] = field(default_factory=dict)
    expired: set[int] = field(default_factory=set)
    votes: set[int] = field(default_factory=set)
    opening: int = 0
    sealed: dict[int, Blob] | None = None
    shares: dict[int, Blob] = field(default_factory=dict)
    results: dict[int, tuple[bytes, bool]] = field(default_factory=dict)
    over: bool = False
    given_up: bool = False
    model: bytes = b""
    discarded: bool = False

    def spoken(self, member: int) -> set[int]:
        """Whose commits a member attested or refused."""
        return self.verified.get(member, set()) | self.refused.get(member, set())


class Reading:
    """Reads one slot after the other; `views[k]` is what holds after slot k."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.needed = manifest.thresholds.shares
        self.quorum = manifest.thresholds.quorum
        self.colluders = manifest.thresholds.colluders
        self.votes = min(self.colluders + 1, self.needed)
        self.phase = "joining"
        self.joined: set[int] = set()
        self.attempt = 0
        self.keys: dict[int, bytes] = {}
        self.key = b""
        self.stops: set[int] = set()
        self.out: set[int] = set()
        self.missed: dict[int, int] = {}
        self.sums: dict[bytes, list[set[int]]] = {}
        self.ranged = manifest.encoding.ranged
        self.rounds: dict[int, Round] = {}
        self.current = Round(0)
        self.opened = 0
        self.model = manifest.model
        self.chains: dict[int, tuple[int, bytes]] = {}
        self.orders: list[bytes] = [bytes(32)]
        self.valid: list[bool] = []
        self.records: list[Record | None] = []
        self.views: list[View] = [self._view()]

    def read(self, slot: Confirmed) -> bool:
        """Take in the next slot; whether its record counts."""
        record = self._decode(slot.data)
        valid = False
        if record is not None and self._continues(slot.author, record):
            self.chains[slot.author] = (record.seq, record.digest())
            if not self._same_order(record) or slot.author in self.out:
                return self._note(slot, record, valid=False)
            valid = getattr(self, f"_{record.kind.lower()}")(slot.author, record.body)
        return self._note(slot, record, valid=valid)

    def _note(self, slot: Confirmed, record: Record | None, *, valid: bool) -> bool:
        entry = slot.author.to_bytes(2, "big") + hashlib.sha256(slot.data).digest()
        self.orders.append(hashlib.sha256(b"starling/1 order" + self.orders[-1] + entry).digest())
        self.records.append(record)
        self.valid.append(valid)
        self.views.append(self._view())
        return valid

    def _decode(self, data: bytes) -> Record | None:
        try:
            return Record.from_bytes(data)
        except EncodingError:
            return None

    def _continues(self, author: int, record: Record) -> bool:
        seq, last = self.chains.get(author, (0, bytes(32)))
        continues = record.member == author and (record.seq, record.prev) == (seq + 1, last)
        return continues and record.job == self.manifest.job

    def _same_order(self, record: Record) -> bool:
        slots = len(self.orders) - 1
        return slots - LOOKBACK < record.seen <= slots and self.orders[record.seen] == record.order

    def _view(self) -> View:
        now = self.current
        sealed = None if now.sealed is None else tuple((m, blob.root) for m, blob in now.sealed.items())
        return (self.phase, self.attempt, self.key, now.number, sealed, self.opened, self.model)

    def _join(self, author: int, body: Any) -> bool:
        if self.phase != "joining" or author in self.joined:
            return False
        try:
            verify_membership(self.manifest, author, body.proof)
        except MemberFault:
            return False
        self.joined.add(author)
        if len(self.joined) == self.manifest.roster.size:
            self.phase, self.attempt = "keying", 1
        return True

    def _keyshare(self, author: int, body: Any) -> bool:
        if self.phase != "keying" or body.attempt != self.attempt or author in self.keys:
            return False
        self.keys[author] = body.key
        if len(self.keys) == self.manifest.roster.size:
            if len(set(self.keys.values())) == 1:
                self.key, self.phase = body.key, "running"
                self._next_round()
            else:
                self._next_attempt()
        return True

    def _keyabandon(self, author: int, body: Any) -> bool:
        if self.phase != "keying" or body.attempt != self.attempt:
            return False
        self._next_attempt()
        return True

    def _next_attempt(self) -> None:
        self.keys = {}
        if self.attempt == self.manifest.key_attempts:
            self.phase = "aborted"
        else:
            self.attempt += 1

    def _now(self, number: int, *, sealed: bool | None = None) -> bool:
        current = self.phase == "running" and self.current.number == number
        return current and (sealed is None or (self.current.sealed is not None) == sealed)

    def _commit(self, author: int, body: Any) -> bool:
        now = self.current
        if not self._now(body.round, sealed=False) or author in now.commits or author not in now.waited:
            return False
        now.commits[author] = body.blob
        return True

    def _attest(self, author: int, body: Any) -> bool:
        now, verified, refused = self.current, set(body.verified), set(body.refused)
        named = verified | refused
        if not self._now(body.round, sealed=False) or not named or verified & refused:
            return False
        if not named <= now.commits.keys() | self.out or named & now.spoken(author):
            return False
        now.verified[author] = now.verified.get(author, set()) | verified
        now.refused[author] = now.refused.get(author, set()) | refused
        for member in sorted(now.commits):
            against = [m for m, those in now.refused.items() if member in those]
            if len(against) >= max(self.needed, self.colluders + 1):
                self.out.add(member)
                del now.commits[member]
                now.waited.discard(member)
        if len(self.inside) < max(self.needed, self.quorum):
            self.phase = "aborted"
        return True

    @property
    def inside(self) -> set[int]:
        """Who is still in the job."""
        return set(self.manifest.roster.indices) - self.out

    def _waited(self, number: int) -> set[int]:
        there = {member for member in self.inside if self.missed.get(member, 0) < 2}
        return self.inside if number % 4 == 0 or len(there) < max(self.needed, self.quorum) else there

    def attested(self) -> set[int]:
        """Whose commits T members have attested."""
        count = Counter(member for verified in self.current.verified.values() for member in verified)
        return {member for member in self.current.commits if count[member] >= self.needed}

    def closed(self) -> bool:
        """Whether a seal may count: all have spoken of everything, or one honest member ran out of time."""
        now = self.current
        spoken = now.commits and all(now.commits.keys() <= now.spoken(member) for member in now.waited)
        return bool(spoken) or len(now.expired) >= self.votes

    def cut(self) -> dict[int, Blob]:
        """What a seal would seal; nothing where it may not count."""
        members = self._allowed(self.attested()) if self.closed() else set()
        if len(members) < self.quorum:
            return {}
        return {member: self.current.commits[member] for member in sorted(members)}

    def _allowed(self, attested: set[int]) -> set[int]:
        """Consortium rule 6: what may be opened beside the sums that were sealed from the same model."""
        gap = self.colluders + 2
        before: list[set[int]] = []
        for members in self.sums.get(self.model, []):
            if members - self.out not in before:
                before.append(members - self.out)
        if not before:
            return attested
        if len(before) == 2:
            large = [members for members in before if members <= attested and len(members) >= self.quorum]
            return large[-1] if large else set()
        first, late = before[0], attested - before[0]
        added = late if len(late) >= gap else set()
        missing = first - attested
        if not missing:
            return first | added
        staying = sorted(first & attested, key=self._hash)[max(gap - len(missing), 0) :]
        if staying and len(staying) < gap:
            return set()
        left_out = first - set(staying)
        return set(staying) | added if len(left_out) >= gap else set()

    def _hash(self, member: int) -> bytes:
        return hashlib.sha256(canonical.dump([self.manifest.job, self.model, member])).digest()

    def _expire(self, author: int, body: Any) -> bool:
        if not self._now(body.round, sealed=False) or author in self.current.expired:
            return False
        self.current.expired.add(author)
        return True

    def _seal(self, author: int, body: Any) -> bool:
        cut = self.cut() if self._now(body.round, sealed=False) else {}
        if not cut:
            return False
        now = self.current
        now.sealed, now.opening, now.votes = cut, 1, set()
        if set(cut) not in self.sums.setdefault(self.model, []):
            self.sums[self.model].append(set(cut))
        return True

    def _abandon(self, author: int, body: Any) -> bool:
        now = self.current
        if not self._now(body.round) or body.opening != now.opening or author in now.votes:
            return False
        now.votes.add(author)
        if len(now.votes) >= self.votes:
            if now.sealed is None:
                self._end_round(b"", discarded=False)
                last = [
                    self.rounds[number].model for number in sorted(self.rounds) if self.rounds[number].over
                ]
                if self.phase == "running" and len(last) >= 6 and not any(last[-6:]):
                    self.phase = "aborted"
            elif now.opening == 4:
                self.phase, now.given_up = "aborted", True
            else:
                now.opening, now.votes = now.opening + 1, set()
        return True

    def _share(self, author: int, body: Any) -> bool:
        now = self.current
        if not self._now(body.round, sealed=True) or author in now.shares:
            return False
        if body.aggregate != self.aggregate_of(now):
            return False
        now.shares[author] = body.blob
        return True

    def _result(self, author: int, body: Any) -> bool:
        now = self.current
        if not self._now(body.round, sealed=True) or len(now.shares) < self.needed or author in now.results:
            return False
        if body.discarded and body.model != self.model:
            return False
        now.results[author] = (body.model, body.discarded)
        said = list(now.results.values())
        if said.count((body.model, body.discarded)) >= self.needed:
            self._end_round(body.model, discarded=body.discarded)
        elif max(Counter(said).values()) + len(self.inside) - len(said) < self.needed:
            self.phase = "aborted"
        return True

    def _stop(self, author: int, body: Any) -> bool:
        if self.phase in ("finished", "aborted") or author in self.stops:
            return False
        self.stops.add(author)
        if len(self.stops) >= self.needed:
            self.phase = "aborted"
        return True

    def _next_round(self) -> None:
        number = self.current.number + 1
        self.current = Round(number, self.model, self._waited(number))
        self.rounds[number] = self.current

    def _end_round(self, model: bytes, *, discarded: bool) -> None:
        now = self.current
        wanted = self.attested()
        enough = len(now.waited) - self.colluders
        known = {each for each in wanted if sum(each in now.spoken(m) for m in now.waited) >= enough}
        for member in self.inside:
            spoke = known <= now.spoken(member) or member not in now.waited
            self.missed[member] = 0 if member in wanted and spoke else self.missed.get(member, 0) + 1
        now.over, now.model, now.discarded = True, model, discarded
        if discarded and self.ranged:
            self.phase = "aborted"
            return
        if discarded:
            self.ranged = True
        elif model:
            self.opened += 1
            self.model = model
        if self.opened == self.manifest.rounds or now.number == self.manifest.round_limit:
            self.phase = "finished"
        else:
            self._next_round()

    def aggregate_of(self, now: Round) -> bytes:
        """The digest of the sealed sum: of the job, the round, the key and the sealed roots."""
        roots = [[member, blob.root] for member, blob in (now.sealed or {}).items()]
        statement = canonical.dump([self.manifest.job, now.number, self.key, roots])
        return hashlib.sha256(b"starling/1 aggregate" + statement).digest()
