"""Keeping what others cause within bounds: their messages, and the log lines about them."""

from __future__ import annotations

import time
from typing import Final

import structlog
import trio

LOG_INTERVAL: Final = 10.0  # seconds; a flood of strangers must not fill the disk with log lines
LOG_BURST: Final = 20


class TokenBucket:
    """A rate limit with a burst: `take` sleeps until the amount is within `rate` per second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated: float | None = None

    async def take(self, amount: float) -> None:
        """Take `amount` tokens, at most the burst; sleeps while the bucket is in debt."""
        now = trio.current_time()
        if self._updated is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        self._tokens -= amount
        if self._tokens < 0:
            await trio.sleep(-self._tokens / self._rate)


class Allowance:
    """A rate of messages and one of their bytes."""

    def __init__(self, messages: TokenBucket, content: TokenBucket) -> None:
        self._messages = messages
        self._content = content

    async def take(self, size: int) -> None:
        """Wait until a message of `size` bytes is within both."""
        await self._messages.take(1)
        await self._content.take(size)


class ThrottledLog:
    """Logs at most LOG_BURST lines in LOG_INTERVAL; the next line says how many were left out."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        self._log = log
        self._since = float("-inf")
        self._lines = 0

    def info(self, event: str, **fields: object) -> None:
        """Log at level info, within the bounds."""
        if self._has_room(fields):
            self._log.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log at level warning, within the bounds."""
        if self._has_room(fields):
            self._log.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Log at level error, within the bounds."""
        if self._has_room(fields):
            self._log.error(event, **fields)

    def _has_room(self, fields: dict[str, object]) -> bool:
        now = time.monotonic()
        if now - self._since > LOG_INTERVAL:
            if self._lines > LOG_BURST:
                fields["left_out"] = self._lines - LOG_BURST
            self._since, self._lines = now, 0
        self._lines += 1
        return self._lines <= LOG_BURST
