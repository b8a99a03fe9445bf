"""One training round, from a global model to its seal, and to the next round (`opening` is in between).
Mirrors `Round.tla`.

Inputs only add to what the member knows; the table at the end says what it does with it. All that
members must agree on is read from `history`; what is here is one member's own work.
"""

from __future__ import annotations

from itertools import takewhile

from protocol.effects import (
    CancelRound,
    CheckCommit,
    Contribute,
    FetchModel,
    SetTimer,
)
from protocol.history import OpenRound, Outcome
from protocol.inputs import (
    AttestDeadline,
    CommitChecked,
    Contributed,
    ContributeDeadline,
    ContributionFailed,
    ModelFetched,
    SealDeadline,
)
from protocol.journal import Adopted, Burned
from protocol.records import Abandon, Attest, Commit, Expire, Seal
from protocol.state import Action, RoundWork, State, Turn
from protocol.vouching import sealed_here

KEPT_MODELS = 2
MAX_DOUBLINGS = 2
"""Deadlines grow to at most four times what the manifest says."""


SEAL_SECONDS = 15
"""A round is sealed by one member; by the next one if that has not happened after so long, and so on."""


def is_current(state: State, number: int) -> bool:
    """Whether round `number` is the current one, and this member has entered it."""
    current = state.history.round
    return current is not None and state.round.number == number == current.number


# What happened


def on_contributed(turn: Turn, given: Contributed) -> None:
    """Upload: the update is stored; nobody knows of it yet."""
    if is_current(turn.state, given.round) and _open(turn.state) and turn.state.round.blob is None:
        turn.round(blob=given.blob)
        turn.emit("Upload", round=given.round, root=given.blob.root.hex())


def on_contribution_failed(turn: Turn, given: ContributionFailed) -> None:
    """This member has nothing to contribute this time."""
    if is_current(turn.state, given.round):
        turn.emit("ContributionFailed", round=given.round, reason=given.reason)


def on_commit_checked(turn: Turn, given: CommitChecked) -> None:
    """Verify or Refuse another member's update, while the round is open."""
    work = turn.state.round
    if not is_current(turn.state, given.round) or given.member not in work.checking or not _open(turn.state):
        return
    turn.round(checking=work.checking - {given.member})
    if given.refusal:
        turn.round(refused=work.refused | {given.member})
        turn.emit("Refuse", round=given.round, other=given.member, reason=given.refusal)
    else:
        turn.round(checked=work.checked | {given.member})
        turn.emit("Verify", round=given.round, other=given.member)


def on_contribute_deadline(turn: Turn, given: ContributeDeadline) -> None:
    """Late commits are not waited for any longer."""
    if is_current(turn.state, given.round):
        turn.round(contribute_expired=True)
        seconds = _patience(turn.state) * turn.state.manifest.deadlines.attest
        turn.do(SetTimer(AttestDeadline(given.round), seconds))


def on_attest_deadline(turn: Turn, given: AttestDeadline) -> None:
    """Late attestations are not waited for any longer."""
    if is_current(turn.state, given.round):
        turn.round(attest_expired=True)


def on_seal_deadline(turn: Turn, given: SealDeadline) -> None:
    """It is this member's turn to seal."""
    if is_current(turn.state, given.round):
        turn.round(seal_expired=True)


def on_model_fetched(turn: Turn, given: ModelFetched) -> None:
    """The weights that others computed are at hand."""
    turn.change(models=(*turn.state.models, given.model)[-KEPT_MODELS:], fetching=None)


# What is so


def _patience(state: State) -> int:
    """How many times the usual deadlines to wait: twice as long after every round burned in a row, so that
    members that are merely slow are not cut off for ever."""
    burned = takewhile(lambda ended: ended.model is None, reversed(state.history.past))
    return int(2 ** min(sum(1 for _ in burned), MAX_DOUBLINGS))


def _open(state: State) -> OpenRound | None:
    """The current round if it is not sealed and this member has entered it."""
    current = state.history.round
    entered = current is not None and current.sealed is None and state.round.number == current.number
    return current if entered else None


