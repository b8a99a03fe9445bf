"""Pictures of what came out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from node.demo.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@contextmanager
def picture(path: Path) -> Iterator[Axes]:
    """Axes to draw on; written to `path` as PNG after the body."""
    # Here, not above: it takes a second, and only two of the demo's ways need it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    yield axes
    axes.set_xlabel("round")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def plot_losses(path: Path, outcome: Outcome) -> None:
    """Held-out loss round by round, of every member's text and of all, beside what other ways ended at."""
    verdict = outcome.language
    if verdict is None:
        return
    rounds = sorted(outcome.by_member)
    with picture(path) as axes:
        for index, before in enumerate(verdict.losses["base"]):
            name = f"member-{index + 1}"
            known = [number for number in rounds if name in outcome.by_member[number]]
            losses = [outcome.by_member[number][name][outcome.metric] for number in known]
            axes.plot([0, *known], [before, *losses], marker=".", linewidth=1, label=f"{name}'s text")
        means = [outcome.joint[number][outcome.metric] for number in rounds]
        axes.plot(
            [0, *rounds], [verdict.mean("base"), *means], "ko-", linewidth=2, label="joint adapter, mean"
        )
        _line(axes, [verdict.mean(name) for name in verdict.alone], ":", "members alone, mean")
        _line(axes, [verdict.mean(name) for name in verdict.losses if name == "one place"], "--", "one place")
        axes.plot(*_training(outcome), "k^:", linewidth=1, alpha=0.5, label="while training, mean")
        axes.set_ylabel("held-out loss, nats per token")
        axes.set_xticks([0, *rounds])


def _line(axes: Axes, losses: list[float], style: str, label: str) -> None:
    if losses:
        axes.axhline(mean(losses), color="black", linestyle=style, linewidth=1, label=label)


def _training(outcome: Outcome) -> tuple[list[int], list[float]]:
    rounds = sorted(outcome.training)
    return rounds, [outcome.training[number] for number in rounds]
