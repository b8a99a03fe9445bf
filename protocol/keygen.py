"""The joint key: attempts until all members hold shares of the same key. Mirrors `KeyGeneration.tla`.

The generation itself runs elsewhere (`crypto.jointkey`); this machine decides when an attempt begins,
is held durably, is reported, is given up, and which key is the job's.
"""

from __future__ import annotations

from protocol.effects import CancelKey, MakeKey, SetTimer, UseKey
from protocol.history import Phase
from protocol.inputs import KeyDeadline, KeyFailed, KeyMade
from protocol.journal import AdoptedKey, BegunKey, HeldShare
from protocol.records import KeyAbandon, KeyShare
from protocol.state import Action, State, Turn
from protocol.words import KeyReason


def on_key_made(turn: Turn, given: KeyMade) -> None:
    """HoldShare: the share is written down before anyone hears of it."""
    if not _is_current(turn.state, given.attempt) or given.attempt in turn.state.key.held:
        return
    turn.journal(HeldShare(given.attempt, given.key, given.secret))
    turn.key(held={**turn.state.key.held, given.attempt: given.key})
    turn.emit("HoldShare", attempt=given.attempt, key=given.key.hex())


def on_key_failed(turn: Turn, given: KeyFailed) -> None:
    """The attempt cannot succeed here."""
    if _is_current(turn.state, given.attempt):
        turn.key(failure=(given.accused, given.reason))


def on_key_deadline(turn: Turn, given: KeyDeadline) -> None:
    """Somebody did not finish in time, nobody knows who."""
    if _is_current(turn.state, given.attempt):
        turn.key(failure=turn.state.key.failure or (0, KeyReason.TOO_LONG))


def _is_current(state: State, attempt: int) -> bool:
    history = state.history
    return history.phase is Phase.KEYING and history.attempt == attempt == state.key.attempt


def _begin_key(turn: Turn) -> None:
    attempt, before = turn.state.history.attempt, turn.state.key.attempt
    if before:
        turn.do(CancelKey(before))
    turn.key(attempt=attempt, failure=None)
    turn.do(SetTimer(KeyDeadline(attempt), turn.state.manifest.deadlines.key))
    if attempt in turn.state.key.held:
        return
    if attempt <= turn.state.key.lost:
        turn.key(failure=(0, KeyReason.RESTARTED))
        return
    turn.journal(BegunKey(attempt))
    turn.emit("BeginKey", attempt=attempt)
    turn.do(MakeKey(attempt))


def _submit_key_share(turn: Turn) -> None:
    attempt = turn.state.key.attempt
    key = turn.state.key.held[attempt]
    turn.key(reported=attempt)
    turn.submit(KeyShare(attempt, key))
    turn.emit("SubmitKeyShare", attempt=attempt, key=key.hex())


def _submit_key_abandon(turn: Turn) -> None:
    attempt = turn.state.key.attempt
    accused, reason = turn.state.key.failure or (0, KeyReason.FAILED_HERE)
    turn.key(abandoned=attempt)
    turn.submit(KeyAbandon(attempt, accused, reason))
    turn.emit("SubmitKeyAbandon", attempt=attempt, accused=accused, reason=reason.text)


def _adopt_key(turn: Turn) -> None:
    history = turn.state.history
    key = history.key or b""
    turn.key(adopted=(history.attempt, key))
    turn.journal(AdoptedKey(history.attempt, key))
    turn.emit("AdoptKey", attempt=history.attempt, key=key.hex())
    turn.do(UseKey(history.attempt, key))


def _keying(state: State) -> bool:
    return state.history.phase is Phase.KEYING and state.key.attempt == state.history.attempt


ACTIONS = (
    Action(
        "BeginKey",
        lambda s: s.history.phase is Phase.KEYING and s.key.attempt != s.history.attempt,
        _begin_key,
    ),
    Action(
        "SubmitKeyShare",
        lambda s: _keying(s) and s.key.attempt in s.key.held and s.key.reported < s.key.attempt,
        _submit_key_share,
        submits=True,
    ),
    Action(
        "SubmitKeyAbandon",
        lambda s: _keying(s) and s.key.failure is not None and s.key.abandoned < s.key.attempt,
        _submit_key_abandon,
        submits=True,
    ),
    Action("AdoptKey", lambda s: s.history.key is not None and s.key.adopted is None, _adopt_key),
)
