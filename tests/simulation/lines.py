"""Event lines as daemons log them: one file of NDJSON per honest member, for the trace checker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.effects import Emit
from simulation.scenario import Scenario


class Lines:
    """Collects the lines of one run."""

    def __init__(self, scenario: Scenario) -> None:
        self._job = scenario.manifest.job.hex()
        self.roster = _roster(scenario)
        self.members: dict[int, list[dict[str, Any]]] = {member: [] for member in sorted(scenario.honest)}

    def add(self, member: int, event: Emit) -> None:
        """One event of an honest member."""
        line = {
            "event": event.event,
            "v": 1,
            "job": self._job,
            "member": member,
            "incarnation": event.incarnation,
            "seq": event.seq,
            "slot": event.slot,
        }
        self.members[member].append(line | dict(event.arguments))

    def write(self, folder: Path) -> list[Path]:
        """`member-1.ndjson` and so on, each beginning with the Roster line."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for member, lines in self.members.items():
            path = folder / f"member-{member}.ndjson"
            path.write_text("".join(json.dumps(line) + "\n" for line in (self.roster, *lines)))
            paths.append(path)
        return paths


def _roster(scenario: Scenario) -> dict[str, Any]:
    job = scenario.manifest
    return {
        "event": "Roster",
        "v": 1,
        "members": scenario.size,
        "threshold": job.thresholds.shares,
        "quorum": job.thresholds.quorum,
        "colluders": job.thresholds.colluders,
        "job": job.job.hex(),
        "model": job.model.hex(),
        "rounds": job.rounds,
        "round_limit": job.round_limit,
        "key_attempts": job.key_attempts,
        "byzantine": sorted(scenario.byzantine),
    }
