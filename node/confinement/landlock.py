"""Landlock: a process gives up files, TCP and signals for good, for itself and all that it starts.

See landlock(7) and Documentation/userspace-api/landlock.rst in Linux. Only the standard library is needed:
this runs before anything else is imported.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Sequence
from enum import IntFlag

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls: the same numbers on every architecture."""

VERSION_QUERY = 1
PATH_BENEATH = 1
BIND_AND_CONNECT_TCP = 0b11
ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
NET_FROM, SCOPES_FROM = 4, 6
"""ABI versions since which there are rules for TCP, and for what lies outside the own domain."""


class Rights(IntFlag):
    """What may be done with files beneath a path (LANDLOCK_ACCESS_FS_…)."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Rights.READ_FILE | Rights.READ_DIR
RUN = READ | Rights.EXECUTE
USE_DEVICE = READ | Rights.WRITE_FILE | Rights.IOCTL_DEV
WRITE = (
    READ
    | Rights.WRITE_FILE
    | Rights.REMOVE_DIR
    | Rights.REMOVE_FILE
    | Rights.MAKE_DIR
    | Rights.MAKE_REG
    | Rights.MAKE_FIFO
    | Rights.MAKE_SYM
    | Rights.REFER
    | Rights.TRUNCATE
)
OF_FILES = Rights.EXECUTE | Rights.WRITE_FILE | Rights.READ_FILE | Rights.TRUNCATE | Rights.IOCTL_DEV
"""The rights that mean something for what is no directory; the kernel refuses the others there."""

_NEWEST: dict[int, int] = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many of the rights an ABI version knows; from 5 on all of them."""


def abi() -> int:
    """The version of Landlock in this kernel; 0 where there is none, or it is not switched on or allowed."""
    return max(0, _call(CREATE_RULESET, None, 0, VERSION_QUERY))


def handled(version: int) -> Rights:
    """All rights that a kernel of this ABI version can take away."""
    return Rights((1 << _NEWEST.get(version, 16)) - 1)


def ruleset(version: int, *, network: bool) -> bytes:
    """struct landlock_ruleset_attr: what is taken away unless a rule gives it back."""
    net = 0 if network or version < NET_FROM else BIND_AND_CONNECT_TCP
    words = [int(handled(version))]
    if version >= NET_FROM:
        words.append(net)
    if version >= SCOPES_FROM:
        words.append(ABSTRACT_SOCKETS_AND_SIGNALS)
    return struct.pack(f"={len(words)}Q", *words)


def rule(version: int, rights: Rights, descriptor: int, *, folder: bool) -> bytes:
    """struct landlock_path_beneath_attr: these rights beneath what is open as `descriptor`."""
    allowed = rights & handled(version) & (rights if folder else OF_FILES)
    return struct.pack("=Qi", int(allowed), descriptor)


def restrict(version: int, rules: Sequence[tuple[str, int]], *, network: bool) -> None:
    """Keep this thread, and what it starts or becomes, to these paths with their `Rights`. No way back.

    A path that is not there gives nothing. Presupposes `privileges.give_up_privileges`.
    Raises `OSError` where the kernel refuses.
    """
    attributes = ruleset(version, network=network)
    descriptor = _checked("landlock_create_ruleset", CREATE_RULESET, attributes, len(attributes), 0)
    for path, rights in rules:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        folder = stat.S_ISDIR(os.fstat(opened).st_mode)
        beneath = rule(version, Rights(rights), opened, folder=folder)
        _checked("landlock_add_rule", ADD_RULE, descriptor, PATH_BENEATH, beneath, 0)
        os.close(opened)
    _checked("landlock_restrict_self", RESTRICT_SELF, descriptor, 0)
    os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    given = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, *given))


def _checked(name: str, number: int, *arguments: object) -> int:
    found = _call(number, *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return found
