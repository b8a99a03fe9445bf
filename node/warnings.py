"""What an operator should look at now: the conditions of `config/alerts.yml` that a node sees in itself.

Alert rules wait until a condition lasts; this says what holds at this moment, under the same names.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from node.ledger.interface import LedgerState, StallReason
from node.logs import recent

View = Mapping[str, Any]

LEAST_FREE = 0.1
"""Of a disk; below it a job's objects and the journal may not find room for long."""

MOST_AHEAD = 30.0
"""Seconds that a member's clock may differ: its first words may take some on a busy machine, and from a
minute on certificates and grants are refused as not valid yet, or no longer."""

QUARTER, DAY = 900.0, 86_400.0
"""Seconds for which an event is worth a warning."""

FAILURES = 3
"""Failures of a bucket within a quarter of an hour that are no hiccup."""

ACCUSING = ("Refuse", "RefuseShare", "AnchorChainBroken", "RecordsFlood", "OrderAnswerRefused")
KEY_EVENTS = {
    "KeyShareMissing": "the share of the key in force is missing",
    "IdentityShared": "another process uses this node's identity",
}
LOST_EVENTS = ("JobNotResumed", "JobSetAside", "LedgerHistoryTruncated")
FULL_EVENTS = ("ObjectNotKept", "JournalNotWritten")
BUCKET_EVENTS = ("OwnBucketUnavailable", "StorageUnavailable")

Recent = Callable[[str, float], int]


@dataclass(frozen=True)
class Warned:
    """A condition by the name of its alert, in words, and what helps."""

    alert: str
    text: str
    remedy: str


@dataclass(frozen=True)
class Disk:
    """A file system, in bytes."""

    free: int
    size: int

    @classmethod
    def at(cls, path: Path) -> Disk:
        """The file system that holds `path`."""
        found = os.statvfs(path)
        return cls(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def warnings_of(peers: Sequence[View], head: View, disk: Disk, seen: Recent = recent) -> list[dict[str, str]]:
    """All that holds now, from a node's own views; `seen` counts recent events by name."""
    found = [*_head(head, seen), *_peers(peers), *_disk(disk, seen), *_events(seen)]
    return [asdict(each) for each in found]


def _head(head: View, seen: Recent) -> Iterator[Warned]:
    stalled = head["state"] == LedgerState.STALLED.value
    if stalled:
        yield Warned(
            "StarlingHeadStalled",
            f"nothing is confirmed in the head: {head['waits_for']}",
            "starling head says what is waited for; nothing is lost meanwhile",
        )
    if (unsent := head.get("unsent") or 0) and stalled:
        yield Warned(
            "StarlingRecordsUnsent",
            f"{unsent} records of this member are not confirmed",
            "starling head, then the log of the hydra-node",
        )
    if StallReason.OUT_OF_FUNDS.value in head["waits_for"] or seen("DepositFailed", QUARTER):
        yield Warned(
            "StarlingLowFunds",
            "this member lacks ADA for its anchors",
            "send 3 to 5 ADA to the member's address, and name the output under ledger.funding",
        )


def _peers(peers: Sequence[View]) -> Iterator[Warned]:
    for peer in peers:
        if not peer.get("connected"):
            why = f": {peer['last_error']}" if peer.get("last_error") else ""
            yield Warned(
                "StarlingMemberMissing",
                f"{peer['name']} is not connected{why}",
                "starling peers has the last error; call that member's operator",
            )
        ahead = peer.get("clock_ahead_seconds")
        if ahead is not None and abs(ahead) > MOST_AHEAD:
            where = "ahead of" if ahead > 0 else "behind"
            yield Warned(
                "StarlingClockSkew",
                f"the clock of {peer['name']} was {abs(ahead):.0f} s {where} this machine's",
                "compare both with the time, and let systemd-timesyncd or chrony keep them",
            )


def _disk(disk: Disk, seen: Recent) -> Iterator[Warned]:
    if disk.free < LEAST_FREE * disk.size or any(seen(name, QUARTER) for name in FULL_EVENTS):
        yield Warned(
            "StarlingDiskFull",
            f"{disk.free / 1e9:.1f} of {disk.size / 1e9:.1f} GB are free for the node's state",
            "make room, or lower storage.retention_days",
        )


def _events(seen: Recent) -> Iterator[Warned]:
    if sum(seen(name, QUARTER) for name in BUCKET_EVENTS) > FAILURES:
        yield Warned(
            "StarlingStorageFailing",
            "a bucket does not take or give objects",
            "starling storage, then the provider's own status",
        )
    if seen("LearnerNotConfined", math.inf):
        yield Warned(
            "StarlingLearnerNotConfined",
            "a task's code reaches more than its data: starling status says what, and why",
            "give starlingd a Linux kernel with Landlock and a user of its own, and run only tasks you trust",
        )
    if seen("ResultDiffers", DAY):
        yield Warned(
            "StarlingResultDiffers",
            "this node computed another model than the others",
            "compare versions and hardware; starling audit head and starling audit trace tell who is right",
        )
    if seen("LogForked", DAY):
        yield Warned(
            "StarlingLogForked",
            "this node was shown two orders of a job's records",
            "look at its hydra-node; nothing more is written or released by this member in that job",
        )
    for name in (name for name in ACCUSING if seen(name, DAY)):
        yield Warned(
            "StarlingFalseWork",
            f"a member's work was refused as false ({name})",
            f"starling logs --event {name} names the member and the reason",
        )
    for name, text in KEY_EVENTS.items():
        if not seen(name, DAY):
            continue
        yield Warned(
            "StarlingKeyAtRisk",
            text,
            "restore the key share from its backup, or stop the second node that uses this identity",
        )
    for name in (name for name in LOST_EVENTS if seen(name, DAY)):
        yield Warned(
            "StarlingJobNotResumed",
            f"a job cannot go on ({name})",
            f"starling logs --event {name} has the reason",
        )
