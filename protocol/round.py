"""One training round, from a global model to the next. Mirrors `Round.tla`.

Inputs only add to what the member knows; the table at the end says what it does with it. All that
members must agree on is read from `history`; what is here is one member's own work.
"""

from __future__ import annotations

from itertools import takewhile

from protocol.effects import (
    CancelRound,
    CheckCommit,
    CheckShare,
    Contribute,
    FetchModel,
    OpenSum,
    ReleaseShare,
    SetTimer,
    SumSealed,
)
from protocol.errors import OwnFault
from protocol.history import OpenRound, Sealed
from protocol.inputs import (
    AttestDeadline,
    CommitChecked,
    Contributed,
    ContributeDeadline,
    ContributionFailed,
    ModelFetched,
    OpenDeadline,
    Opened,
    ShareChecked,
    ShareStored,
    Summed,
)
from protocol.journal import Adopted, Burned, Released
from protocol.records import Abandon, Attest, Commit, Result, Seal, Share
from protocol.state import Action, RoundWork, State, Turn

KEPT_MODELS = 2
MAX_DOUBLINGS = 2
"""Deadlines grow to at most four times what the manifest says."""


class WouldContradict(OwnFault):
    """The member would release shares for a second aggregate of a round: never, whatever happened."""


def _is_current(state: State, number: int) -> bool:
    current = state.history.round
    return current is not None and state.round.number == number == current.number


# What happened


def on_contributed(turn: Turn, given: Contributed) -> None:
    """Upload: the update is stored; nobody knows of it yet."""
    if _is_current(turn.state, given.round) and _open(turn.state) and turn.state.round.blob is None:
        turn.round(blob=given.blob)
        turn.emit("Upload", round=given.round, root=given.blob.root.hex())


def on_contribution_failed(turn: Turn, given: ContributionFailed) -> None:
    """This member has nothing to contribute this time."""
    if _is_current(turn.state, given.round):
        turn.emit("ContributionFailed", round=given.round, reason=given.reason)


def on_commit_checked(turn: Turn, given: CommitChecked) -> None:
    """Verify or Refuse another member's update, while the round is open."""
    work = turn.state.round
    if not _is_current(turn.state, given.round) or given.member not in work.checking or not _open(turn.state):
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
    if _is_current(turn.state, given.round):
        turn.round(late=True)
        seconds = _patience(turn.state) * turn.state.manifest.deadlines.attest
        turn.do(SetTimer(AttestDeadline(given.round), seconds))


def on_attest_deadline(turn: Turn, given: AttestDeadline) -> None:
    """Late attestations are not waited for any longer."""
    if _is_current(turn.state, given.round):
        turn.round(overdue=True)


def on_open_deadline(turn: Turn, given: OpenDeadline) -> None:
    """The sealed sum should have been opened by now."""
    if _is_current(turn.state, given.round):
        turn.round(stuck=True)


def on_summed(turn: Turn, given: Summed) -> None:
    """Aggregate: the sealed sum is at hand."""
    sealed = _sealed(turn.state)
    if _is_current(turn.state, given.round) and sealed is not None and not turn.state.round.summed:
        turn.round(summed=True)
        if given.round not in turn.state.own.released:
            turn.emit("Aggregate", round=given.round, aggregate=sealed.aggregate.hex())


def on_share_stored(turn: Turn, given: ShareStored) -> None:
    """This member's partial decryptions are stored."""
    if _is_current(turn.state, given.round):
        turn.round(share=given.blob)


def on_share_checked(turn: Turn, given: ShareChecked) -> None:
    """AcceptShare or RefuseShare of another member."""
    work = turn.state.round
    if not _is_current(turn.state, given.round) or given.member not in work.checking_shares:
        return
    turn.round(checking_shares=work.checking_shares - {given.member})
    if given.refusal:
        turn.round(refused_shares=work.refused_shares | {given.member})
        turn.emit("RefuseShare", round=given.round, other=given.member, reason=given.refusal)
    else:
        turn.round(shares=work.shares | {given.member})
        turn.emit("AcceptShare", round=given.round, other=given.member)


def on_opened(turn: Turn, given: Opened) -> None:
    """Combine: the new model is computed and stored."""
    turn.change(models=(*turn.state.models, given.model)[-KEPT_MODELS:])
    if _is_current(turn.state, given.round) and turn.state.round.model is None:
        turn.round(model=given.model)
        if given.discarded:
            turn.emit("DiscardSum", round=given.round, reason=given.discarded)
        turn.emit("Combine", round=given.round, model=given.model.hex())


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


