"""What an operator agrees to with a job: who learns what of this member's updates, in words."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import OperatorFault
from protocol.manifest import Manifest


@dataclass(frozen=True)
class Consent:
    """What an operator has said beside "accept": `leaks` says that a leaking job is accepted as it is."""

    leaks: bool = False


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


def mark(manifest: Manifest) -> str:
    """What is learnt, as a word or two for a table."""
    if not manifest.profile.secure:
        return "no secrecy"
    if manifest.thresholds.leaks(manifest.roster.size):
        return "leaks"
    if manifest.roster.size == 2:
        return "each other's"
    return "weak" if manifest.thresholds.learnt(manifest.roster.size) else "sums only"
