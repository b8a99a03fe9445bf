"""What members say to each other before there is a ledger to say it on.

Everything that members must agree on goes through the ledger; these only make it come about.
"""

from __future__ import annotations

from typing import ClassVar

from protocol.manifest import Manifest
from protocol.wire import Digest, SlotNumber, Wire
from protocol.words import Reason


class Propose(Wire, frozen=True, tag="propose"):
    """Here is a job for all of us."""

    manifest: Manifest


class Accept(Wire, frozen=True, tag="accept"):
    """My operator accepts the job."""

    job: Digest


class Decline(Wire, frozen=True, tag="decline"):
    """My operator does not want the job."""

    job: Digest
    reason: Reason


class Vouch(Wire, frozen=True, tag="vouch"):
    """I read the order of records up to this slot with this running digest, and never vouch for one that does
    not continue it."""

    job: Digest
    slot: SlotNumber
    order: Digest


class Message(Wire, frozen=True):
    """One message between members."""

    LIMIT: ClassVar[int] = Manifest.LIMIT + 1024
    VALUES: ClassVar[int] = Manifest.VALUES + 64

    content: Propose | Accept | Decline | Vouch
