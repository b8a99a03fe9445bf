"""A job's life: proposed, accepted by all, a head opened, joined; in the end closed and settled.

Mirrors `Lifecycle.tla`. What happens in between is `keygen` and `round`.
"""

from __future__ import annotations

from protocol.effects import CloseHead, OpenHead, ProveMembership, Say, SetTimer
from protocol.encoding.errors import EncodingError
from protocol.history import Phase
from protocol.inputs import (
    CloseDeadline,
    HeadClosed,
    HeadFinal,
    HeadReady,
    JobAccepted,
    JobDeclined,
    MembershipProved,
    PeerUp,
    StopRequested,
)
from protocol.journal import Accepted, AskedForHead, Declined, Settled
from protocol.messages import Accept, Decline, Propose
from protocol.records import Join, Record, Stop
from protocol.state import Action, Head, State, Turn

CLOSE_SECONDS = 180
"""A head is closed by member 1; by the next one if that has not happened after so long, and so on. It takes a
minute or two until a transaction is seen on L1."""


def on_accepted(turn: Turn, given: JobAccepted) -> None:
    """ProposeJob or AcceptJob: the operator agrees; everyone is told."""
    if turn.state.life.accepted or turn.state.life.declined:
        return
    turn.journal(Accepted())
    turn.life(accepted=True, accepts=turn.state.life.accepts | {turn.state.me})
    turn.emit("ProposeJob" if given.proposing else "AcceptJob")
    turn.do(Say(turn.state.others, Accept(turn.state.history.job)))


def on_declined(turn: Turn, given: JobDeclined) -> None:
    """DeclineJob: the operator does not want it, or no longer. A job whose head opens is stopped instead."""
    if not can_decline(turn.state):
        return
    _note_decline(turn, Declined(turn.state.me, given.reason))
    turn.emit("DeclineJob", reason=given.reason.text)
    turn.do(Say(turn.state.others, Decline(turn.state.history.job, given.reason)))


def on_heard(turn: Turn, member: int, content: Propose | Accept | Decline) -> None:
    """A peer proposes again, accepts or declines."""
    job = turn.state.history.job
    match content:
        case Accept() if content.job == job:
            turn.life(accepts=turn.state.life.accepts | {member})
        case Decline() if content.job == job and _can_be_declined(turn.state):
            _note_decline(turn, Declined(member, content.reason))
            turn.emit("JobDeclined", other=member, reason=content.reason.text)


def on_peer_up(turn: Turn, given: PeerUp) -> None:
    """Until the job runs, a peer that was away is told of it again, and whether it is accepted here."""
    job, life = turn.state.history.job, turn.state.life
    if turn.state.history.phase is not Phase.JOINING:
        return
    if life.declined is None:
        turn.do(Say((given.member,), Propose(turn.state.manifest)))
        if life.accepted:
            turn.do(Say((given.member,), Accept(job)))
    elif life.declined.member == turn.state.me:
        turn.do(Say((given.member,), Decline(job, life.declined.reason)))


def on_stop(turn: Turn, given: StopRequested) -> None:
    """The operator wants the job to end."""
    turn.life(stop=given.reason)


def on_head_ready(turn: Turn, given: HeadReady) -> None:
    """OpenHead: this member sees the head open, and can anchor records in it."""
    life = turn.state.life
    if life.head is Head.OPENING or (life.head is Head.NONE and life.declined is None):
        turn.life(head=Head.READY)
        turn.emit("OpenHead")


def on_head_closed(turn: Turn, given: HeadClosed) -> None:
    """The head is closed: by this member, by another, or by an operator."""
    turn.life(head=Head.CLOSED)


def on_head_final(turn: Turn, given: HeadFinal) -> None:
    """What the chain holds in the end."""
    digests = {member: _digest_of(datum) for member, datum in given.datums.items()}
    final = {member: digest for member, digest in digests.items() if digest is not None}
    turn.life(head=Head.CLOSED, final=final, lost=given.lost)


def on_close_deadline(turn: Turn, given: CloseDeadline) -> None:
    """It is this member's turn to close the head."""
    turn.life(closes=True)


def on_membership_proved(turn: Turn, given: MembershipProved) -> None:
    """The Join record can be written."""
    turn.life(proof=given.proof)


def _note_decline(turn: Turn, declined: Declined) -> None:
    turn.journal(declined)
    turn.life(declined=declined)


def _ask_for_head(turn: Turn) -> None:
    turn.life(head=Head.OPENING)
    turn.journal(AskedForHead())
    turn.do(OpenHead())


def _prove(turn: Turn) -> None:
    turn.life(proving=True)
    turn.do(ProveMembership())