def has_base(state: State) -> bool:
    """Whether the current global model is at hand."""
    return state.ended == len(state.history.past) and state.history.model in state.models


def _unchecked(state: State) -> frozenset[int]:
    current, work = _open(state), state.round
    if current is None:
        return frozenset()
    return frozenset(current.commits) - work.checking - work.checked - work.refused - {state.me}


def _unsaid(state: State, checked: frozenset[int]) -> frozenset[int]:
    """Those of `checked` whose commit stands and of whom this member has not spoken yet."""
    current = _open(state)
    if current is None:
        return frozenset()
    return (checked & current.commits.keys()) - state.round.settled - current.settled(state.me)


def _verified(state: State) -> frozenset[int]:
    """Commits that this member has verified (its own included) and not attested yet."""
    return _unsaid(state, state.round.checked | {state.me})


def _refused(state: State) -> frozenset[int]:
    """Commits that this member found wanting and has not said so yet."""
    return _unsaid(state, state.round.refused)


def _nobody_missing(state: State) -> bool:
    """Whether all who are waited for have committed, and each commit is settled here."""
    current = _open(state)
    settled = state.round.checked | state.round.refused | {state.me}
    return current is not None and current.waited <= current.commits.keys() <= settled


def _can_attest(state: State) -> bool:
    something = bool(_verified(state) or _refused(state))
    return something and (_nobody_missing(state) or state.round.contribute_expired)


def _turn_to_seal(state: State) -> int:
    """How many members come before this one: those waited for take turns at coming first."""
    current = state.history.round
    if current is None:
        return 0
    waited = sorted(current.waited)
    if state.me not in current.waited:
        return len(waited)
    return (waited.index(state.me) - current.number) % len(waited)


def _can_seal(state: State) -> bool:
    return _open(state) is not None and not state.round.sealing and state.history.cut() is not None


def _seal_is_due(state: State) -> bool:
    first = _turn_to_seal(state) == 0
    return _can_seal(state) and (first or state.round.seal_expired or state.round.attest_expired)


def _must_await_seal(state: State) -> bool:
    return _can_seal(state) and not state.round.seal_awaited and _turn_to_seal(state) > 0


def _abandon_is_due(state: State) -> bool:
    """Whether the round is lost: closed with nothing to seal, or a sealed sum that does not get opened."""
    if state.round.voted:
        return False
    if sealed_here(state) is not None:
        return state.round.open_expired
    return _open(state) is not None and state.history.closed and state.history.cut() is None


def attempt(state: State) -> int:
    """Which attempt at opening the sealed sum the order has come to; 0 before the seal."""
    return state.history.round.opening if state.history.round is not None else 0


# What is done about it


def _enter_round(turn: Turn) -> None:
    current = turn.state.history.round
    if current is not None:
        if turn.state.round.number:
            turn.do(CancelRound(turn.state.round.number))
        turn.change(round=RoundWork(current.number))
        deadline = ContributeDeadline(current.number)
        turn.do(SetTimer(deadline, _patience(turn.state) * turn.state.manifest.deadlines.contribute))


def _leave_last_round(turn: Turn) -> None:
    turn.do(CancelRound(turn.state.round.number))
    turn.change(round=RoundWork())


def _fetch_model(turn: Turn) -> None:
    ended = turn.state.history.past[turn.state.ended]
    model = ended.model or b""
    turn.change(fetching=model)
    turn.do(FetchModel(ended.number, model))


def _end_round(turn: Turn) -> None:
    state = turn.state
    ended = state.history.past[state.ended]
    turn.change(ended=state.ended + 1)
    if ended.model is None:
        turn.journal(Burned(ended.number))
        turn.emit("BurnRound", round=ended.number)
        return
    turn.journal(Adopted(ended.number, ended.model))
    outcome = Outcome(ended.model, ended.discarded)
    mine = state.round.outcome if state.round.number == ended.number else None
    if mine not in (None, outcome):
        turn.emit("ResultDiffers", round=ended.number, mine=mine.model.hex() if mine else "")
    if mine != outcome:
        turn.emit("CatchUp", round=ended.number, model=ended.model.hex())
    turn.emit("EndRound", round=ended.number, model=ended.model.hex(), discarded=ended.discarded)


