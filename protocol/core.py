"""update(state, input) → (state, effects): a member, whole.

The only way in. Given the same inputs it does the same thing. An input that is not allowed raises a
`StarlingError` that says whose fault it is, and the state is as before. Whatever was journalled in a
turn is durable before anything that follows from it leaves this module: those effects are held back in
the state until `Persisted`, and inputs that arrive meanwhile wait their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from protocol import keygen, lifecycle, opening, round, vouching
from protocol.effects import Effect, OpenHead, Submit, UseKey
from protocol.encoding.errors import EncodingError
from protocol.errors import OwnFault, StarlingError
from protocol.history import Chain, History, Phase
from protocol.inputs import (
    AttestDeadline,
    CloseDeadline,
    CommitChecked,
    Confirmed,
    Contributed,
    ContributeDeadline,
    ContributionFailed,
    HeadClosed,
    HeadFinal,
    HeadReady,
    Heard,
    Input,
    JobAccepted,
    JobDeclined,
    KeyDeadline,
    KeyFailed,
    KeyMade,
    MembershipProved,
    ModelFetched,
    OpenDeadline,
    Opened,
    PeerUp,
    Persisted,
    Read,
    SealDeadline,
    ShareChecked,
    ShareStored,
    StopRequested,
    Summed,
    VouchDeadline,
    Wake,
)
from protocol.journal import (
    Accepted,
    Adopted,
    AdoptedKey,
    AnyEntry,
    AskedForHead,
    BegunKey,
    Burned,
    Declined,
    Doubted,
    HeldShare,
    OwnRecord,
    Released,
    Settled,
    Spent,
    Vouched,
    Woke,
)
from protocol.manifest import Manifest
from protocol.messages import Message, Vouch
from protocol.records import Commit, Join, KeyAbandon, KeyShare, Record, Result, Share, Stop
from protocol.state import Head, State, Turn

MAX_BACKLOG = 10_000
"""Inputs that wait for one append to the journal: thousands of times more than a healthy disk allows."""

MAX_ACTIONS = 1_000
"""Actions in one turn: each disables itself, so more mean a bug rather than work."""

ACTIONS = (*lifecycle.ACTIONS, *keygen.ACTIONS, *vouching.ACTIONS, *round.ACTIONS, *opening.ACTIONS)


class NotAllowed(OwnFault):
    """This input cannot happen now; the state is unchanged."""


def begin(manifest: Manifest, me: int) -> State:
    """A member that has just heard of the job; `StarlingError` if the manifest does not hold together."""
    manifest.check()
    if me not in manifest.roster.indices:
        raise NotAllowed(f"there is no member {me} in the roster")
    return State(me, manifest, History.empty(manifest), models=(manifest.model,))


def restore(
    manifest: Manifest, me: int, entries: Iterable[AnyEntry], slots: Iterable[Confirmed] = ()
) -> State:
    """The state after a restart, from the journal and as many confirmed slots as were kept.

    The first input afterwards is `Wake`. Slots must be contiguous from 1; those that were lost are read
    again from the ledger.
    """
    state = begin(manifest, me)
    for entry in entries:
        state = _replay(state, entry)
    for slot in slots:
        turn = Turn(state)
        _read_slot(turn, slot, silent=True)
        state = turn.state
    history = state.history
    if history.slots < state.life.slots:  # what was settled is not at hand whole: read and settle it again
        state = replace(state, life=replace(state.life, head=Head.NONE, final=None, lost=frozenset()))
    interrupted = history.attempt if history.phase is Phase.KEYING else 0
    return replace(state, key=replace(state.key, lost=max(state.key.lost, interrupted)))


def update(state: State, given: Input) -> tuple[State, tuple[Effect, ...]]:
    """The next state and what to do. Raises a `StarlingError`, and changes nothing, for a wrong input."""
    if isinstance(given, Persisted):
        return _resume(state)
    if state.held_back is not None:
        if len(state.backlog) >= MAX_BACKLOG:
            raise NotAllowed("the journal does not keep up", remedy="check the disk")
        return replace(state, backlog=(*state.backlog, given)), ()
    return _turn(state, given)


def _resume(state: State) -> tuple[State, tuple[Effect, ...]]:
    """The journal is durable: let go what was held back, then see to what arrived meanwhile."""
    if state.held_back is None:
        raise NotAllowed("no append to the journal is under way")
    effects = state.held_back
    state, more = _turn(replace(state, held_back=None), None)
    effects += more
    while state.held_back is None and state.backlog:
        given, rest = state.backlog[0], state.backlog[1:]
        state = replace(state, backlog=rest)
        try:
            state, more = _turn(state, given)
            effects += more
        except StarlingError as error:
            turn = Turn(state)
            turn.emit("InputRefused", input=type(given).__name__, reason=str(error))
            state, more = turn.finish()
            effects += more
    return state, effects


def _turn(state: State, given: Input | None) -> tuple[State, tuple[Effect, ...]]:
    """Take in one input, then act until there is nothing to do, or something to wait for."""
    turn = Turn(state)
    if given is not None:
        if not state.awake and not isinstance(given, Wake):
            raise NotAllowed("the first input is Wake")
        _HANDLERS[type(given)](turn, given)
    for _ in range(MAX_ACTIONS):
        if turn.must_wait:
            return turn.finish()
        action = next((action for action in ACTIONS if action.possible(turn.state)), None)
        if action is None:
            return turn.finish()
        action.perform(turn)
    raise AssertionError("the action table does not come to rest")


def _on_wake(turn: Turn, given: Wake) -> None:
    """Start or Restart: count the incarnation, and submit again what is not confirmed."""
    if turn.state.awake:
        raise NotAllowed("the member is awake already")
    incarnation = turn.state.incarnation + 1
    turn.change(awake=True, incarnation=incarnation)
    turn.vouching(trusting=given.trusting)
    turn.journal(Woke(incarnation))
    turn.emit("Start" if incarnation == 1 else "Restart", trusting=given.trusting)
    if turn.state.life.head is Head.OPENING and turn.state.history.phase is Phase.JOINING:
        turn.do(OpenHead(again=True))
    if turn.state.key.adopted is not None:
        turn.do(UseKey(*turn.state.key.adopted))
    for record in turn.state.own.pending:
        turn.do(Submit(record))


def _on_read(turn: Turn, given: Read) -> None:
    for slot in given.slots:
        _read_slot(turn, slot)
    if given.recovered:
        vouching.doubt(turn)


def _on_heard(turn: Turn, given: Heard) -> None:
    """Raises `MemberFault` for what is no message."""
    content = Message.from_bytes(given.data).content
    if isinstance(content, Vouch):
        if content.job == turn.state.history.job:
            vouching.on_vouch(turn, given.member, content)
    else:
        lifecycle.on_heard(turn, given.member, content)


def _on_peer_up(turn: Turn, given: PeerUp) -> None:
    lifecycle.on_peer_up(turn, given)
    vouching.on_peer_up(turn, given)


def _read_slot(turn: Turn, given: Confirmed, *, silent: bool = False) -> None:
    """Observe one slot: the history moves on, and an own record is no longer pending."""
    history = turn.state.history
    if given.slot != history.slots + 1:
        raise NotAllowed(f"slot {given.slot} does not follow slot {history.slots}")
    if given.author not in turn.state.manifest.roster.indices:
        raise NotAllowed(f"there is no member {given.author} in the roster")
    record = _decoded(given.data)
    after, ignored = history.read(given.author, given.data, record)
    turn.change(history=after)
    own = turn.state.own
    if given.author == turn.state.me and record is not None:
        turn.own(pending=tuple(waiting for waiting in own.pending if waiting.seq > record.seq))
    if not silent:
        turn.emit("Observe", **_observation(given, record, ignored))
        for member in sorted(after.out - history.out):
            turn.emit("MemberOut", other=member)
    vouching.notice_fork(turn, silent=silent)


def _decoded(data: bytes) -> Record | None:
    try:
        return Record.from_bytes(data)
    except EncodingError:
        return None


def _observation(given: Confirmed, record: Record | None, ignored: str) -> dict[str, Any]:
    """What an Observe event says: the record's kind, author, digest and fields, and the verdict."""
    seen: dict[str, Any] = {"author": given.author, "valid": not ignored}
    if ignored:
        seen["ignored"] = ignored
    if record is None:
        return seen | {"kind": "Unreadable"}
    body = record.body
    seen |= {"kind": record.kind, "digest": record.digest().hex(), "seen": record.seen}
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if name == "blob":
            seen["root"] = value.root.hex()
        elif name not in ("proof", "reason"):
            seen[name] = value.hex() if isinstance(value, bytes) else value
    return seen


