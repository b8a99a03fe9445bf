"""The live view: what every member does, how far it is, and how good the joint model has become."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from node.demo.cohort import Plan
from node.demo.watching import Seen

REFRESH_PER_SECOND = 4
MILLION = 1_000_000


class LiveView:
    """Draws `seen`; on a terminal as a moving picture, elsewhere as a line per change."""

    def __init__(self, plan: Plan, seen: Seen, title: str, metric: str, console: Console) -> None:
        self._plan = plan
        self._seen = seen
        self._title = title
        self._metric = metric
        self._console = console
        self._begun = time.monotonic()
        self._lines: dict[int, str] = {}

    @property
    def on_terminal(self) -> bool:
        """Whether there is somebody to draw for."""
        return self._console.is_terminal

    def live(self) -> Live:
        """The moving picture as a context manager."""
        return Live(
            get_renderable=self.picture,
            console=self._console,
            refresh_per_second=REFRESH_PER_SECOND,
            auto_refresh=True,
            transient=True,
        )

    def print_changes(self, *, final: bool = False) -> None:
        """Plain lines for logs and pipes: each member's stage when it changes, each round's metric when all
        members have measured it, or in the end as many as have."""
        for member in self._plan.members:
            job = self._seen.jobs.get(member.index)
            line = f"{member.name}: {_stage(job)}" if job else f"{member.name}: starting"
            if self._lines.get(member.index) != line:
                self._lines[member.index] = line
                self._console.print(f"[{time.monotonic() - self._begun:6.1f} s] {line}", highlight=False)
        for number in self._seen.opened():
            measured = len(self._seen.by_member(number))
            complete = measured == len(self._plan.members) or (final and measured > 0)
            if complete and -number not in self._lines:
                self._lines[-number] = "shown"
                value = self._seen.metrics(number).get(self._metric, float("nan"))
                self._console.print(f"[ROUND {number}] {self._metric} {value:.4f}", highlight=False)

    def picture(self) -> RenderableType:
        """The whole picture."""
        elapsed = time.monotonic() - self._begun
        head = Text(f"{self._title}   {elapsed:5.0f} s", style="bold")
        return Panel(Group(head, self._members(), self._rounds()), border_style="cyan", title="starling")

    def _members(self) -> Table:
        table = Table(expand=True, box=None, padding=(0, 1))
        for column in ("member", "peers", "stage", "progress", "", "moved"):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for member in self._plan.members:
            job = self._seen.jobs.get(member.index)
            name, bar = _progress(job, self._metric)
            table.add_row(
                member.name,
                str(self._seen.up.get(member.index, "–")),
                _stage(job),
                bar,
                name,
                _moved(self._seen.storage.get(member.index)),
            )
        return table

    def _rounds(self) -> RenderableType:
        table = Table(expand=True, box=None, padding=(0, 1))
        table.add_column("round", justify="right")
        table.add_column(self._metric)
        table.add_column("contributors")
        longest = max(self._seen.rounds.values(), key=len, default=[])
        for each in longest:
            value = self._seen.metrics(each["round"]).get(self._metric)
            shown = "burned" if each["outcome"] == "burned" else "…" if value is None else f"{value:.4f}"
            table.add_row(str(each["round"]), shown, ", ".join(map(str, each["members"])))
        return table


def _stage(job: dict[str, Any] | None) -> str:
    if job is None:
        return "starting"
    place = f"round {job['round']}/{job['rounds']}" if job["phase"] == "running" else job["phase"]
    return f"{place}: {job['waits_for']}"


def _progress(job: dict[str, Any] | None, metric: str) -> tuple[str, RenderableType]:
    """The work that is not finished, newest last: its name, its metric if it has one, and a bar."""
    if job is not None:
        for name, shown in reversed(list(job["progress"].items())):
            if shown["total"] and shown["done"] < shown["total"]:
                bar = ProgressBar(total=shown["total"], completed=shown["done"], width=24)
                value = shown["metrics"].get(metric)
                measured = "" if value is None else f" {metric} {value:.3f}"
                return f"{name} {shown['done']}/{shown['total']}{measured}", bar
    return "", Text(" " * 24)


def _moved(storage: dict[str, Any] | None) -> str:
    if not storage or not storage["jobs"]:
        return ""
    last = storage["jobs"][-1]
    return f"↓{last['fetched_bytes'] / MILLION:.1f} ↑{last['sent_bytes'] / MILLION:.1f} MB"
