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
from protocol.history import OpenRound, Outcome
from protocol.inputs import (
    AttestDeadline,
    CommitChecked,
    Contributed,
    ContributeDeadline,
    ContributionFailed,
    ModelFetched,
    OpenDeadline,
    Opened,
    SealDeadline,
    ShareChecked,
    ShareStored,
    Summed,
)
from protocol.journal import Adopted, Burned, Released, Spent
from protocol.records import Abandon, Attest, Commit, Expire, Result, Seal, Share
from protocol.state import Action, RoundWork, State, Turn
from protocol.vouching import enough_vouchers, sealed_here

KEPT_MODELS = 2
MAX_DOUBLINGS = 2
"""Deadlines grow to at most four times what the manifest says."""


SEAL_SECONDS = 15
"""A round is sealed by one member; by the next one if that has not happened after so long, and so on."""


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
        turn.round(contribute_expired=True)
        seconds = _patience(turn.state) * turn.state.manifest.deadlines.attest
        turn.do(SetTimer(AttestDeadline(given.round), seconds))


def on_attest_deadline(turn: Turn, given: AttestDeadline) -> None:
    """Late attestations are not waited for any longer."""
    if _is_current(turn.state, given.round):
        turn.round(attest_expired=True)


def on_seal_deadline(turn: Turn, given: SealDeadline) -> None:
    """It is this member's turn to seal."""
    if _is_current(turn.state, given.round):
        turn.round(seal_expired=True)


def on_open_deadline(turn: Turn, given: OpenDeadline) -> None:
    """The sealed sum should have been opened by now."""
    if _is_current(turn.state, given.round) and turn.state.round.opening == given.opening:
        turn.round(open_expired=True)


def on_summed(turn: Turn, given: Summed) -> None:
    """Aggregate: the sealed sum is at hand."""
    sealed = sealed_here(turn.state)
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
    if _is_current(turn.state, given.round) and turn.state.round.outcome is None:
        turn.round(outcome=Outcome(given.model, bool(given.discarded)))
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


def _has_base(state: State) -> bool:
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


def _attempt(state: State) -> int:
    """Which attempt at opening the sealed sum the order has come to; 0 before the seal."""
    return state.history.round.opening if state.history.round is not None else 0


def _unspent(state: State) -> frozenset[bytes]:
    """Base models from which this member's update was sealed, and which it has not written down."""
    bases = (base for base, sums in state.history.spent.items() if any(state.me in sum_ for sum_ in sums))
    return frozenset(bases) - state.own.spent


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
    if current is None or not work.summed or work.combining or work.number != current.number:
        return ()
    known = work.checking_shares | work.shares | work.refused_shares | {state.me}
    wanted = state.manifest.thresholds.shares + state.manifest.thresholds.colluders
    missing = wanted - len(_accepted_shares(state)) - len(work.checking_shares)
    return tuple(sorted(current.shares.keys() - known))[: max(0, missing)]


def _can_open(state: State) -> bool:
    needed = state.manifest.thresholds.shares
    ready = state.round.summed and not state.round.combining and _has_base(state)
    shared = state.own.shared == state.round.number
    return sealed_here(state) is not None and ready and shared and len(_accepted_shares(state)) >= needed


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
    number, opening = turn.state.round.number, _attempt(turn.state)
    turn.round(voted=True)
    turn.submit(Abandon(number, opening))
    turn.emit("SubmitAbandon", round=number, opening=opening)


def _spend(turn: Turn) -> None:
    for base in sorted(_unspent(turn.state)):
        turn.own(spent=turn.state.own.spent | {base})
        turn.journal(Spent(base))


def _begin_opening(turn: Turn) -> None:
    """The first attempt at the sealed sum, or another: with more patience each time."""
    number, opening = turn.state.round.number, _attempt(turn.state)
    turn.round(opening=opening, open_expired=False, voted=False, refused_shares=frozenset())
    if opening > 1:
        turn.emit("Reopen", round=number, opening=opening)
    patience = 2 ** min(opening - 1, MAX_DOUBLINGS)
    turn.do(SetTimer(OpenDeadline(number, opening), patience * turn.state.manifest.deadlines.open))


