"""Ways to fine-tune a language model, compared: by loss on every member's held-out text, and by samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

NAMES = {
    "base": "base model, before",
    "joint": "joint adapter",
    "one place": "all text at one place",
    "together": "the same without the protocol",
}


@dataclass(frozen=True)
class Verdict:
    """`losses`: by contender, in nats per token on each member's held-out text. `adapter` is a folder in
    peft's format, `plot` a picture of the losses round by round."""

    losses: dict[str, list[float]]
    samples: list[dict[str, str]]
    adapter: str
    plot: str

    @classmethod
    def of(cls, found: Mapping[str, Any], members: int, plot: str) -> Verdict:
        """From the answers of the learner's errands, taken together."""
        order = ["base", "joint", *(f"member-{n}" for n in range(1, members + 1)), "one place", "together"]
        losses = {name: list(found[name]) for name in order if name in found}
        return cls(losses, list(found["samples"]), str(found["adapter"]), plot)

    @property
    def alone(self) -> list[str]:
        """The contenders that are members with adapters of their own."""
        return [name for name in self.losses if name.startswith("member-")]

    def mean(self, contender: str) -> float:
        """A contender's loss, averaged over all members' held-out texts."""
        return mean(self.losses[contender])

    def table(self) -> Table:
        """Losses and perplexities."""
        made = Table(title="loss on each member's held-out text, nats per token", title_justify="left")
        made.add_column("adapter", no_wrap=True)
        texts = len(self.losses["base"])
        for number in range(1, texts + 1):
            made.add_column(f"text {number}", justify="right", no_wrap=True)
        made.add_column("mean", justify="right", no_wrap=True)
        made.add_column("perplexity", justify="right", no_wrap=True)
        for name in self.losses:
            made.add_row(*self._row(NAMES.get(name, f"{name} alone"), self.losses[name]))
            if name in ("base", "joint"):
                made.add_section()
        if self.alone:
            columns = zip(*(self.losses[name] for name in self.alone), strict=True)
            made.add_section()
            made.add_row(*self._row("members alone, mean", [mean(column) for column in columns]))
        return made

    @staticmethod
    def _row(name: str, losses: list[float]) -> list[str]:
        middle = mean(losses)
        return [name, *(f"{loss:.3f}" for loss in losses), f"{middle:.3f}", f"{math.exp(middle):.1f}"]

    def written(self) -> list[RenderableType]:
        """What the model writes before and after, for each prompt."""
        shown: list[RenderableType] = []
        for sample in self.samples:
            body = Text()
            for when in ("before", "after"):
                body.append(f"{when}\n", style="bold")
                body.append(sample["prompt"], style="dim")
                body.append(sample[when].rstrip() + "\n")
            shown.append(Panel(body, title=repr(sample["prompt"]), title_align="left"))
        return shown
