"""Who fills everybody's disk with records that do not count: named, so that operators can end the job."""

from __future__ import annotations

from collections import Counter

import structlog

FLOOD = 1_000
"""Ignored records of one author: an honest one has a few in a round, which came too late to count."""

log = structlog.get_logger()


class FloodWatch:
    """Counts a job's ignored records by author, since the node began."""

    def __init__(self) -> None:
        self._ignored: Counter[int] = Counter()

    def ignored(self, author: int) -> None:
        """A record of `author` does not count; said at every thousandth."""
        self._ignored[author] += 1
        if self._ignored[author] % FLOOD == 0:
            log.warning("RecordsFlood", other=author, ignored=self._ignored[author])