def _sealed(state: State) -> Sealed | None:
    """The cut of the current round if this member has entered it."""
    current = state.history.round
    return current.sealed if current is not None and state.round.number == current.number else None


def _has_base(state: State) -> bool:
    """Whether the current global model is at hand."""
    return state.ended == len(state.history.past) and state.history.model in state.models


def _unchecked(state: State) -> frozenset[int]:
    current, work = _open(state), state.round
    if current is None:
        return frozenset()
    return frozenset(current.commits) - work.checking - work.checked - work.refused - {state.me}


def _attestable(state: State) -> frozenset[int]:
    """Commits this member has verified (its own included) and not attested yet."""
    current = _open(state)
    if current is None:
        return frozenset()
    verified = (state.round.checked | {state.me}) & current.commits.keys()
    return verified - state.round.attested - current.attested.get(state.me, frozenset())


def _nobody_missing(state: State) -> bool:
    """Whether everyone has committed, and each commit is settled here."""
    current = _open(state)
    settled = state.round.checked | state.round.refused | {state.me}
    return current is not None and len(current.commits) == state.manifest.roster.size <= len(settled)


def _seal_is_due(state: State) -> bool:
    current = _open(state)
    if current is None or state.round.sealing or state.history.cut() is None:
        return False
    size = state.manifest.roster.size
    everyone = len(current.attested) == size and state.me == current.number % size + 1
    return everyone or state.round.overdue


def _abandon_is_due(state: State) -> bool:
    """Whether the round took too long: nothing to seal, or a sealed sum that does not get opened."""
    if state.round.voted or (_sealed(state) is None and _open(state) is None):
        return False
    if _sealed(state) is not None:
        return state.round.stuck
    return state.round.overdue and state.history.cut() is None


def _accepted_shares(state: State) -> tuple[int, ...]:
    """Members whose recorded shares this member trusts: those it verified, and its own."""
    current = state.history.round
    if current is None:
        return ()
    mine = {state.me} if state.own.shared == current.number else set()
    return tuple(sorted((state.round.shares | mine) & current.shares.keys()))


def _shares_to_check(state: State) -> tuple[int, ...]:
    """Recorded shares of others, as many as are still needed to reach the threshold, and one more for
    each colluder: theirs may be out of reach for good."""
    current, work = state.history.round, state.round
    if current is None or not work.summed or work.opening or work.number != current.number:
        return ()
    known = work.checking_shares | work.shares | work.refused_shares | {state.me}
    wanted = state.manifest.thresholds.shares + state.manifest.thresholds.colluders
    missing = wanted - len(_accepted_shares(state)) - len(work.checking_shares)
    return tuple(sorted(current.shares.keys() - known))[: max(0, missing)]


def _can_open(state: State) -> bool:
    needed = state.manifest.thresholds.shares
    ready = state.round.summed and not state.round.opening and _has_base(state)
    shared = state.own.shared == state.round.number
    return _sealed(state) is not None and ready and shared and len(_accepted_shares(state)) >= needed


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
    if state.round.number == ended.number and state.round.model not in (None, ended.model):
        turn.emit("ResultDiffers", round=ended.number, mine=(state.round.model or b"").hex())
    if state.round.number != ended.number or state.round.model != ended.model:
        turn.emit("CatchUp", round=ended.number, model=ended.model.hex())
    turn.emit("EndRound", round=ended.number, model=ended.model.hex())


def _can_end_round(state: State) -> bool:
    """A past round can be put away when it was burned, is not the last that was opened, or its model is
    at hand."""
    if state.ended >= len(state.history.past):
        return False
    ended = state.history.past[state.ended]
    return ended.model is None or ended.model in state.models or ended.model != state.history.model


def _train(turn: Turn) -> None:
    number = turn.state.round.number
    turn.round(contributing=True)
    turn.emit("Train", round=number)
    turn.do(Contribute(number, turn.state.history.model))


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
            turn.do(CheckCommit(current.number, member, current.commits[member]))


def _submit_attest(turn: Turn) -> None:
    number, verified = turn.state.round.number, _attestable(turn.state)
    turn.round(attested=turn.state.round.attested | verified)
    turn.submit(Attest(number, tuple(sorted(verified))))
    turn.emit("SubmitAttest", round=number, verified=tuple(sorted(verified)))


def _submit_seal(turn: Turn) -> None:
    turn.round(sealing=True)
    turn.submit(Seal(turn.state.round.number))
    turn.emit("SubmitSeal", round=turn.state.round.number)


