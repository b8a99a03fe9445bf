"""Reads the parameters that a manifest gives to a task: each is checked once, and none is ignored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from protocol.errors import OperatorFault

MAX_PARAMETERS = 100
MAX_TEXT = 1_000


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

    def finish(self) -> None:
        """Refuses parameters that nobody asked for: a misspelt one must not pass as its default."""
        if self._given:
            unknown = ", ".join(sorted(self._given))
            known = ", ".join(sorted(self.in_force))
            raise OperatorFault(f"unknown task parameters: {unknown}", remedy=f"the task knows {known}")


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
