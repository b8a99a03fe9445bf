"""Faults in a daemon's own process: imported by the interpreter where this folder is on PYTHONPATH.

STARLING_FAULT names one; it holds while the file STARLING_FAULT_WHILE exists.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULT, WHILE = (
    os.environ.get("STARLING_FAULT", ""),
    Path(os.environ.get("STARLING_FAULT_WHILE", "/dev/null/no")),
)


def failing(method: Callable[..., Any], error: Callable[[], Exception]) -> Callable[..., Any]:
    """The method, which raises while the fault holds."""

    def replaced(*args: Any, **kwargs: Any) -> Any:
        if WHILE.exists():
            raise error()
        return method(*args, **kwargs)

    return replaced


def install() -> None:
    """Put the fault in its place."""
    from node.engine.job import JobNode
    from node.engine.rounds import RoundWork
    from node.journal import Journal, JournalUnavailable

    match FAULT:
        case "effect":
            RoundWork.check_commit = failing(RoundWork.check_commit, lambda: ZeroDivisionError("4711"))
        case "open":
            JobNode.open = failing(JobNode.open, lambda: KeyError("4711"))
        case "disk":
            for name in ("append", "keep_slots", "set_fact", "add_job", "keep_grant", "keep_round"):
                method = failing(getattr(Journal, name), lambda: JournalUnavailable("disk is full"))
                setattr(Journal, name, method)


if FAULT and "node.daemon" in " ".join(sys.orig_argv):
    install()
