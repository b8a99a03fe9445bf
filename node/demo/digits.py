"""The demo's first subject: handwritten digits (MNIST), divided among members."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from rich.console import Console

from node.confinement.policy import Confinement
from node.demo.bars import bars
from node.demo.outcome import Outcome
from node.demo.wish import Wish
from node.learning.errand import run_errand
from node.learning.mnist.origin import obtain
from node.learning.mnist.shards import write_shards


@dataclass(frozen=True)
class Digits:
    """MNIST; `data` is a folder with the original files, which are fetched if there is none."""

    division: str = "iid"
    model: str = "cnn3"
    data: Path | None = None
    task: str = "mnist"
    metric: str = "accuracy"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"model": self.model}

    @property
    def also_read(self) -> tuple[Path, ...]:
        return ()

    async def shards(self, wish: Wish, console: Console) -> list[Path]:
        return await trio.to_thread.run_sync(self._shards, wish, console)

    def _shards(self, wish: Wish, console: Console) -> list[Path]:
        with bars(console) as shown:
            digits = obtain(shown, folder=self.data)
            return write_shards(digits, wish.members, self.division, wish.seed, wish.folder / "data")

    async def compare(self, wish: Wish, shards: list[Path], outcome: Outcome, console: Console) -> None:
        """Train every member alone, and all together without the protocol, for the same epochs."""
        groups: dict[str, list[Path]] = {}
        if wish.alone:
            groups |= {f"member-{number}": [shard] for number, shard in enumerate(shards, start=1)}
        if wish.plain:
            groups["plain"] = shards
        if not groups:
            return
        courses = await self._train_without_protocol(groups, wish.rounds, console)
        plain = courses.pop("plain", None)
        outcome.alone = {name: _final(course)[self.metric] for name, course in courses.items()}
        if plain is not None:
            outcome.plain = _final(plain)[self.metric]
            each = float(plain["cpu_seconds"])  # of one member in one round
            outcome.plain_cpu_seconds = each * wish.members * wish.rounds

    async def _train_without_protocol(
        self, groups: dict[str, list[Path]], rounds: int, console: Console
    ) -> dict[str, dict[str, Any]]:
        """Federated averaging of each group of shards in one process; a group of one trains alone."""
        courses: dict[str, dict[str, Any]] = {}
        limit = trio.CapacityLimiter(os.cpu_count() or 1)
        command = ["node.learning.course", "--task", self.task, "--rounds", str(rounds)]
        command += ["--parameters", json.dumps(self.parameters)]

        with bars(console) as shown:

            async def run(name: str, shards: list[Path]) -> None:
                async with limit:
                    confined = Confinement(tuple(shards), devices=True)
                    courses[name] = await run_errand([*command, *map(str, shards)], lambda *_: None, confined)
                    shown.progress("training without the protocol, to compare", len(courses), len(groups))

            async with trio.open_nursery() as nursery:
                for name, shards in groups.items():
                    nursery.start_soon(run, name, shards)
        return {name: courses[name] for name in groups}


def _final(course: dict[str, Any]) -> dict[str, float]:
    final: dict[str, float] = course["evaluations"][-1]
    return final
