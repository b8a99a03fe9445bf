"""An unexpected failure as a log may have it: its types and places, without values, which may be secret."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from pathlib import Path

from node.journal import JournalUnavailable
from protocol.errors import StarlingError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def leaves(failure: BaseException) -> Iterator[BaseException]:
    """The faults in a failure, which may be a group of groups."""
    if isinstance(failure, BaseExceptionGroup):
        for each in failure.exceptions:
            yield from leaves(each)
    else:
        yield failure


def lacks_room(failure: BaseException) -> bool:
    """Whether every fault in it is a disk's that somebody has to make room on, or to make writable again."""
    return all(
        isinstance(each, JournalUnavailable) or (isinstance(each, OSError) and each.errno in DISK_ERRORS)
        for each in leaves(failure)
    )


def kinds(failure: BaseException) -> str:
    """The types of all faults in it."""
    return ", ".join(sorted({type(each).__name__ for each in leaves(failure)}))


def places(failure: BaseException) -> list[str]:
    """Where the first fault in it happened, outermost first."""
    frames = traceback.extract_tb(next(leaves(failure)).__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def in_words(failure: BaseException) -> str:
    """The first fault in it: a deliberate one by its text, any other by type and place, without values."""
    first = next(leaves(failure))
    if isinstance(first, StarlingError):
        return str(first)[:300]
    if isinstance(first, OSError) and first.strerror:
        return f"this machine: {first.strerror}"
    return " at ".join([f"a bug, {type(first).__name__}", *places(first)[-1:]])
