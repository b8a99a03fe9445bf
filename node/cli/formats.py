"""Values as people read them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

BARS = "▁▂▃▄▅▆▇█"
DIGEST_DIGITS = 12


def clean(text: object, limit: int = 500) -> str:
    """Text that a terminal may show: what others wrote must not move its cursor or set its colours."""
    shown = str(text)[:limit]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in shown)


def short(digest: object) -> str:
    """The first digits of a digest, enough to name it."""
    return clean(digest)[:DIGEST_DIGITS] if digest else "–"


def moment(posix: float | None) -> str:
    """POSIX seconds as date and time here."""
    return "–" if not posix else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(posix))


def duration(seconds: float | None) -> str:
    """Seconds as 0.3 s, 45 s, 12 min, 3 h 20 min, 5 d 2 h."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if minutes == 0:
        return f"{seconds:.0f} s"
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def size(count: float | None) -> str:
    """Bytes in units of 1000, as networks and providers count."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def metric(name: str, value: float | None) -> str:
    """A metric: shares of one as percentages, what work cost in its units."""
    if value is None:
        return "–"
    if name.endswith("_seconds"):
        return duration(value)
    if name.endswith("_bytes"):
        return size(value)
    return f"{100 * value:.2f} %" if name.startswith("accuracy") else f"{value:.4g}"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """A curve in one line of text: the last `width` values between their least and their greatest."""
    shown = values[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    step = (high - low) / (len(BARS) - 1) or 1.0
    return "".join(BARS[round((value - low) / step)] for value in shown)


def value(given: Any) -> str:  # noqa: ANN401  (any JSON value)
    """Any JSON value in one line."""
    match given:
        case None | str() | list() | dict() if not given:
            return "–"
        case bool():
            return "yes" if given else "no"
        case float():
            return f"{given:.4g}"
        case list():
            return ", ".join(value(each) for each in given)
        case dict():
            return ", ".join(f"{clean(name)} {value(each)}" for name, each in given.items())
        case _:
            return clean(given)