def _submit_abandon(turn: Turn) -> None:
    turn.round(voted=True)
    turn.submit(Abandon(turn.state.round.number))
    turn.emit("SubmitAbandon", round=turn.state.round.number)


def _aggregate(turn: Turn) -> None:
    sealed = _sealed(turn.state)
    if sealed is not None:
        number = turn.state.round.number
        turn.round(summing=True)
        turn.do(SumSealed(number, sealed.contributions))
        turn.do(SetTimer(OpenDeadline(number), turn.state.manifest.deadlines.open))


def _release(turn: Turn) -> None:
    number, sealed, released = turn.state.round.number, _sealed(turn.state), turn.state.own.released
    if sealed is not None:
        if released.get(number, sealed.aggregate) != sealed.aggregate:
            raise WouldContradict(f"shares of round {number} were released for another aggregate")
        turn.own(released={**released, number: sealed.aggregate})
        turn.journal(Released(number, sealed.aggregate))
        turn.emit("Release", round=number, aggregate=sealed.aggregate.hex())


def _share(turn: Turn) -> None:
    sealed = _sealed(turn.state)
    if sealed is not None:
        turn.round(sharing=True)
        turn.do(ReleaseShare(turn.state.round.number, sealed.aggregate))


def _submit_share(turn: Turn) -> None:
    number, sealed, blob = turn.state.round.number, _sealed(turn.state), turn.state.round.share
    if sealed is not None and blob is not None:
        turn.own(shared=number)
        turn.submit(Share(number, sealed.aggregate, blob))
        turn.emit("SubmitShare", round=number, aggregate=sealed.aggregate.hex())


def _check_shares(turn: Turn) -> None:
    current, sealed, wanted = turn.state.history.round, _sealed(turn.state), _shares_to_check(turn.state)
    if current is not None and sealed is not None:
        turn.round(checking_shares=turn.state.round.checking_shares | set(wanted))
        for member in wanted:
            turn.do(CheckShare(current.number, member, sealed.aggregate, current.shares[member]))


def _combine(turn: Turn) -> None:
    current, sealed = turn.state.history.round, _sealed(turn.state)
    if current is not None and sealed is not None:
        turn.round(opening=True)
        quorum = _accepted_shares(turn.state)[: turn.state.manifest.thresholds.shares]
        shares = tuple((member, current.shares[member]) for member in quorum)
        model = turn.state.history.model
        turn.do(OpenSum(current.number, sealed.aggregate, shares, sealed.members, model))


def _submit_result(turn: Turn) -> None:
    number, model = turn.state.round.number, turn.state.round.model
    if model is not None:
        turn.own(reported=number)
        turn.submit(Result(number, model))
        turn.emit("SubmitResult", round=number, model=model.hex())


def _can_release(state: State) -> bool:
    return state.round.summed and _sealed(state) is not None and state.round.number not in state.own.released


def _can_share(state: State) -> bool:
    work, sealed = state.round, _sealed(state)
    released = sealed is not None and state.own.released.get(work.number) == sealed.aggregate
    return work.summed and released and not work.sharing and state.own.shared < work.number


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
            _open(s) is not None
            and not s.round.contributing
            and s.own.committed < s.round.number
            and not s.round.late
            and _has_base(s)
        ),
        _train,
    ),
    Action(
        "SubmitCommit",
        lambda s: _open(s) is not None and s.round.blob is not None and s.own.committed < s.round.number,
        _submit_commit,
        submits=True,
    ),
    Action("CheckCommits", lambda s: bool(_unchecked(s)), _check_commits),
    Action(
        "SubmitAttest",
        lambda s: bool(_attestable(s)) and (_nobody_missing(s) or s.round.late),
        _submit_attest,
        submits=True,
    ),
    Action("SubmitSeal", _seal_is_due, _submit_seal, submits=True),
    Action("SubmitAbandon", _abandon_is_due, _submit_abandon, submits=True),
    Action("Aggregate", lambda s: _sealed(s) is not None and not s.round.summing, _aggregate),
    Action("Release", _can_release, _release),
    Action("ReleaseShare", _can_share, _share),
    Action(
        "SubmitShare",
        lambda s: _sealed(s) is not None and s.round.share is not None and s.own.shared < s.round.number,
        _submit_share,
        submits=True,
    ),
    Action("CheckShares", lambda s: bool(_shares_to_check(s)), _check_shares),
    Action("Combine", _can_open, _combine),
    Action(
        "SubmitResult",
        lambda s: _sealed(s) is not None and s.round.model is not None and s.own.reported < s.round.number,
        _submit_result,
        submits=True,
    ),
)
