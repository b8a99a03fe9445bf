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
    commits: dict[int, Blob] = field(default_factory=dict)
    attested: dict[int, set[int]] = field(default_factory=dict)
    votes: set[int] = field(default_factory=set)
    sealed: dict[int, Blob] | None = None
    shares: dict[int, Blob] = field(default_factory=dict)
    results: dict[int, bytes] = field(default_factory=dict)
    over: bool = False
    model: bytes = b""

    def cut(self, threshold: int) -> dict[int, Blob]:
        """The commits that at least `threshold` members attested."""
        count = Counter(member for verified in self.attested.values() for member in verified)
        return {member: blob for member, blob in sorted(self.commits.items()) if count[member] >= threshold}


class Reading:
    """Reads one slot after the other; `views[k]` is what holds after slot k."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.needed = manifest.thresholds.shares
        self.quorum = manifest.thresholds.quorum
        self.phase = "joining"
        self.joined: set[int] = set()
        self.attempt = 0
        self.keys: dict[int, bytes] = {}
        self.key = b""
        self.stops: set[int] = set()
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
            valid = getattr(self, f"_{record.kind.lower()}")(slot.author, record.body)
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
        slots = len(self.orders) - 1
        continues = record.member == author and (record.seq, record.prev) == (seq + 1, last)
        if not continues or record.job != self.manifest.job or record.seen > slots:
            return False
        return slots - record.seen >= LOOKBACK or self.orders[record.seen] == record.order

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
        if not self._now(body.round, sealed=False) or author in self.current.commits:
            return False
        self.current.commits[author] = body.blob
        return True

    def _attest(self, author: int, body: Any) -> bool:
        verified, before = set(body.verified), self.current.attested.get(author, set())
        if not self._now(body.round, sealed=False) or not verified <= self.current.commits.keys():
            return False
        self.current.attested[author] = before | verified
        return bool(verified - before)

    def _seal(self, author: int, body: Any) -> bool:
        cut = self.current.cut(self.needed)
        if not self._now(body.round, sealed=False) or len(cut) < self.quorum:
            return False
        self.current.sealed = cut
        return True

    def _abandon(self, author: int, body: Any) -> bool:
        if not self._now(body.round) or author in self.current.votes:
            return False
        self.current.votes.add(author)
        if len(self.current.votes) >= self.needed:
            self._end_round(b"")
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
        now.results[author] = body.model
        best = max(Counter(now.results.values()).values())
        if list(now.results.values()).count(body.model) >= self.needed:
            self._end_round(body.model)
        elif best + self.manifest.roster.size - len(now.results) < self.needed:
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
        self.current = Round(self.current.number + 1)
        self.rounds[self.current.number] = self.current

    def _end_round(self, model: bytes) -> None:
        now = self.current
        now.over, now.model = True, model
        if model:
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
