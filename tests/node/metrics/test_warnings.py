"""Warnings of `starling status`: the alerts that a node sees in itself, and nothing where all is well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from node import logs
from node.ledger.interface import StallReason
from node.warnings import Disk, warnings_of

ALERTS = Path(__file__).parents[3] / "config" / "alerts.yml"
SEEN_FROM_OUTSIDE = {"StarlingDown", "StarlingRestarting"}

HEAD = {"state": "open", "waits_for": "", "unsent": 0}
STALLED = {"state": "stalled", "waits_for": StallReason.PARTY_OFFLINE.value, "unsent": 2}
PEER = {"name": "clinic-b", "connected": True, "clock_ahead_seconds": 0.2, "last_error": ""}
DISK = Disk(free=50, size=100)


def found(
    head: dict[str, Any] = HEAD, peer: dict[str, Any] = PEER, disk: Disk = DISK, **seen: int
) -> dict[str, str]:
    told = warnings_of([peer], head, disk, lambda name, seconds: seen.get(name, 0))
    return {each["alert"]: each["text"] for each in told}


CONDITIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"head": STALLED}, "StarlingHeadStalled", "a party is offline"),
    ({"head": STALLED}, "StarlingRecordsUnsent", "2 records"),
    ({"head": HEAD | {"waits_for": StallReason.OUT_OF_FUNDS.value}}, "StarlingLowFunds", "ADA"),
    ({"DepositFailed": 1}, "StarlingLowFunds", "ADA"),
    ({"peer": PEER | {"connected": False, "last_error": "refused"}}, "StarlingMemberMissing", "b is not"),
    ({"peer": PEER | {"clock_ahead_seconds": 31.4}}, "StarlingClockSkew", "31 s ahead of"),
    ({"peer": PEER | {"clock_ahead_seconds": -90}}, "StarlingClockSkew", "90 s behind"),
    ({"disk": Disk(9, 100)}, "StarlingDiskFull", "free"),
    ({"ObjectNotKept": 1}, "StarlingDiskFull", "free"),
    ({"OwnBucketUnavailable": 2, "StorageUnavailable": 2}, "StarlingStorageFailing", "bucket"),
    ({"LearnerNotConfined": 1}, "StarlingLearnerNotConfined", "more than its data"),
    ({"ResultDiffers": 1}, "StarlingResultDiffers", "another model"),
    ({"LogForked": 1}, "StarlingLogForked", "two orders"),
    ({"RefuseShare": 1}, "StarlingFalseWork", "RefuseShare"),
    ({"IdentityShared": 1}, "StarlingKeyAtRisk", "identity"),
    ({"JobNotResumed": 1}, "StarlingJobNotResumed", "JobNotResumed"),
]


@pytest.mark.parametrize(("condition", "alert", "words"), CONDITIONS)
def test_a_condition_is_told_by_the_name_of_its_alert(condition: dict[str, Any], alert: str, words: str):
    assert words in found(**condition)[alert]


def test_where_all_is_well_nothing_is_said():
    assert found() == {}
    assert found(StorageUnavailable=3) == {}


def test_every_alert_is_a_warning_too_with_the_same_remedy():
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    remedies = {rule["alert"]: rule["annotations"]["remedy"] for rule in rules}
    told: dict[str, str] = {}
    for condition, _, _ in CONDITIONS:
        given = {name: condition[name] for name in condition if name in ("head", "peer", "disk")}
        seen = {name: count for name, count in condition.items() if name not in given}
        for each in warnings_of(
            [given.get("peer", PEER)],
            given.get("head", HEAD),
            given.get("disk", DISK),
            lambda name, seconds, seen=seen: seen.get(name, 0),
        ):
            told[each["alert"]] = each["remedy"]
    assert told.keys() == remedies.keys() - SEEN_FROM_OUTSIDE
    for alert, remedy in told.items():
        assert remedy.split(" --event ")[0] == remedies[alert].split(" --event ")[0]


def test_events_are_recent_for_a_while(tmp_path: Path):
    try:
        logs.setup_logs(tmp_path / "log", "info")
        before = logs.recent("GrantFailed", 900)
        structlog.get_logger().warning("GrantFailed", reason="a test")
    finally:
        structlog.reset_defaults()
    assert logs.recent("GrantFailed", 900) == before + 1
    assert logs.recent("GrantFailed", -1) == 0
