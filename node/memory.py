"""How the C library keeps the memory that is given back to it."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""From malloc.h of the GNU C library; see mallopt(3)."""

LARGE = 256 * 1024
"""Bytes from which a block gets pages of its own, which go back to the system as soon as it is free."""

ARENAS = 2


def return_large_blocks() -> None:
    """Have large blocks returned to the system when they are freed; call before threads are started.

    Messages of key generation have megabytes. By itself the GNU C library learns from them to keep such
    blocks, scattered over an arena for each thread: daemons of six members stayed at 235 MB instead of 125.
    Other C libraries lack the call and are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_ARENA_MAX, ARENAS)