def _replay(state: State, entry: AnyEntry) -> State:
    """One journal entry's contribution to the durable state."""
    own, key, life = state.own, state.key, state.life
    match entry:
        case Woke(incarnation=incarnation):
            return replace(state, incarnation=incarnation)
        case Accepted():
            return replace(state, life=replace(life, accepted=True, accepts=life.accepts | {state.me}))
        case AskedForHead():
            return replace(state, life=replace(life, head=Head.OPENING))
        case Declined():
            return replace(state, life=replace(life, declined=entry))
        case BegunKey(attempt=attempt):
            return replace(state, key=replace(key, lost=attempt))
        case AdoptedKey(attempt=attempt, key=digest):
            return replace(state, key=replace(key, adopted=(attempt, digest)))
        case HeldShare(attempt=attempt, key=digest):
            return replace(state, key=replace(key, held={**key.held, attempt: digest}))
        case Vouched(slot=slot, order=order):
            return replace(state, own=replace(own, vouched=(slot, order)))
        case Doubted():
            return replace(state, vouching=replace(state.vouching, doubted=True))
        case Spent(base=base):
            return replace(state, own=replace(own, spent=own.spent | {base}))
        case Released(round=number, aggregate=aggregate):
            return replace(state, own=replace(own, released={**own.released, number: aggregate}))
        case Adopted(round=number, model=model):
            return replace(state, ended=number, models=(*state.models, model)[-2:])
        case Burned(round=number):
            return replace(state, ended=number)
        case Settled(slots=slots, final=final, lost=lost):
            life = replace(life, head=Head.SETTLED, slots=slots, final=dict(final), lost=frozenset(lost))
            return replace(state, life=life)
        case OwnRecord(record=record):
            chain = Chain(record.seq, record.digest())
            vouched = max(own.vouched, (record.seen, record.order))
            own = replace(own, chain=chain, pending=(*own.pending, record), vouched=vouched)
            return _replay_body(replace(state, own=own), record)


