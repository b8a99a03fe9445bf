"""Progress and answers as lines of JSON on standard output, for the program that started this one."""

from __future__ import annotations

import json
from typing import Any

from node.learning.task import Metrics

PARTS = 50
"""How often a stage is told of at most: a reader draws a bar, nobody reads the lines."""


class LineMonitor:
    """A monitor that prints {"stage": …, "done": …, "total": …}, one object a line."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None

    def progress(self, stage: str, done: int, total: int, metrics: Metrics | None = None) -> None:
        place = stage, PARTS * done // max(1, total)
        if place != self._last:
            self._last = place
            print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)


def answer(value: dict[str, Any]) -> None:
    """Print the last line: the answer, an object without "stage"."""
    print(json.dumps(value), flush=True)
