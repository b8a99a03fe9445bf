"""Where the time went, from the members' own logs: seconds between one milestone and the next."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

from node.stages import JOB_STAGES, ROUND_STAGES


def read_events(log: Path) -> Iterator[tuple[float, dict[str, Any]]]:
    """Time (POSIX seconds) and fields of every event in a log file."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
            moment = datetime.fromisoformat(entry["timestamp"]).timestamp()
        except (ValueError, KeyError, TypeError):
            continue
        yield moment, entry


def stage_seconds(logs: list[Path]) -> dict[str, float]:
    """Mean wall seconds of every stage over members (and, for those of a round, summed over rounds)."""
    totals: dict[str, list[float]] = defaultdict(list)
    for log in logs:
        for stage, seconds in _of_member(log).items():
            totals[stage].append(seconds)
    order = [stage for stage, _, _ in (*JOB_STAGES[:2], *ROUND_STAGES, JOB_STAGES[2])]
    return {stage: mean(totals[stage]) for stage in order if stage in totals}


def _of_member(log: Path) -> dict[str, float]:
    moments: dict[tuple[str, int], float] = {}
    for moment, entry in read_events(log):
        moments.setdefault((entry["event"], int(entry.get("round", 0) or 0)), moment)
    seconds: dict[str, float] = defaultdict(float)
    for stage, begin, end in (*JOB_STAGES, *ROUND_STAGES):
        for (event, number), moment in moments.items():
            finish = moments.get((end, number))
            if event == begin and finish is not None:
                seconds[stage] += finish - moment
    return dict(seconds)


def trained_loss(logs: list[Path]) -> dict[int, float]:
    """The mean over members of the loss while they trained, by round."""
    losses: dict[int, list[float]] = defaultdict(list)
    for log in logs:
        for _, entry in read_events(log):
            if entry["event"] == "Trained" and "loss" in entry:
                losses[int(entry["round"])].append(float(entry["loss"]))
    return {number: mean(losses[number]) for number in sorted(losses)}


def learner_peak(log: Path) -> int:
    """The most memory that a member's learner ever took, in bytes; 0 if it did nothing."""
    entries = (entry for _, entry in read_events(log))
    return max((int(each["peak_bytes"]) for each in entries if "peak_bytes" in each), default=0)
