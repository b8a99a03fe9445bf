"""What a command prints: JSON where asked for, else tables: drawn on a terminal, plain elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node.cli.formats import clean, value

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and what stands in it for a row."""

    title: str
    text: Callable[[Record], str]
    right: bool = False


def field(title: str, key: str, form: Callable[[Any], str] = value, *, right: bool = False) -> Column:
    """The column of one key."""
    return Column(title, lambda row: form(row.get(key)), right)


class Output:
    """Prints results to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, result: Any, human: Callable[[], None]) -> None:  # noqa: ANN401  (any JSON value)
        """Print `result` as JSON, or let `human` print it."""
        if self.as_json:
            print(json.dumps(result, indent=2, ensure_ascii=False))
        else:
            human()

    def say(self, text: str) -> None:
        """A line for people; nothing where JSON is asked for."""
        if not self.as_json:
            print(text)

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values below each other."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            print(f"{name:<{width}}  {text}".rstrip())

    def table(self, rows: Sequence[Record], columns: Sequence[Column], empty: str) -> None:
        """A table, or the line `empty` where there are no rows."""
        cells = [[column.text(row) for column in columns] for row in rows]
        if not cells:
            print(empty)
        elif sys.stdout.isatty():
            _drawn(cells, columns)
        else:
            _plain(cells, columns)


def _plain(cells: Sequence[Sequence[str]], columns: Sequence[Column]) -> None:
    lines = [[column.title for column in columns], *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        padded = [
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(padded).rstrip())


def _drawn(cells: Sequence[Sequence[str]], columns: Sequence[Column]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left")
    for line in cells:
        table.add_row(*(Text(clean(text)) for text in line))
    Console().print(table)
