"""The paper's experiment (section 5): MNIST with 2, 4 and 10 participants, joint and alone.

Three divisions run through the real cohort, with encryption: the full training set in equal shares,
1,500 samples each (whose baselines resemble the paper's), and a Dirichlet 0.1 split.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from node.demo.digits import Digits
from node.demo.outcome import Outcome
from node.demo.plots import picture
from node.demo.run import run_cohort
from node.demo.wish import Wish

PAPER = {2: (0.948, 0.91), 4: (0.950, 0.92), 10: (0.990, 0.918)}
"""Accuracy and baseline accuracy by number of participants, from the paper's table."""

RUNS = (
    ("iid", "cnn3", {2: 8, 4: 5, 10: 9}),
    ("iid-1500", "mlp", {2: 15, 4: 15, 10: 15}),
    ("dirichlet-0.1", "cnn", {2: 10, 4: 10, 10: 10}),
)
"""Division, model, and rounds by number of participants."""


async def run_paper(folder: Path, key: str, data: Path | None, seed: int, console: Console) -> int:
    """Run all nine cohorts one after the other; write `paper.json`, `paper.md` and `paper.png`."""
    outcomes: list[Outcome] = []
    for division, model, rounds in RUNS:
        for members, count in rounds.items():
            console.rule(f"{division}: {members} participants, {count} rounds, {model}")
            place = folder / f"{division}-{members}"
            place.mkdir()
            wish = Wish(members, count, key, place, Digits(division, model, data), seed)
            outcomes.append(await run_cohort(wish, console))
            write_table(folder, outcomes)
    console.print(table(outcomes))
    console.print(f"table, figures and plot: {folder}")
    return 0 if all(outcome.right for outcome in outcomes) else 1


def table(outcomes: list[Outcome]) -> Table:
    """The paper's table beside ours."""
    made = Table(title="accuracy on MNIST's 10,000 test images", title_justify="left")
    for column in ("division", "participants", "joint", "alone, mean", "alone, best", "paper", "baseline"):
        made.add_column(column, justify="left" if column == "division" else "right")
    for row in rows(outcomes):
        made.add_row(*row)
    return made


def rows(outcomes: list[Outcome]) -> list[list[str]]:
    """One row for each cohort, as text."""
    made = []
    for outcome in outcomes:
        alone = list(outcome.alone.values())
        paper, baseline = PAPER[outcome.members]
        figures = [outcome.final, sum(alone) / len(alone), max(alone), paper, baseline]
        made.append([outcome.division, str(outcome.members), *(f"{100 * each:.2f} %" for each in figures)])
    return made


def write_table(folder: Path, outcomes: list[Outcome]) -> None:
    """Write what there is so far: a run of hours that is cut short keeps its results."""
    (folder / "paper.json").write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    head = "| division | participants | joint | alone, mean | alone, best | paper | paper's baseline |"
    lines = [head, "|" + "---|" * 7, *("| " + " | ".join(row) + " |" for row in rows(outcomes))]
    (folder / "paper.md").write_text("\n".join(lines) + "\n")
    _plot(folder / "paper.png", outcomes)


def _plot(path: Path, outcomes: list[Outcome]) -> None:
    with picture(path) as axes:
        for outcome in outcomes:
            numbers = sorted(outcome.joint)
            values = [100 * outcome.joint[number][outcome.metric] for number in numbers]
            (line,) = axes.plot(
                numbers, values, marker="o", label=f"{outcome.division}, {outcome.members} members"
            )
            best = 100 * max(outcome.alone.values())
            axes.axhline(best, color=line.get_color(), linestyle=":", linewidth=0.8)
        axes.set_ylabel("test accuracy, %  (dotted: best member alone)")
