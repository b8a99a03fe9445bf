"""Progress and answers as lines of JSON on standard output, for the program that started this one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
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
            _print({"stage": stage, "done": done, "total": total})


def answer(value: dict[str, Any]) -> None:
    """Print the last line: the answer, an object without "stage"."""
    _print(value)


@contextmanager
def own_output() -> Iterator[None]:
    """While the body runs, what libraries print goes to standard error: standard output is for lines."""
    with redirect_stdout(sys.stderr):
        yield


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value), file=sys.__stdout__, flush=True)
