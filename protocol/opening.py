"""The sealed sum of a round: added up, decrypted by T shares, applied, and reported. Mirrors `Round.tla`.

Nobody chooses any more: the sum is the sealed one, and a member's share of it is the only one of the round
that ever leaves its hands.
"""

from __future__ import annotations

from protocol.effects import CheckShare, OpenSum, ReleaseShare, SetTimer, SumSealed
from protocol.history import Outcome
from protocol.inputs import OpenDeadline, Opened, ShareChecked, ShareStored, Summed
from protocol.journal import Released, Spent
from protocol.records import Result, Share
from protocol.round import KEPT_MODELS, MAX_DOUBLINGS, attempt, has_base, is_current
from protocol.state import Action, State, Turn
from protocol.vouching import enough_vouchers, sealed_here

# What happened


def on_open_deadline(turn: Turn, given: OpenDeadline) -> None:
    """The sealed sum should have been opened by now."""
    if is_current(turn.state, given.round) and turn.state.round.opening == given.opening:
        turn.round(open_expired=True)


def on_summed(turn: Turn, given: Summed) -> None:
    """Aggregate: the sealed sum is at hand."""
    sealed = sealed_here(turn.state)
    if is_current(turn.state, given.round) and sealed is not None and not turn.state.round.summed:
        turn.round(summed=True)
        if given.round not in turn.state.own.released:
            turn.emit("Aggregate", round=given.round, aggregate=sealed.aggregate.hex())


def on_share_stored(turn: Turn, given: ShareStored) -> None:
    """This member's partial decryptions are stored."""
    if is_current(turn.state, given.round):
        turn.round(share=given.blob)


def on_share_checked(turn: Turn, given: ShareChecked) -> None:
    """AcceptShare or RefuseShare of another member."""
    work = turn.state.round
    if not is_current(turn.state, given.round) or given.member not in work.checking_shares:
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
    if is_current(turn.state, given.round) and turn.state.round.outcome is None:
        turn.round(outcome=Outcome(given.model, bool(given.discarded)))
        if given.discarded:
            turn.emit("DiscardSum", round=given.round, reason=given.discarded)
        turn.emit("Combine", round=given.round, model=given.model.hex())


# What is so


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
    ready = state.round.summed and not state.round.combining and has_base(state)
    shared = state.own.shared == state.round.number
    return sealed_here(state) is not None and ready and shared and len(_accepted_shares(state)) >= needed


def _can_release(state: State) -> bool:
    """Once per round, ever: whatever was released before, a second aggregate is none of this member's."""
    ready = state.round.summed and sealed_here(state) is not None and not state.vouching.forked
    return ready and state.round.number not in state.own.released and enough_vouchers(state)


def _can_share(state: State) -> bool:
    work, sealed = state.round, sealed_here(state)
    released = sealed is not None and state.own.released.get(work.number) == sealed.aggregate
    return work.summed and released and not work.sharing and state.own.shared < work.number


# What is done about it


def _spend(turn: Turn) -> None:
    for base in sorted(_unspent(turn.state)):
        turn.own(spent=turn.state.own.spent | {base})
        turn.journal(Spent(base))


def _begin_opening(turn: Turn) -> None:
    """The first attempt at the sealed sum, or another: with more patience each time."""
    number, opening = turn.state.round.number, attempt(turn.state)
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


ACTIONS = (
    Action("Spend", lambda s: bool(_unspent(s)), _spend),
    Action(
        "BeginOpening",
        lambda s: sealed_here(s) is not None and attempt(s) > s.round.opening,
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
