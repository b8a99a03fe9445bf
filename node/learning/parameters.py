"""Reads the parameters that a manifest gives to a task: each is checked once, and none is ignored."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeGuard

from protocol.errors import OperatorFault

MAX_PARAMETERS = 100
MAX_TEXT = 1_000
MAX_LIST = 100


class Reader:
    """Takes parameters out one by one and remembers what was in force.

    Numbers may be given as decimal text ("0.06"), because canonical manifests hold no floating point.
    """

    def __init__(self, given: Mapping[str, object]) -> None:
        if len(given) > MAX_PARAMETERS:
            raise OperatorFault(f"{len(given)} task parameters given, at most {MAX_PARAMETERS} are allowed")
        self._given = dict(given)
        self.in_force: dict[str, object] = {}

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self._given.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _refuse(name, value, f"an integer from {low} to {high}")
        self.in_force[name] = value
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = _as_float(self._given.pop(name, default))
        if value is None or not low <= value <= high:
            raise _refuse(name, value, f"a number from {low} to {high}")
        self.in_force[name] = value
        return value

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        value = self._given.pop(name, default)
        if not isinstance(value, str) or value not in choices:
            raise _refuse(name, value, f"one of {', '.join(choices)}")
        self.in_force[name] = value
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._given.pop(name, default)
        if not isinstance(value, bool):
            raise _refuse(name, value, "true or false")
        self.in_force[name] = value
        return value

    def text(self, name: str, default: str, pattern: str, wanted: str) -> str:
        """A text that the regular expression `pattern` matches whole; `wanted` says in words what it is."""
        value = self._given.pop(name, default)
        if not isinstance(value, str) or len(value) > MAX_TEXT or not re.fullmatch(pattern, value):
            raise _refuse(name, value, wanted)
        self.in_force[name] = value
        return value

    def texts(self, name: str, default: Sequence[str], pattern: str, wanted: str) -> tuple[str, ...]:
        """A list of 1 to `MAX_LIST` different texts that `pattern` matches, in the order given."""
        value: object = self._given.pop(name, list(default))
        if _is_list_of(value, pattern):
            self.in_force[name] = value
            return tuple(value)
        raise _refuse(name, value, f"a list of up to {MAX_LIST} different texts, each {wanted}")

    def finish(self) -> None:
        """Refuses parameters that nobody asked for: a misspelt one must not pass as its default."""
        if self._given:
            unknown = ", ".join(sorted(self._given))
            known = ", ".join(sorted(self.in_force))
            raise OperatorFault(f"unknown task parameters: {unknown}", remedy=f"the task knows {known}")


def _is_list_of(value: object, pattern: str) -> TypeGuard[list[str]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LIST:
        return False
    if not all(isinstance(each, str) and len(each) <= MAX_TEXT for each in value):
        return False
    return len(set(value)) == len(value) and all(re.fullmatch(pattern, each) for each in value)


def _as_float(value: object) -> float | None:
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        try:
            value = float(Decimal(value))
        except (InvalidOperation, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _refuse(name: str, value: object, wanted: str) -> OperatorFault:
    return OperatorFault(
        f"task parameter {name!r} is {str(value)[:80]!r}", remedy=f"the manifest must give {wanted}"
    )
