"""Giving up privileges for good. Only the standard library is needed: this runs before anything else."""

from __future__ import annotations

import ctypes
import os
import struct

NO_NEW_PRIVILEGES = 38
"""PR_SET_NO_NEW_PRIVS of prctl(2): Landlock and filters of system calls presuppose it."""

CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of capset(2): two words for each set."""


def give_up_privileges() -> None:
    """No capabilities now, and none by what this process becomes. Raises `OSError`.

    A node that runs as root would otherwise hand its workers the way round everything else: the memory map
    and environment of every process, and every file.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    header, sets = struct.pack("=Ii", CAPABILITY_VERSION, 0), ctypes.create_string_buffer(2 * 3 * 4)
    libc.capget(header, sets)
    if any(sets.raw) and libc.capset(header, bytes(len(sets.raw))):
        raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}")
