"""The deterministic reading of the ledger: what the confirmed order of records means.

The ledger itself checks nothing of this. Every member folds the same records in the same order into
the same `History`; a record that is not valid when it is read is ignored, by everyone and for ever,
with a reason. Mirrors `Ledger.tla`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from protocol.encoding import canonical
from protocol.errors import MemberFault
from protocol.manifest import Manifest
from protocol.membership import verify_membership
from protocol.records import (
    Abandon,
    Attest,
    Blob,
    Commit,
    Join,
    KeyAbandon,
    KeyShare,
    Record,
    Result,
    Seal,
    Share,
    Stop,
)

LOOKBACK = 1024
"""Slots whose running digest is kept: a record may be confirmed this long after its author's view."""

START = bytes(32)


class Phase(Enum):
    """Where the job is."""

    JOINING = "joining"
    KEYING = "keying"
    RUNNING = "running"
    FINISHED = "finished"
    ABORTED = "aborted"


class Ignored(Exception):
    """A record that is not valid where it stands in the order; the reason is its text."""


@dataclass(frozen=True)
class Sealed:
    """The cut of a round: contributions in roster order, and the digest of the sum they make."""

    contributions: tuple[tuple[int, Blob], ...]
    aggregate: bytes

    @property
    def members(self) -> tuple[int, ...]:
        """The contributors."""
        return tuple(member for member, _ in self.contributions)


@dataclass(frozen=True)
class OpenRound:
    """The current round as the order has it so far."""

    number: int
    commits: Mapping[int, Blob] = field(default_factory=dict)
    attested: Mapping[int, frozenset[int]] = field(default_factory=dict)
    votes: frozenset[int] = frozenset()
    sealed: Sealed | None = None
    shares: Mapping[int, Blob] = field(default_factory=dict)
    results: Mapping[int, bytes] = field(default_factory=dict)

    def attesters(self, member: int) -> int:
        """How many members attested `member`'s commit."""
        return sum(member in verified for verified in self.attested.values())


@dataclass(frozen=True)
class EndedRound:
    """A round that is over: opened with a model, or burned (`model` is None)."""

    number: int
    model: bytes | None
    sealed: Sealed | None


@dataclass(frozen=True)
class Chain:
    """The end of one member's chain of records."""

    seq: int = 0
    digest: bytes = START


