"""What somebody wants to see: how many members, how long, and what they learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from node.demo.outcome import Outcome


class Subject(Protocol):
    """What members learn in a demo, and what the joint model is compared with."""

    @property
    def task(self) -> str:
        """The task's name in manifests."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The task's parameters in manifests."""

    @property
    def metric(self) -> str:
        """The metric by which people judge the model."""

    @property
    def division(self) -> str:
        """Which data each member has, in a word or two."""

    @property
    def also_read(self) -> tuple[Path, ...]:
        """What members' learners read beside their data folders."""

    async def shards(self, wish: Wish, console: Console) -> list[Path]:
        """A data folder for each member. Raises `OperatorFault` where they cannot be had."""

    async def compare(self, wish: Wish, shards: list[Path], outcome: Outcome, console: Console) -> None:
        """Complete `outcome` with what other ways of training give; the joint model is `wish.model`."""


@dataclass(frozen=True)
class Wish:
    """What to run."""

    members: int
    rounds: int
    key_profile: str
    folder: Path
    subject: Subject
    seed: int = 0
    alone: bool = True
    plain: bool = False
    keep: bool = False
    threads: int = 1

    @property
    def spec(self) -> dict[str, Any]:
        """The job as its proposer writes it."""
        insecure = self.key_profile.startswith("insecure")
        return {
            "name": "demo",
            "task": self.subject.task,
            "rounds": self.rounds,
            "parameters": self.subject.parameters,
            "key": {"profile": self.key_profile, "allow_insecure": insecure},
        }

    @property
    def model(self) -> Path:
        """Where the joint model lies after the last round, as `starling job export` writes it."""
        return self.folder / "joint.npz"
