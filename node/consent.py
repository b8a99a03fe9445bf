"""What an operator agrees to with a job: who learns what of this member's updates, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from node.journal import Use
from protocol.errors import OperatorFault
from protocol.manifest import Manifest


@dataclass(frozen=True)
class Consent:
    """What an operator has said beside "accept": `leaks` that a job which leaks is accepted as it is, `again`
    that it may use data which are, or were, used by another."""

    leaks: bool = False
    again: bool = False


class NotConsented(OperatorFault):
    """The job lets somebody learn more than the defaults do, and nobody has agreed to that here."""


def check_consent(manifest: Manifest, given: Consent) -> None:
    """Raise `NotConsented`, in words, unless the operator's word covers what the job leaks."""
    leaks = manifest.thresholds.leaks(manifest.roster.size)
    if leaks and not given.leaks:
        raise NotConsented(
            "this job leaks: " + "; ".join(leaks),
            remedy="decline it, or agree to that with `starling job accept --acknowledge-leaks`",
        )


def check_policy(manifest: Manifest) -> None:
    """Raise `NotConsented` where an operator has to agree by hand: no policy accepts less than sums only."""
    learnt = manifest.thresholds.learnt(manifest.roster.size)
    if learnt:
        raise NotConsented(
            "an operator has to agree to this job: " + "; ".join(learnt),
            remedy="look at it with `starling job show`, then accept or decline it",
        )


def others_with(data: Path, job: bytes, uses: Iterable[Use]) -> list[bytes]:
    """Which of the uses are another job's of these data, or of a folder in them or around them."""

    def overlap(other: Path) -> bool:
        return data == other or data in other.parents or other in data.parents

    return sorted({use.job for use in uses if use.job != job and overlap(Path(use.data))})


def check_data(live: Iterable[bytes], spent: Iterable[bytes], given: Consent) -> None:
    """Raise `NotConsented`, in words, where two jobs would sum updates from the same data.

    `live` are other jobs with these data that are not over, `spent` those with an update from the same model
    in a sealed sum.
    """
    found = [f"job {job.hex()[:16]}, which is not over, has the same data" for job in live]
    found += [f"job {job.hex()[:16]} has summed an update from the same data and model" for job in spent]
    if found and not given.again:
        raise NotConsented(
            "; ".join(found)
            + ": of two sums that differ by one member, the difference is that member's update",
            remedy="wait, or choose another initial model; or agree to that with --reuse-data",
        )


def mark(manifest: Manifest) -> str:
    """What is learnt, as a word or two for a table."""
    if not manifest.profile.secure:
        return "no secrecy"
    if manifest.thresholds.leaks(manifest.roster.size):
        return "leaks"
    if manifest.roster.size == 2:
        return "each other's"
    return "weak" if manifest.thresholds.learnt(manifest.roster.size) else "sums only"