@dataclass(frozen=True)
class History:
    """Everything that the order of records up to slot `slots` says about one job. See `empty`.

    `model` is the digest of the current global model, `opened` how many rounds made it.
    """

    manifest: Manifest
    job: bytes
    model: bytes
    opened: int = 0
    slots: int = 0
    order: bytes = START
    recent: tuple[bytes, ...] = (START,)
    chains: Mapping[int, Chain] = field(default_factory=dict)
    phase: Phase = Phase.JOINING
    reason: str = ""
    joined: frozenset[int] = frozenset()
    attempt: int = 0
    key_shares: Mapping[int, bytes] = field(default_factory=dict)
    key: bytes | None = None
    round: OpenRound | None = None
    past: tuple[EndedRound, ...] = ()
    stops: frozenset[int] = frozenset()

    @classmethod
    def empty(cls, manifest: Manifest) -> History:
        """Before the first slot."""
        return cls(manifest, manifest.job, manifest.model)

    @property
    def over(self) -> bool:
        """Whether the job has ended, one way or the other."""
        return self.phase in (Phase.FINISHED, Phase.ABORTED)

    def read(self, author: int, data: bytes, record: Record | None) -> tuple[History, str]:
        """The history after the next slot, and why its record is ignored ('' if it counts).

        `data` is what the slot holds, anchored by member `author`; `record` is its decoded form, or None
        where it has none.
        """
        after = self._next_slot(author, data)
        try:
            if record is None:
                raise Ignored("it is not a record")
            self._check_chain(author, record)
            after = replace(after, chains={**after.chains, author: Chain(record.seq, record.digest())})
            if self.over:
                raise Ignored(f"the job is {self.phase.value}")
            return _READERS[type(record.body)](after, author, record.body), ""
        except Ignored as verdict:
            return after, str(verdict)

    def _next_slot(self, author: int, data: bytes) -> History:
        entry = author.to_bytes(2, "big") + hashlib.sha256(data).digest()
        order = hashlib.sha256(b"starling/1 order" + self.order + entry).digest()
        return replace(self, slots=self.slots + 1, order=order, recent=(*self.recent, order)[-LOOKBACK:])

    def _check_chain(self, author: int, record: Record) -> None:
        if record.job != self.job:
            raise Ignored("it belongs to another job")
        if record.member != author:
            raise Ignored(f"it speaks for member {record.member}")
        chain = self.chains.get(author, Chain())
        if (record.seq, record.prev) != (chain.seq + 1, chain.digest):
            raise Ignored("it does not continue its author's chain")
        age = self.slots - record.seen
        if age < 0:
            raise Ignored("its author claims to have read slots that are not there yet")
        if age < len(self.recent) and self.recent[-1 - age] != record.order:
            raise Ignored("its author was shown another order")

    def order_at(self, slot: int) -> bytes | None:
        """The running digest after `slot`; None if that is longer than `LOOKBACK` ago or yet to come."""
        age = self.slots - slot
        return self.recent[-1 - age] if 0 <= age < len(self.recent) else None

    def cut(self) -> Sealed | None:
        """What a Seal would seal now: None while too few commits are attested by T members."""
        current = self.round
        if current is None or self.key is None:
            return None
        needed = self.manifest.thresholds
        contributions = tuple(
            (member, current.commits[member])
            for member in sorted(current.commits)
            if current.attesters(member) >= needed.shares
        )
        if len(contributions) < needed.quorum:
            return None
        return Sealed(contributions, self._aggregate(current.number, contributions, self.key))

    def _aggregate(self, number: int, contributions: tuple[tuple[int, Blob], ...], key: bytes) -> bytes:
        roots = [[member, blob.root] for member, blob in contributions]
        statement = canonical.dump([self.job, number, key, roots])
        return hashlib.sha256(b"starling/1 aggregate" + statement).digest()


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Ignored(otherwise)


def _read_join(now: History, author: int, body: Join) -> History:
    _require(now.phase is Phase.JOINING, "joining is over")
    _require(author not in now.joined, "its author has joined already")
    try:
        verify_membership(now.manifest, author, body.proof)
    except MemberFault as error:
        raise Ignored(error.what) from None
    now = replace(now, joined=now.joined | {author})
    everyone = len(now.joined) == now.manifest.roster.size
    return replace(now, phase=Phase.KEYING, attempt=1) if everyone else now


def _read_key_share(now: History, author: int, body: KeyShare) -> History:
    _require(now.phase is Phase.KEYING and body.attempt == now.attempt, "that attempt is over")
    _require(author not in now.key_shares, "its author holds a share already")
    now = replace(now, key_shares={**now.key_shares, author: body.key})
    if len(now.key_shares) < now.manifest.roster.size:
        return now
    if len(set(now.key_shares.values())) > 1:
        return _next_attempt(now, "members report different keys")
    return replace(now, key=body.key, phase=Phase.RUNNING, round=OpenRound(1))


def _read_key_abandon(now: History, author: int, body: KeyAbandon) -> History:
    _require(now.phase is Phase.KEYING and body.attempt == now.attempt, "that attempt is over")
    return _next_attempt(now, body.reason.text)


def _next_attempt(now: History, reason: str) -> History:
    if now.attempt == now.manifest.key_attempts:
        return replace(
            now, phase=Phase.ABORTED, reason=f"no joint key after {now.attempt} attempts: {reason}"
        )
    return replace(now, attempt=now.attempt + 1, key_shares={})


def _current(now: History, number: int) -> OpenRound:
    _require(now.phase is Phase.RUNNING, "no rounds are running")
    if now.round is None or now.round.number != number:
        raise Ignored("that round is not the current one")
    return now.round


