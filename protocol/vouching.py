"""One order for all: nobody releases a share before enough members vouch for the same order up to the seal.

"Confirmed" is not final: a hydra-node may lie, and a head can be closed with an older snapshot. Shares that
were released in one order and in another would open two sums. So each member writes down what it has read up
to a seal, then says so, and never vouches for an order that does not continue that. Mirrors `Vouching.tla`.
"""

from __future__ import annotations

from protocol.effects import Say, SetTimer
from protocol.history import Sealed
from protocol.inputs import PeerUp, VouchDeadline
from protocol.journal import Doubted, Vouched
from protocol.messages import Vouch
from protocol.state import Action, State, Turn

VOUCH_SECONDS = 20
"""After so long without enough vouchers this member says again what it vouches for: it may have been lost."""


def sealed_here(state: State) -> Sealed | None:
    """The cut of the current round if this member has entered it."""
    current = state.history.round
    return current.sealed if current is not None and state.round.number == current.number else None


def on_vouch(turn: Turn, member: int, content: Vouch) -> None:
    """Another member vouches: the last word of each counts."""
    before, _ = turn.state.vouching.heard.get(member, (0, b""))
    if content.slot > before:
        turn.vouching(heard={**turn.state.vouching.heard, member: (content.slot, content.order)})


def on_peer_up(turn: Turn, given: PeerUp) -> None:
    """A peer that was away may have missed what this member vouches for."""
    _say_vouch(turn, (given.member,))


def on_vouch_deadline(turn: Turn, given: VouchDeadline) -> None:
    """Say it again, until this member has released its share."""
    if turn.state.round.number == given.round and given.round not in turn.state.own.released:
        _say_vouch(turn, turn.state.others)
        turn.do(SetTimer(given, VOUCH_SECONDS))


def doubt(turn: Turn) -> None:
    """Part of the order came from other members: from now on one honest voucher is not enough."""
    if not turn.state.vouching.doubted:
        turn.vouching(doubted=True)
        turn.journal(Doubted())
        turn.emit("DoubtLog")


def notice_fork(turn: Turn, *, silent: bool) -> None:
    """After reading a slot: is it the order that this member vouched for?"""
    history, (slot, order) = turn.state.history, turn.state.own.vouched
    if history.slots == slot and history.order != order:
        turn.vouching(forked=True)
        if not silent:
            turn.emit("LogForked", at=slot)


def enough_vouchers(state: State) -> bool:
    """Whether V members, this one among them, vouch for the order up to the seal of its round."""
    trusting = state.vouching.trusting and not state.vouching.doubted
    needed = state.manifest.thresholds.vouchers(state.manifest.roster.size, trusting=trusting)
    return _has_vouched(state) and len(state.round.vouchers | {state.me}) >= needed


def unvouched(state: State) -> tuple[int, ...]:
    """Who has not vouched for the current seal yet, as far as this member knows."""
    return tuple(m for m in state.manifest.roster.indices if m not in state.round.vouchers | {state.me})


def _has_vouched(state: State) -> bool:
    sealed = sealed_here(state)
    return sealed is not None and state.in_own_order and state.own.vouched[0] >= sealed.slot


def _can_vouch(state: State) -> bool:
    return sealed_here(state) is not None and state.in_own_order and not state.round.vouched


def _vouch(turn: Turn) -> None:
    """After a restart it is only said again: it is written down."""
    sealed, number = sealed_here(turn.state), turn.state.round.number
    if sealed is not None:
        turn.round(vouched=True)
        if not _has_vouched(turn.state):
            turn.own(vouched=(sealed.slot, sealed.order))
            turn.journal(Vouched(sealed.slot, sealed.order))
            turn.emit("Vouch", round=number, at=sealed.slot, order=sealed.order.hex())
        _say_vouch(turn, turn.state.others)
        turn.do(SetTimer(VouchDeadline(number), VOUCH_SECONDS))


def _say_vouch(turn: Turn, members: tuple[int, ...]) -> None:
    sealed = sealed_here(turn.state)
    if sealed is not None and _has_vouched(turn.state):
        turn.do(Say(members, Vouch(turn.state.history.job, sealed.slot, sealed.order)))


def _new_vouchers(state: State) -> frozenset[int]:
    """Others whose message names this very seal, or whose later records show that they had read it."""
    sealed = sealed_here(state)
    if sealed is None:
        return frozenset()
    said = {m for m, vouch in state.vouching.heard.items() if vouch == (sealed.slot, sealed.order)}
    shown = {m for m, seen in state.history.viewed.items() if seen >= sealed.slot}
    return frozenset(said | shown) - state.round.vouchers - {state.me}


def _hear_vouch(turn: Turn) -> None:
    member = min(_new_vouchers(turn.state))
    turn.round(vouchers=turn.state.round.vouchers | {member})
    turn.emit("HearVouch", round=turn.state.round.number, other=member)


ACTIONS = (
    Action("Vouch", _can_vouch, _vouch),
    Action("HearVouch", lambda s: bool(_new_vouchers(s)), _hear_vouch),
)