def _can_end_round(state: State) -> bool:
    """A past round can be put away when it was burned, is not the last that was opened, or its model is
    at hand."""
    if state.ended >= len(state.history.past):
        return False
    ended = state.history.past[state.ended]
    return ended.model is None or ended.model in state.models or ended.model != state.history.model


def _train(turn: Turn) -> None:
    number, history = turn.state.round.number, turn.state.history
    turn.round(contributing=True)
    turn.emit("Train", round=number)
    turn.do(Contribute(number, history.model, history.ranged))


def _submit_commit(turn: Turn) -> None:
    number, blob = turn.state.round.number, turn.state.round.blob
    if blob is not None:
        turn.own(committed=number)
        turn.submit(Commit(number, blob))
        turn.emit("SubmitCommit", round=number, root=blob.root.hex())


def _check_commits(turn: Turn) -> None:
    current, unchecked = _open(turn.state), _unchecked(turn.state)
    if current is not None:
        turn.round(checking=turn.state.round.checking | unchecked)
        for member in sorted(unchecked):
            blob = current.commits[member]
            turn.do(CheckCommit(current.number, member, blob, turn.state.history.ranged))


def _submit_attest(turn: Turn) -> None:
    number, verified, refused = turn.state.round.number, _verified(turn.state), _refused(turn.state)
    turn.round(settled=turn.state.round.settled | verified | refused)
    said = {"verified": tuple(sorted(verified)), "refused": tuple(sorted(refused))}
    turn.submit(Attest(number, **said))
    turn.emit("SubmitAttest", round=number, **said)


def _submit_expire(turn: Turn) -> None:
    turn.round(expired=True)
    turn.submit(Expire(turn.state.round.number))
    turn.emit("SubmitExpire", round=turn.state.round.number)


def _await_seal(turn: Turn) -> None:
    turn.round(seal_awaited=True)
    turn.do(SetTimer(SealDeadline(turn.state.round.number), SEAL_SECONDS * _turn_to_seal(turn.state)))


def _submit_seal(turn: Turn) -> None:
    turn.round(sealing=True)
    turn.submit(Seal(turn.state.round.number))
    turn.emit("SubmitSeal", round=turn.state.round.number)


def _submit_abandon(turn: Turn) -> None:
    number, opening = turn.state.round.number, attempt(turn.state)
    turn.round(voted=True)
    turn.submit(Abandon(number, opening))
    turn.emit("SubmitAbandon", round=number, opening=opening)


def _may_contribute(state: State) -> bool:
    current = _open(state)
    if current is None or state.me not in current.waited:
        return False
    return state.own.committed < state.round.number


ACTIONS = (
    Action(
        "FetchModel",
        lambda s: s.ended < len(s.history.past) and not _can_end_round(s) and s.fetching is None,
        _fetch_model,
    ),
    Action("EndRound", _can_end_round, _end_round),
    Action(
        "EnterRound",
        lambda s: s.history.round is not None and s.round.number != s.history.round.number == s.ended + 1,
        _enter_round,
    ),
    Action("LeaveLastRound", lambda s: s.history.over and s.round.number != 0, _leave_last_round),
    Action(
        "Train",
        lambda s: (
            _may_contribute(s) and not s.round.contributing and not s.round.contribute_expired and has_base(s)
        ),
        _train,
    ),
    Action(
        "SubmitCommit",
        lambda s: _may_contribute(s) and s.round.blob is not None,
        _submit_commit,
        submits=True,
    ),
    Action("CheckCommits", lambda s: bool(_unchecked(s)), _check_commits),
    Action("SubmitAttest", _can_attest, _submit_attest, submits=True),
    Action(
        "SubmitExpire",
        lambda s: _open(s) is not None and s.round.attest_expired and not s.round.expired,
        _submit_expire,
        submits=True,
    ),
    Action("AwaitSeal", _must_await_seal, _await_seal),
    Action("SubmitSeal", _seal_is_due, _submit_seal, submits=True),
    Action("SubmitAbandon", _abandon_is_due, _submit_abandon, submits=True),
)
