"""What came out of a demo: the final table, and the same as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from node.demo.verdict import Verdict
from node.stages import ROUND_STAGES

MILLION = 1_000_000

REPORT = "report.html"


@dataclass
class Outcome:
    """One run of a cohort. Seconds are wall time; metrics are as the task reports them.

    `joint`: by round, averaged over members, each of which measures on its own data; `by_member`: by round
    and member. `training`: by round, the mean of that metric while members trained. `learner_peak`: bytes.
    `running`: process ids of what was left running.
    """

    members: int
    rounds: int
    division: str
    key_profile: str
    metric: str
    joint: dict[int, dict[str, float]] = field(default_factory=dict)
    by_member: dict[int, dict[str, dict[str, float]]] = field(default_factory=dict)
    training: dict[int, float] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)
    plain: float | None = None
    plain_cpu_seconds: float | None = None
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    language: Verdict | None = None
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    bytes_in: dict[str, int] = field(default_factory=dict)
    bytes_out: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    learner_peak: dict[str, int] = field(default_factory=dict)
    anchors: int = 0
    trace: str = ""
    trace_fits: bool = False
    settled: bool = False
    mismatches: list[int] = field(default_factory=list)
    folder: str = ""
    running: list[int] = field(default_factory=list)

    @property
    def final(self) -> float:
        """The joint model's metric after the last opened round."""
        return self.joint[max(self.joint)][self.metric]

    @property
    def plain_seconds(self) -> float | None:
        """Wall seconds of plain averaging on all cores, if it was measured."""
        return None if not self.plain_cpu_seconds else self.plain_cpu_seconds / self.cores

    @property
    def right(self) -> bool:
        """Whether the run was as it should be: settled as recorded, and fitting the specification."""
        return self.settled and not self.mismatches and self.trace_fits

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False))


def show(outcome: Outcome, console: Console) -> None:
    """The final tables."""
    if outcome.language is None:
        console.print(_quality(outcome))
    else:
        console.print(outcome.language.table(), *outcome.language.written())
    console.print(_times(outcome))
    console.print(_facts(outcome))


def _quality(outcome: Outcome) -> Table:
    table = Table(title=f"{outcome.metric} on the common test set", title_justify="left")
    table.add_column("model")
    table.add_column(outcome.metric, justify="right")
    for number in sorted(outcome.joint):
        table.add_row(f"joint, round {number}", f"{outcome.joint[number][outcome.metric]:.4f}")
    table.add_section()
    for name, value in outcome.alone.items():
        table.add_row(f"{name} alone, same epochs", f"{value:.4f}")
    if outcome.plain is not None:
        table.add_row("plain averaging, no protocol", f"{outcome.plain:.4f}")
    return table


def _times(outcome: Outcome) -> Table:
    table = Table(title="where the time went (mean over members)", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    table.add_column("a round", justify="right")
    plain = outcome.plain_seconds
    if plain is not None:
        table.add_column("of plain", justify="right")
        table.caption = (
            f"plain: the same training averaged in one process, {outcome.plain_cpu_seconds:.0f} s of CPU, "
            f"which are {plain:.0f} s on {outcome.cores} cores"
        )

    def row(stage: str, seconds: float, share: str, each: str) -> None:
        compared = [] if plain is None else [f"{seconds / plain:.0%}"]
        table.add_row(stage, f"{seconds:.1f}", share, each, *compared)

    of_rounds = {stage for stage, _, _ in ROUND_STAGES}
    for stage, seconds in outcome.stages.items():
        each = f"{seconds / max(1, len(outcome.joint)):.1f}" if stage in of_rounds else ""
        row(stage, seconds, f"{seconds / max(outcome.seconds, 1e-9):.0%}", each)
    table.add_section()
    whole = sum(outcome.stages.get(stage, 0.0) for stage in of_rounds) / max(1, len(outcome.joint))
    row("whole run", outcome.seconds, "", f"{whole:.1f}")
    return table


def _facts(outcome: Outcome) -> Table:
    table = Table(title="what happened", title_justify="left", show_header=False)
    table.add_column()
    table.add_column()
    for name in outcome.bytes_in:
        moved = (
            f"{outcome.bytes_in[name] / MILLION:.1f} MB fetched, "
            f"{outcome.bytes_out[name] / MILLION:.1f} MB stored and served"
        )
        memory, peak = outcome.memory.get(name), outcome.learner_peak.get(name)
        moved += f", daemon {memory / MILLION:.0f} MB resident" if memory else ""
        moved += f", learner {peak / MILLION:.0f} MB at its peak" if peak else ""
        table.add_row(name, moved)
    table.add_row("anchors", f"{outcome.anchors} records confirmed in the head")
    settled = "every member's last datum on L1 is its last record" if outcome.settled else "not settled"
    table.add_row(
        "settlement", f"differs for members {outcome.mismatches}" if outcome.mismatches else settled
    )
    table.add_row("specification", outcome.trace)
    if outcome.language is not None:
        table.add_row("adapter", f"{outcome.language.adapter}, as peft reads it")
        table.add_row("plot", outcome.language.plot)
    table.add_row("report", f"{REPORT} in the folder below: a page to look at")
    table.add_row("everything lies in", outcome.folder)
    return table
