"""What a member waits for, as values that `starling status` can show."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from protocol.history import OpenRound, Phase
from protocol.lifecycle import over
from protocol.state import Head, State
from protocol.vouching import enough_vouchers, unvouched


class For(Enum):
    """What is waited for."""

    DISK = "the journal to reach the disk"
    ACCEPTANCE = "members to accept the job"
    HEAD = "the head to open"
    JOINS = "members to join"
    KEY = "members to finish the joint key"
    MODEL = "the weights of the last round"
    UPDATE = "the local update"
    COMMITS = "members' updates"
    CHECKS = "updates to be verified here"
    ATTESTATIONS = "members to attest the updates"
    SEAL = "the round to be sealed"
    VOUCHERS = "members to vouch for the same order"
    ORDER = "an operator: this node was shown two orders of records"
    SUM = "the sum of the sealed updates"
    SHARES = "shares of the decryption"
    RESULTS = "members to agree on the result"
    CLOSE = "the head to close"
    SETTLEMENT = "the settlement on the chain"
    NOTHING = "nothing: the job is over"


@dataclass(frozen=True)
class Wait:
    """What is waited for, and of whom (empty: of no member in particular)."""

    reason: For
    members: tuple[int, ...] = ()

    def __str__(self) -> str:
        names = ", ".join(str(member) for member in self.members)
        return f"{self.reason.value} ({names})" if names else self.reason.value


def waiting_for(state: State) -> Wait:
    """The one thing that the job cannot go on without, as far as this member sees."""
    if state.held_back is not None:
        return Wait(For.DISK)
    if over(state):
        return Wait(For.NOTHING)
    if state.life.declined is not None or state.life.head in (Head.CLOSED, Head.SETTLED):
        return _at_the_end(state)
    match state.history.phase:
        case Phase.JOINING:
            return _before_start(state)
        case Phase.KEYING:
            return Wait(For.KEY, _without(state, state.history.key_shares))
        case Phase.RUNNING:
            return _in_round(state)
        case _:
            return _at_the_end(state)


def _without(state: State, present: Collection[int]) -> tuple[int, ...]:
    return tuple(member for member in state.manifest.roster.indices if member not in present)


def _before_start(state: State) -> Wait:
    if len(state.life.accepts) < state.manifest.roster.size and state.life.head is Head.NONE:
        return Wait(For.ACCEPTANCE, _without(state, state.life.accepts))
    if state.life.head in (Head.NONE, Head.OPENING):
        return Wait(For.HEAD)
    return Wait(For.JOINS, _without(state, state.history.joined))


def _in_round(state: State) -> Wait:
    current, work = state.history.round, state.round
    if current is None or state.ended < len(state.history.past):
        return Wait(For.MODEL)
    if current.sealed is not None:
        return _after_seal(state, current)
    waited = current.waited
    mine = state.me in waited and state.me not in current.commits
    if mine and work.contributing and work.blob is None and not work.contribute_expired:
        return Wait(For.UPDATE)
    missing = tuple(sorted(waited - current.commits.keys()))
    if missing and not work.contribute_expired:
        return Wait(For.COMMITS, missing)
    if work.checking:
        return Wait(For.CHECKS, tuple(sorted(work.checking)))
    silent = tuple(m for m in sorted(waited) if not current.commits.keys() <= current.settled(m))
    return Wait(For.ATTESTATIONS, silent) if silent and not state.history.closed else Wait(For.SEAL)


def _after_seal(state: State, current: OpenRound) -> Wait:
    if not state.round.summed:
        return Wait(For.SUM)
    if state.vouching.forked:
        return Wait(For.ORDER)
    if current.number not in state.own.released and not enough_vouchers(state):
        return Wait(For.VOUCHERS, unvouched(state))
    if len(current.shares) < state.manifest.thresholds.shares:
        return Wait(For.SHARES, _without(state, current.shares))
    return Wait(For.RESULTS, _without(state, current.results))


def _at_the_end(state: State) -> Wait:
    match state.life.head:
        case Head.OPENING:
            return Wait(For.HEAD)
        case Head.READY | Head.CLOSING:
            return Wait(For.CLOSE)
        case Head.SETTLED:
            return Wait(For.MODEL)
        case _:
            return Wait(For.SETTLEMENT)
