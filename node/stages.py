"""The stages of a job and of its rounds: a name, the event that begins it, and the one that ends it."""

from __future__ import annotations

from collections.abc import Mapping

Stage = tuple[str, str, str]

ROUND_STAGES: tuple[Stage, ...] = (
    ("train", "Train", "Trained"),
    ("encrypt and prove", "Trained", "Encrypted"),
    ("store", "Encrypted", "Upload"),
    ("wait, verify, attest", "Upload", "Aggregate"),
    ("decrypt and prove", "Aggregate", "SubmitShare"),
    ("open the sum", "SubmitShare", "Combine"),
    ("agree on the model", "Combine", "EndRound"),
)
JOB_STAGES: tuple[Stage, ...] = (
    ("accept and open the head", "Start", "SubmitJoin"),
    ("joint key", "BeginKey", "AdoptKey"),
    ("close and settle", "FinishJob", "SettleJob"),
)

ROUND_EVENTS = frozenset(event for _, *ends in ROUND_STAGES for event in ends)


def seconds_of(moments: Mapping[str, float]) -> dict[str, float]:
    """Seconds of every stage of a round whose two events are among `moments` (seconds on one clock)."""
    return {
        name: moments[last] - moments[first]
        for name, first, last in ROUND_STAGES
        if first in moments and last in moments and moments[last] >= moments[first]
    }
