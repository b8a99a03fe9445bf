"""What each member reaches alone on its own shard, and plain federated averaging: for comparison.

Each comparison runs in a process of its own; two at a time where there are two cores.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from protocol.errors import OperatorFault

COMPARE_SECONDS = 7200.0


@dataclass(frozen=True)
class Course:
    """How a training run without the protocol went: metrics after each round, CPU seconds per round."""

    metrics: tuple[dict[str, float], ...]
    cpu_seconds: float

    @property
    def final(self) -> dict[str, float]:
        """The metrics at the end."""
        return self.metrics[-1]


async def train_without_protocol(
    groups: dict[str, list[Path]],
    task: str,
    parameters: dict[str, Any],
    rounds: int,
    on_done: Callable[[str], None],
) -> dict[str, Course]:
    """Federated averaging of each group of shards in one process; a group of one trains alone."""
    courses: dict[str, Course] = {}
    limit = trio.CapacityLimiter(os.cpu_count() or 1)

    async def run(name: str, shards: list[Path]) -> None:
        async with limit:
            courses[name] = await _train(task, parameters, rounds, shards)
            on_done(name)

    async with trio.open_nursery() as nursery:
        for name, shards in groups.items():
            nursery.start_soon(run, name, shards)
    return {name: courses[name] for name in groups}


async def _train(task: str, parameters: dict[str, Any], rounds: int, shards: list[Path]) -> Course:
    command = [sys.executable, "-m", "node.learning.course", "--task", task, "--rounds", str(rounds)]
    command += ["--parameters", json.dumps(parameters), *map(str, shards)]
    with trio.fail_after(COMPARE_SECONDS):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise OperatorFault(f"training for comparison failed: {last[0]}", remedy="see the message")
    found = json.loads(done.stdout)
    return Course(tuple(found["evaluations"]), float(found["cpu_seconds"]))