def _submit_join(turn: Turn) -> None:
    proof = turn.state.life.proof
    if proof is not None:
        turn.life(joined=True)
        turn.submit(Join(proof))
        turn.emit("SubmitJoin")


def _submit_stop(turn: Turn) -> None:
    reason = turn.state.life.stop
    if reason is not None:
        turn.life(stopped=True)
        turn.submit(Stop(reason))
        turn.emit("SubmitStop")


def _finish_job(turn: Turn) -> None:
    turn.emit("FinishJob", model=turn.state.history.model.hex())
    _end_job(turn)


def _abort_job(turn: Turn) -> None:
    turn.emit("AbortJob", reason=turn.state.history.reason)
    _end_job(turn)


def _end_job(turn: Turn) -> None:
    first = turn.state.me == 1
    turn.life(ended=True, closes=first)
    if not first:
        turn.do(SetTimer(CloseDeadline(), CLOSE_SECONDS * (turn.state.me - 1)))


def _close_head(turn: Turn) -> None:
    turn.life(head=Head.CLOSING)
    turn.emit("CloseHead")
    turn.do(CloseHead())


def _settle_job(turn: Turn) -> None:
    differing, lost = mismatches(turn.state), tuple(sorted(turn.state.life.lost))
    turn.life(head=Head.SETTLED)
    turn.emit("SettleJob", mismatches=differing, lost=lost)
    final = tuple(sorted((turn.state.life.final or {}).items()))
    turn.journal(Settled(turn.state.history.slots, final, lost))


def mismatches(state: State) -> tuple[int, ...]:
    """Members whose last datum on L1 is none of their records in the order; where it is an earlier one than
    the last, the settlement has lost the rest."""
    final = state.life.final or {}
    chains = state.history.chains
    return tuple(
        member
        for member in state.manifest.roster.indices
        if member in chains and member not in state.life.lost and final.get(member) != chains[member].digest
    )


def over(state: State) -> bool:
    """Whether nothing is left to do, settlement included. A head that was closed early ends a job too."""
    if state.life.head is Head.NONE:
        return state.life.declined is not None
    given_up = state.life.declined is not None or state.history.phase is Phase.ABORTED
    return state.life.head is Head.SETTLED and (given_up or _done_here(state))


def can_decline(state: State) -> bool:
    """Whether the member can still say that it does not want the job, accepted or not."""
    return state.life.head is Head.NONE and _unbegun(state)


def _digest_of(datum: bytes) -> bytes | None:
    """The digest of the record in a final datum; None where there is none in it."""
    try:
        return Record.from_bytes(datum).digest()
    except EncodingError:
        return None


def _everyone_accepted(state: State) -> bool:
    return state.life.accepted and len(state.life.accepts) == state.manifest.roster.size


def _ready_to_join(state: State) -> bool:
    life = state.life
    return life.accepted and life.declined is None and life.head is Head.READY and not life.joined


def _can_be_declined(state: State) -> bool:
    """Whether another member's word still matters. Where the head is open already, those in it can stop the
    job by their votes, and must not be talked out of them one by one."""
    return state.life.head in (Head.NONE, Head.OPENING) and _unbegun(state)


def _unbegun(state: State) -> bool:
    """After a restart the head has to be seen anew: what was joined has begun nevertheless."""
    life = state.life
    return state.history.phase is Phase.JOINING and not life.joined and life.declined is None


def _done_here(state: State) -> bool:
    return state.ended == len(state.history.past)


ACTIONS = (
    Action(
        "AskForHead",
        lambda s: s.me == 1 and s.life.head is Head.NONE and _everyone_accepted(s) and not s.life.declined,
        _ask_for_head,
    ),
    Action("ProveMembership", lambda s: _ready_to_join(s) and not s.life.proving, _prove),
    Action(
        "SubmitJoin",
        lambda s: _ready_to_join(s) and s.life.proof is not None,
        _submit_join,
        submits=True,
    ),
    Action(
        "SubmitStop",
        lambda s: s.life.stop is not None and not s.life.stopped and s.life.joined and not s.history.over,
        _submit_stop,
        submits=True,
    ),
    Action(
        "FinishJob",
        lambda s: s.history.phase is Phase.FINISHED and not s.life.ended and _done_here(s),
        _finish_job,
    ),
    Action("AbortJob", lambda s: s.history.phase is Phase.ABORTED and not s.life.ended, _abort_job),
    Action(
        "CloseHead",
        lambda s: (
            (s.life.closes or s.life.declined is not None) and s.life.head is Head.READY and not s.own.pending
        ),
        _close_head,
    ),
    Action(
        "SettleJob",
        lambda s: s.life.final is not None and s.life.head is not Head.SETTLED,
        _settle_job,
    ),
)
