"""How long to wait before the next attempt."""

from __future__ import annotations

import random

_GROWTH = 2.0
_JITTER = 0.3  # of the delay: two nodes that lost each other must not redial in step


class Backoff:
    """Delays that double from `first` to `longest` seconds, each shortened by up to 30 % at random."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._delay = first

    def next(self) -> float:
        """The delay before the next attempt, in seconds."""
        delay, self._delay = self._delay, min(self._longest, self._delay * _GROWTH)
        return delay * (1 - _JITTER * random.random())  # noqa: S311  (jitter is no secret)

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._delay = self._first
