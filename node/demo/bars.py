"""Progress of what the demo itself waits for: bars on a terminal, a line for each stage elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID

from node.learning.task import Metrics


class Bars:
    """A task's monitor that draws."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._stages: dict[str, TaskID] = {}

    def progress(self, stage: str, done: int, total: int, metrics: Metrics | None = None) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._progress.add_task(stage, total=total)
            if not self._console.is_terminal:
                self._console.print(f"{stage} …", highlight=False)
        self._progress.update(self._stages[stage], completed=done, total=total)


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Bars that vanish after the body."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bars(console, progress)
