"""config/events.md lists every event that the code writes, with its fields and levels, and no others."""

from __future__ import annotations

import ast
import functools
import re
import typing
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from node.ledger.interface import HeadEvent, Resumed, Stalled

ROOT = Path(__file__).parents[3]
CATALOGUE = ROOT / "config" / "events.md"
LEVELS = ("debug", "info", "warning", "error")
TELLERS = {"emit": "info", "tell": "info", "_tell": "info", "_moved": "info"}
"""Functions that write an event whose name is their first argument, with their level."""

EVERYWHERE = {"job", "member"}


@dataclass
class Found:
    """What the code, or the catalogue, says of one event."""

    fields: set[str] = field(default_factory=set)
    levels: set[str] = field(default_factory=set)


@functools.cache
def written() -> dict[str, Found]:
    """Every event with a literal name in the code."""
    events: dict[str, Found] = defaultdict(Found)
    for folder in ("node", "protocol"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args:
                    take(call, call.func.attr, events)
    for event in typing.get_args(HeadEvent):
        if event not in (Stalled, Resumed):  # these have lines of their own
            events[event.__name__].levels.add("info")
            events[event.__name__].fields.add("head")
    return events


def take(call: ast.Call, method: str, events: dict[str, Found]) -> None:
    if method not in LEVELS and method not in TELLERS:
        return
    literals = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    for name in literals:
        if isinstance(name, str) and re.fullmatch(r"[A-Z][A-Za-z]+|[a-z]+_[a-z]+", name):
            events[name].levels.add(TELLERS.get(method, method))
            if method != "_moved":  # whose keywords are not fields
                events[name].fields |= {keyword.arg for keyword in call.keywords if keyword.arg}
            events[name].fields |= dict_keys(call.args[1:]) if method in ("tell", "_tell") else set()


def dict_keys(arguments: list[ast.expr]) -> set[str]:
    keys = [key for each in arguments if isinstance(each, ast.Dict) for key in each.keys]
    return {str(key.value) for key in keys if isinstance(key, ast.Constant)}


def catalogued() -> dict[str, Found]:
    """Every row of the tables."""
    events = {}
    for row in re.findall(r"^\| `(\w+)` \|.*?\|(.*?)\|([^|]*)\|$", CATALOGUE.read_text(), re.MULTILINE):
        name, fields, levels = row
        assert name not in events, f"{name} is listed twice"
        events[name] = Found(set(re.findall(r"`(\w+)`", fields)), set(levels.strip().split(", ")))
    return events


def test_every_event_of_the_code_is_listed():
    found = written()
    missing = [f"{name}: {found[name]}" for name in sorted(found.keys() - catalogued().keys())]
    assert missing == [], "config/events.md lacks these"


def test_every_listed_event_is_in_the_code():
    assert sorted(catalogued().keys() - written().keys()) == [], "config/events.md has these in vain"


def test_fields_and_levels_are_those_of_the_code():
    listed = catalogued()
    lacking = [
        f"{name}: {sorted(fields)} {sorted(levels)}"
        for name, found in sorted(written().items())
        if name in listed
        for fields, levels in [
            (found.fields - listed[name].fields - EVERYWHERE, found.levels - listed[name].levels)
        ]
        if fields or levels
    ]
    assert lacking == [], "rows of config/events.md lack these fields or levels"
