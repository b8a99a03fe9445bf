"""The deterministic reading of the ledger: what the confirmed order of records means.

The ledger itself checks nothing of this. Every member folds the same records in the same order into
the same `History`; a record that is not valid when it is read is ignored, by everyone and for ever,
with a reason. Mirrors `Ledger.tla`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from protocol.cut import Base, common
from protocol.encoding import canonical
from protocol.errors import MemberFault
from protocol.manifest import Manifest
from protocol.membership import verify_membership
from protocol.records import (
    Abandon,
    Attest,
    Blob,
    Commit,
    Expire,
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
"""Slots whose running digest is kept: a record whose author had read less than this before it is ignored."""

START = bytes(32)

MISSES = 2
"""Rounds in a row after which a member that did not contribute is not waited for."""

EVERYBODY = 4
"""Every so many rounds everybody is waited for again."""

MAX_BURNED = 6
"""Rounds in a row without enough contributions that end the job."""

MAX_OPENINGS = 4
"""Times that members try to open one sealed sum."""


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
    """The cut of a round: contributions in roster order, and the digest of the sum they make; the slot of
    the Seal and the running digest of the order there."""

    contributions: tuple[tuple[int, Blob], ...]
    aggregate: bytes
    slot: int
    order: bytes

    @property
    def members(self) -> tuple[int, ...]:
        """The contributors."""
        return tuple(member for member, _ in self.contributions)


@dataclass(frozen=True)
class Outcome:
    """What a member makes of an opened sum: the new model, or the one before where it `discarded` the sum."""

    model: bytes
    discarded: bool


@dataclass(frozen=True)
class OpenRound:
    """The current round as the order has it so far.

    `waited` are those whose contribution counts and is waited for; `expired` have said that their deadlines
    passed. `opening` counts the attempts at opening the sealed sum, and is 0 before the seal.
    """

    number: int
    waited: frozenset[int]
    commits: Mapping[int, Blob] = field(default_factory=dict)
    verified: Mapping[int, frozenset[int]] = field(default_factory=dict)
    refused: Mapping[int, frozenset[int]] = field(default_factory=dict)
    expired: frozenset[int] = frozenset()
    votes: frozenset[int] = frozenset()
    opening: int = 0
    sealed: Sealed | None = None
    shares: Mapping[int, Blob] = field(default_factory=dict)
    results: Mapping[int, Outcome] = field(default_factory=dict)

    def settled(self, member: int) -> frozenset[int]:
        """Whose commits `member` attested or refused."""
        return self.verified.get(member, frozenset()) | self.refused.get(member, frozenset())

    def refusers(self, member: int) -> int:
        """How many members refused `member`'s commit."""
        return sum(member in refused for refused in self.refused.values())

    @property
    def everyone_settled(self) -> bool:
        """Whether all who are waited for have attested or refused every commit that there is."""
        commits = self.commits.keys()
        return bool(commits) and all(commits <= self.settled(member) for member in self.waited)


@dataclass(frozen=True)
class EndedRound:
    """A round that is over: opened with a model, discarded (`model` is the one before), or burned
    (`model` is None)."""

    number: int
    model: bytes | None
    sealed: Sealed | None
    discarded: bool = False


@dataclass(frozen=True)
class Chain:
    """The end of one member's chain of records."""

    seq: int = 0
    digest: bytes = START


