"""Proof that a member holds its job key, bound to the job and its roster (paper, section 3.2)."""

from __future__ import annotations

from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.schnorr import HoldsJobKey, JobKeyProver, JobSecret
from protocol.crypto.transcript import Context
from protocol.manifest import Manifest


def membership_context(manifest: Manifest, member: int) -> Context:
    """What the proof is bound to: the job, its roster and the member's index."""
    return Context(job=manifest.job, round=0, sender=member, roster=manifest.roster.digest())


def prove_membership(manifest: Manifest, member: int, secret: JobSecret) -> bytes:
    """64 bytes for the member's Join record."""
    statement = HoldsJobKey(manifest.roster.member(member).job_key)
    return prove(statement, JobKeyProver(secret), membership_context(manifest, member))


def verify_membership(manifest: Manifest, member: int, proof: bytes) -> None:
    """Raise `ProofRejected` unless `proof` shows that `member` holds the job key of its roster entry."""
    statement = HoldsJobKey(manifest.roster.member(member).job_key)
    verify(statement, proof, membership_context(manifest, member))