def _replay_body(state: State, record: Record) -> State:
    """What an own record says was done already."""
    own, key, life = state.own, state.key, state.life
    match record.body:
        case Join():
            return replace(state, life=replace(life, joined=True))
        case KeyShare(attempt=attempt):
            return replace(state, key=replace(key, reported=attempt))
        case KeyAbandon(attempt=attempt):
            return replace(state, key=replace(key, abandoned=attempt))
        case Commit(round=number):
            return replace(state, own=replace(own, committed=number))
        case Share(round=number):
            return replace(state, own=replace(own, shared=number))
        case Result(round=number):
            return replace(state, own=replace(own, reported=number))
        case Stop():
            return replace(state, life=replace(life, stopped=True))
        case _:
            return state


_HANDLERS: Mapping[type, Callable[[Turn, Any], None]] = {
    Wake: _on_wake,
    Read: _on_read,
    Heard: _on_heard,
    PeerUp: _on_peer_up,
    JobAccepted: lifecycle.on_accepted,
    JobDeclined: lifecycle.on_declined,
    StopRequested: lifecycle.on_stop,
    HeadReady: lifecycle.on_head_ready,
    HeadClosed: lifecycle.on_head_closed,
    HeadFinal: lifecycle.on_head_final,
    CloseDeadline: lifecycle.on_close_deadline,
    MembershipProved: lifecycle.on_membership_proved,
    KeyMade: keygen.on_key_made,
    KeyFailed: keygen.on_key_failed,
    KeyDeadline: keygen.on_key_deadline,
    Contributed: round.on_contributed,
    ContributionFailed: round.on_contribution_failed,
    CommitChecked: round.on_commit_checked,
    ContributeDeadline: round.on_contribute_deadline,
    AttestDeadline: round.on_attest_deadline,
    SealDeadline: round.on_seal_deadline,
    VouchDeadline: vouching.on_vouch_deadline,
    OpenDeadline: opening.on_open_deadline,
    Summed: opening.on_summed,
    ShareStored: opening.on_share_stored,
    ShareChecked: opening.on_share_checked,
    Opened: opening.on_opened,
    ModelFetched: round.on_model_fetched,
}