def _open(now: History, number: int) -> OpenRound:
    current = _current(now, number)
    _require(current.sealed is None, "the round is sealed")
    return current


def _sealed(now: History, number: int) -> tuple[OpenRound, Sealed]:
    current = _current(now, number)
    if current.sealed is None:
        raise Ignored("the round is not sealed")
    return current, current.sealed


def _read_commit(now: History, author: int, body: Commit) -> History:
    current = _open(now, body.round)
    _require(author not in current.commits, "its author has committed already")
    return replace(now, round=replace(current, commits={**current.commits, author: body.blob}))


def _read_attest(now: History, author: int, body: Attest) -> History:
    current = _open(now, body.round)
    verified = frozenset(body.verified)
    before = current.attested.get(author, frozenset())
    _require(verified <= current.commits.keys(), "it attests a commit that is not there")
    _require(not verified <= before, "it attests nothing new")
    return replace(now, round=replace(current, attested={**current.attested, author: before | verified}))


def _read_seal(now: History, author: int, body: Seal) -> History:
    current = _open(now, body.round)
    cut = now.cut()
    if cut is None:
        raise Ignored("too few contributions are attested")
    return replace(now, round=replace(current, sealed=cut))


def _read_abandon(now: History, author: int, body: Abandon) -> History:
    current = _current(now, body.round)
    _require(author not in current.votes, "its author has voted already")
    votes = current.votes | {author}
    if len(votes) < now.manifest.thresholds.shares:
        return replace(now, round=replace(current, votes=votes))
    return _end_round(now, EndedRound(current.number, None, current.sealed))


def _read_share(now: History, author: int, body: Share) -> History:
    current, sealed = _sealed(now, body.round)
    _require(body.aggregate == sealed.aggregate, "it decrypts something else than the sealed sum")
    _require(author not in current.shares, "its author has released a share already")
    return replace(now, round=replace(current, shares={**current.shares, author: body.blob}))


def _read_result(now: History, author: int, body: Result) -> History:
    current, sealed = _sealed(now, body.round)
    needed = now.manifest.thresholds.shares
    _require(len(current.shares) >= needed, "too few shares are there to know a result")
    _require(author not in current.results, "its author has reported already")
    results = {**current.results, author: body.model}
    now = replace(now, round=replace(current, results=results))
    counts = list(results.values())
    if counts.count(body.model) >= needed:
        return _end_round(now, EndedRound(current.number, body.model, sealed))
    missing = now.manifest.roster.size - len(results)
    if max(counts.count(model) for model in counts) + missing < needed:
        return _abort(now, f"members disagree on round {current.number}")
    return now


def _read_stop(now: History, author: int, body: Stop) -> History:
    _require(author not in now.stops, "its author has voted already")
    stops = now.stops | {author}
    now = replace(now, stops=stops)
    if len(stops) < now.manifest.thresholds.shares:
        return now
    return _abort(now, f"stopped by its members: {body.reason.text}")


def _abort(now: History, reason: str) -> History:
    return replace(now, phase=Phase.ABORTED, reason=reason, round=None)


def _end_round(now: History, ended: EndedRound) -> History:
    now = replace(now, past=(*now.past, ended), round=None)
    if ended.model is not None:
        now = replace(now, model=ended.model, opened=now.opened + 1)
    if now.opened == now.manifest.rounds or ended.number == now.manifest.round_limit:
        return replace(now, phase=Phase.FINISHED)
    return replace(now, round=OpenRound(ended.number + 1))


_READERS: Mapping[type, Callable[[History, int, Any], History]] = {
    Join: _read_join,
    KeyShare: _read_key_share,
    KeyAbandon: _read_key_abandon,
    Commit: _read_commit,
    Attest: _read_attest,
    Seal: _read_seal,
    Abandon: _read_abandon,
    Share: _read_share,
    Result: _read_result,
    Stop: _read_stop,
}
