"""Keeping what is in a process's memory out of other processes, and out of files."""

from __future__ import annotations

import ctypes
import resource

SET_DUMPABLE = 4
"""PR_SET_DUMPABLE of prctl(2)."""


def keep_memory_private() -> None:
    """No process of the same user reads this one's memory or environment from now on, and no core is dumped.

    Call it at the start of a program that holds keys or private data: what it becomes or starts begins anew.
    Elsewhere than on Linux only the limit on cores is there.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(SET_DUMPABLE, 0, 0, 0, 0)