def _aggregate(turn: Turn) -> None:
    sealed = sealed_here(turn.state)
    if sealed is not None:
        number = turn.state.round.number
        turn.round(summing=True)
        turn.do(SumSealed(number, sealed.contributions, turn.state.history.ranged))


def _release(turn: Turn) -> None:
    number, sealed, released = turn.state.round.number, sealed_here(turn.state), turn.state.own.released
    if sealed is not None:
        turn.own(released={**released, number: sealed.aggregate})
        turn.journal(Released(number, sealed.aggregate))
        turn.emit("Release", round=number, aggregate=sealed.aggregate.hex())


def _share(turn: Turn) -> None:
    sealed = sealed_here(turn.state)
    if sealed is not None:
        turn.round(sharing=True)
        turn.do(ReleaseShare(turn.state.round.number, sealed.aggregate))


def _submit_share(turn: Turn) -> None:
    number, sealed, blob = turn.state.round.number, sealed_here(turn.state), turn.state.round.share
    if sealed is not None and blob is not None:
        turn.own(shared=number)
        turn.submit(Share(number, sealed.aggregate, blob))
        turn.emit("SubmitShare", round=number, aggregate=sealed.aggregate.hex())


def _check_shares(turn: Turn) -> None:
    current, sealed, wanted = turn.state.history.round, sealed_here(turn.state), _shares_to_check(turn.state)
    if current is not None and sealed is not None:
        turn.round(checking_shares=turn.state.round.checking_shares | set(wanted))
        for member in wanted:
            turn.do(CheckShare(current.number, member, sealed.aggregate, current.shares[member]))


def _combine(turn: Turn) -> None:
    current, sealed = turn.state.history.round, sealed_here(turn.state)
    if current is not None and sealed is not None:
        turn.round(combining=True)
        quorum = _accepted_shares(turn.state)[: turn.state.manifest.thresholds.shares]
        shares = tuple((member, current.shares[member]) for member in quorum)
        model = turn.state.history.model
        turn.do(OpenSum(current.number, sealed.aggregate, shares, sealed.members, model))


def _submit_result(turn: Turn) -> None:
    number, outcome = turn.state.round.number, turn.state.round.outcome
    if outcome is not None:
        turn.own(reported=number)
        turn.submit(Result(number, outcome.model, outcome.discarded))
        turn.emit("SubmitResult", round=number, model=outcome.model.hex(), discarded=outcome.discarded)


def _can_release(state: State) -> bool:
    """Once per round, ever: whatever was released before, a second aggregate is none of this member's."""
    ready = state.round.summed and sealed_here(state) is not None and not state.vouching.forked
    return ready and state.round.number not in state.own.released and enough_vouchers(state)


def _can_share(state: State) -> bool:
    work, sealed = state.round, sealed_here(state)
    released = sealed is not None and state.own.released.get(work.number) == sealed.aggregate
    return work.summed and released and not work.sharing and state.own.shared < work.number


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
            _may_contribute(s)
            and not s.round.contributing
            and not s.round.contribute_expired
            and _has_base(s)
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
    Action("Spend", lambda s: bool(_unspent(s)), _spend),
    Action(
        "BeginOpening",
        lambda s: sealed_here(s) is not None and _attempt(s) > s.round.opening,
        _begin_opening,
    ),
    Action("Aggregate", lambda s: sealed_here(s) is not None and not s.round.summing, _aggregate),
    Action("Release", _can_release, _release),
    Action("ReleaseShare", _can_share, _share),
    Action(
        "SubmitShare",
        lambda s: sealed_here(s) is not None and s.round.share is not None and s.own.shared < s.round.number,
        _submit_share,
        submits=True,
    ),
    Action("CheckShares", lambda s: bool(_shares_to_check(s)), _check_shares),
    Action("Combine", _can_open, _combine),
    Action(
        "SubmitResult",
        lambda s: (
            sealed_here(s) is not None and s.round.outcome is not None and s.own.reported < s.round.number
        ),
        _submit_result,
        submits=True,
    ),
)