@dataclass(frozen=True)
class History:
    """Everything that the order of records up to slot `slots` says about one job. See `empty`.

    `model` is the digest of the current global model, `opened` how many rounds made it. `out` are the members
    whose own commit was refused: for good. `missed` counts the rounds in a row without a member's
    contribution; `viewed` is the last slot that a member's records show it had read; `spent` has the sums
    sealed from each base model; updates are `ranged` from the first discarded sum on, or from the start.
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
    out: frozenset[int] = frozenset()
    missed: Mapping[int, int] = field(default_factory=dict)
    viewed: Mapping[int, int] = field(default_factory=dict)
    spent: Mapping[bytes, tuple[frozenset[int], ...]] = field(default_factory=dict)
    ranged: bool = False

    @classmethod
    def empty(cls, manifest: Manifest) -> History:
        """Before the first slot."""
        return cls(manifest, manifest.job, manifest.model, ranged=manifest.encoding.ranged)

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
            # Whatever else is wrong with it, its author goes on from here: or one mistake would mute it.
            after = replace(after, chains={**after.chains, author: Chain(record.seq, record.digest())})
            self._check_view(record)
            after = replace(after, viewed={**after.viewed, author: record.seen})
            if self.over:
                raise Ignored(f"the job is {self.phase.value}")
            if author in self.out:
                raise Ignored("its author is out of the job")
            return _READERS[type(record.body)](after, author, record.body), ""
        except Ignored as verdict:
            return after, str(verdict)

    def order_at(self, slot: int) -> bytes | None:
        """The running digest after `slot`; None if that is longer than `LOOKBACK` ago or yet to come."""
        age = self.slots - slot
        return self.recent[-1 - age] if 0 <= age < len(self.recent) else None

    def _next_slot(self, author: int, data: bytes) -> History:
        order = extend(self.order, author, data)
        return replace(self, slots=self.slots + 1, order=order, recent=(*self.recent, order)[-LOOKBACK:])

    def _check_chain(self, author: int, record: Record) -> None:
        if record.job != self.job:
            raise Ignored("it belongs to another job")
        if record.member != author:
            raise Ignored(f"it speaks for member {record.member}")
        chain = self.chains.get(author, Chain())
        if (record.seq, record.prev) != (chain.seq + 1, chain.digest):
            raise Ignored("it does not continue its author's chain")

    def _check_view(self, record: Record) -> None:
        age = self.slots - record.seen
        if age < 0:
            raise Ignored("its author claims to have read slots that are not there yet")
        if age >= len(self.recent):
            raise Ignored("its author's view is too old to compare")
        if self.recent[-1 - age] != record.order:
            raise Ignored("its author was shown another order")

    @property
    def inside(self) -> frozenset[int]:
        """Members that are not out of the job."""
        return frozenset(self.manifest.roster.indices) - self.out

    @property
    def needed(self) -> int:
        """Members without whom no round can be opened."""
        return max(self.manifest.thresholds.quorum, self.manifest.thresholds.shares)

    def waited(self, number: int) -> frozenset[int]:
        """Whose contribution round `number` waits for; another's does not count in it.

        Whoever missed `MISSES` rounds in a row is left out, but not from every `EVERYBODY`-th round, nor
        where the others are too few.
        """
        there = frozenset(member for member in self.inside if self.missed.get(member, 0) < MISSES)
        enough = number % EVERYBODY != 0 and len(there) >= self.needed
        return there if enough else self.inside

    @property
    def closed(self) -> bool:
        """Whether the open round takes in no more: everyone waited for has attested or refused every commit,
        or more members than may collude have said that their deadlines passed."""
        current = self.round
        if current is None or current.sealed is not None:
            return False
        return current.everyone_settled or len(current.expired) >= self.manifest.thresholds.votes

    @property
    def attested(self) -> frozenset[int]:
        """Those whose commit T members have attested."""
        current = self.round
        if current is None:
            return frozenset()
        return common(current.verified.values(), self.manifest.thresholds.shares) & self.inside

    def cut(self) -> Sealed | None:
        """What a Seal would seal in the next slot: None while the round is not closed, and where it has too
        few contributions or they would give somebody away."""
        current = self.round
        if current is None or self.key is None or not self.closed:
            return None
        members = self._base.next_sum(self.attested, self.out, self.manifest.thresholds.quorum)
        if members is None:
            return None
        contributions = tuple((member, current.commits[member]) for member in sorted(members))
        aggregate = self._aggregate(current.number, contributions, self.key)
        return Sealed(contributions, aggregate, self.slots, self.order)

    @property
    def _base(self) -> Base:
        gap = self.manifest.thresholds.colluders + 2
        return Base(self.job, self.model, gap, self.spent.get(self.model, ()))

    def _aggregate(self, number: int, contributions: tuple[tuple[int, Blob], ...], key: bytes) -> bytes:
        roots = [[member, blob.root] for member, blob in contributions]
        statement = canonical.dump([self.job, number, key, roots])
        return hashlib.sha256(b"starling/1 aggregate" + statement).digest()


def extend(order: bytes, author: int, data: bytes) -> bytes:
    """The running digest of the order after one more slot."""
    entry = author.to_bytes(2, "big") + hashlib.sha256(data).digest()
    return hashlib.sha256(b"starling/1 order" + order + entry).digest()


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
    return replace(now, key=body.key, phase=Phase.RUNNING, round=OpenRound(1, now.waited(1)))


def _read_key_abandon(now: History, author: int, body: KeyAbandon) -> History:
    _require(now.phase is Phase.KEYING and body.attempt == now.attempt, "that attempt is over")
    return _next_attempt(now, f"member {author} gave the last one up: {body.reason.text}")


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
    _require(author in current.waited, "its author's contribution is not waited for in this round")
    _require(author not in current.commits, "its author has committed already")
    return replace(now, round=replace(current, commits={**current.commits, author: body.blob}))


def _read_attest(now: History, author: int, body: Attest) -> History:
    current = _open(now, body.round)
    verified, refused = frozenset(body.verified), frozenset(body.refused)
    _require(bool(verified | refused), "it attests nothing")
    _require(not verified & refused, "it attests what it refuses")
    _require(verified | refused <= current.commits.keys() | now.out, "it names a commit that is not there")
    _require(not (verified | refused) & current.settled(author), "its author has said so before")
    verified |= current.verified.get(author, frozenset())
    refused |= current.refused.get(author, frozenset())
    current = replace(
        current,
        verified={**current.verified, author: verified},
        refused={**current.refused, author: refused},
    )
    return _put_out(replace(now, round=current), current)


def _put_out(now: History, current: OpenRound) -> History:
    """Who signed a commit that T members refuse is out: one of them is honest, and anybody can check."""
    limits = now.manifest.thresholds
    enough = max(limits.shares, limits.colluders + 1)
    culprits = frozenset(member for member in current.commits if current.refusers(member) >= enough)
    if not culprits:
        return now
    commits = {member: blob for member, blob in current.commits.items() if member not in culprits}
    current = replace(current, commits=commits, waited=current.waited - culprits)
    now = replace(now, out=now.out | culprits, round=current)
    if len(now.inside) < now.needed:
        return _abort(
            now,
            f"{_members(now.out)} sent updates that are no updates; {len(now.inside)} members are left, "
            f"and {now.needed} are needed",
        )
    return now


def _read_expire(now: History, author: int, body: Expire) -> History:
    current = _open(now, body.round)
    _require(author not in current.expired, "its author has said so before")
    return replace(now, round=replace(current, expired=current.expired | {author}))


def _read_seal(now: History, author: int, body: Seal) -> History:
    current = _open(now, body.round)
    _require(now.closed, "contributions are still waited for")
    cut = now.cut()
    if cut is None:
        raise Ignored("there is nothing to seal that hides everybody in it")
    members = frozenset(cut.members)
    sums = now.spent.get(now.model, ())
    spent = now.spent if members in sums else {**now.spent, now.model: (*sums, members)}
    return replace(now, spent=spent, round=replace(current, sealed=cut, opening=1, votes=frozenset()))


def _read_abandon(now: History, author: int, body: Abandon) -> History:
    current = _current(now, body.round)
    _require(body.opening == current.opening, "that attempt at the round is over")
    _require(author not in current.votes, "its author has voted already")
    votes = current.votes | {author}
    if len(votes) < now.manifest.thresholds.votes:
        return replace(now, round=replace(current, votes=votes))
    return _burn(now, current) if current.sealed is None else _open_again(now, current)


def _burn(now: History, current: OpenRound) -> History:
    now = _end_round(now, EndedRound(current.number, None, None))
    row = now.past[-MAX_BURNED:]
    if len(row) < MAX_BURNED or any(ended.model is not None for ended in row) or now.over:
        return now
    missing = now.inside - frozenset(current.commits)
    who = f"; {_members(missing)} sent nothing" if missing else ""
    return _abort(now, f"{MAX_BURNED} rounds in a row could not be sealed{who}")


def _open_again(now: History, current: OpenRound) -> History:
    """The same sum, once more: another one from the same base could be subtracted from it."""
    if current.opening < MAX_OPENINGS:
        return replace(now, round=replace(current, opening=current.opening + 1, votes=frozenset()))
    missing = now.inside - current.shares.keys()
    who = f"; {_members(missing)} gave no share" if missing else ""
    return _abort(now, f"the sum of round {current.number} could not be opened{who}")


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
    _require(not body.discarded or body.model == now.model, "a discarded sum leaves the model as it was")
    outcome = Outcome(body.model, body.discarded)
    results = {**current.results, author: outcome}
    now = replace(now, round=replace(current, results=results))
    counts = list(results.values())
    if counts.count(outcome) >= needed:
        return _end_round(now, EndedRound(current.number, body.model, sealed, body.discarded))
    missing = len(now.inside) - len(results)
    if max(counts.count(each) for each in counts) + missing < needed:
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
    now = replace(now, missed=_attendance(now), past=(*now.past, ended), round=None)
    if ended.discarded and now.ranged:
        return _abort(now, "a sum of proven ranges is out of range: the factors of the joint key are known")
    if ended.discarded:
        now = replace(now, ranged=True)
    elif ended.model is not None:
        now = replace(now, model=ended.model, opened=now.opened + 1)
    if now.opened == now.manifest.rounds or ended.number == now.manifest.round_limit:
        return replace(now, phase=Phase.FINISHED)
    following = ended.number + 1
    return replace(now, round=OpenRound(following, now.waited(following)))


def _attendance(now: History) -> Mapping[int, int]:
    """How many rounds in a row each member has now missed: it contributed nothing that T members attest, or,
    waited for, did not say of a contribution what it is, though it could be had.

    That is where all but as many as may collude have settled it: an update that its author shows to some
    only must not make others look absent.
    """
    current = now.round
    if current is None:
        return now.missed
    waited = current.waited
    enough = len(waited) - now.manifest.thresholds.colluders
    within_reach = now.attested & common((current.settled(member) for member in waited), enough)
    there = {m for m in now.attested if m not in waited or within_reach <= current.settled(m)}
    return {member: 0 if member in there else now.missed.get(member, 0) + 1 for member in now.inside}


def _members(indices: Iterable[int]) -> str:
    named = [str(index) for index in sorted(indices)]
    return f"member {named[0]}" if len(named) == 1 else f"members {', '.join(named)}"


_READERS: Mapping[type, Callable[[History, int, Any], History]] = {
    Join: _read_join,
    KeyShare: _read_key_share,
    KeyAbandon: _read_key_abandon,
    Commit: _read_commit,
    Attest: _read_attest,
    Expire: _read_expire,
    Seal: _read_seal,
    Abandon: _read_abandon,
    Share: _read_share,
    Result: _read_result,
    Stop: _read_stop,
}
