"""A filter of system calls for workers: no sockets, and no way around that or into other processes.

Landlock's rules for TCP leave UDP and Unix sockets, and with these the daemon's own control socket. Pairs of
connected stream sockets stay: event loops wake themselves with them, and they lead nowhere else. See
seccomp(2) and bpf(4); the numbers are of arch/x86/entry/syscalls and include/uapi/asm-generic/unistd.h in
Linux. Only the standard library is needed: this runs before anything else is imported.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

SET_SECCOMP, GET_SECCOMP, FILTER = 22, 21, 2
ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
KILL = 0x80000000

LOAD, IF_EQUAL, IF_AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
NUMBER_AT, ARCHITECTURE_AT, SECOND_ARGUMENT_AT = 0, 4, 24
"""Offsets in struct seccomp_data; the second argument's lower half on little-endian machines."""

SOCK_STREAM, SOCK_TYPE_MASK = 1, 0xF
X32 = 0x40000000
"""Numbers from here on are the x32 ABI's: the same calls once more, past a filter that does not know them."""


@dataclass(frozen=True)
class Machine:
    """An architecture's audit number and its numbers of the calls in question."""

    architecture: int
    socket: int
    socketpair: int
    meddling: tuple[int, ...]


SHARED = (425, 426, 427, 438)
"""io_uring_setup, _enter and _register, which open sockets past every filter, and pidfd_getfd."""

MACHINES: Mapping[str, Machine] = {
    # ptrace, process_vm_readv and _writev; add_key, request_key, keyctl; kcmp
    "x86_64": Machine(0xC000003E, 41, 53, (101, 310, 311, 248, 249, 250, 312, *SHARED)),
    "aarch64": Machine(0xC00000B7, 198, 199, (117, 270, 271, 217, 218, 219, 272, *SHARED)),
}


def machine() -> Machine | None:
    """This machine, where its system calls are known here and the kernel has filters."""
    if ctypes.CDLL(None).prctl(GET_SECCOMP, 0, 0, 0, 0) < 0:
        return None
    return MACHINES.get(platform.machine())


def program(known: Machine, *, network: bool) -> bytes:
    """The filter's instructions (struct sock_filter each): what is refused raises EPERM."""
    head = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (IF_EQUAL, 1, 0, known.architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
        (IF_AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, REFUSE),
    ]
    refused = known.meddling if network else (*known.meddling, known.socket)
    body = [step for number in refused for step in ((IF_EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE))]
    pairs = [
        (IF_EQUAL, 0, 4, known.socketpair),
        (LOAD, 0, 0, SECOND_ARGUMENT_AT),
        (AND, 0, 0, SOCK_TYPE_MASK),
        (IF_EQUAL, 1, 0, SOCK_STREAM),
        (RETURN, 0, 0, REFUSE),
    ]
    steps = [*head, *body, *([] if network else pairs), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def install(instructions: bytes) -> None:
    """Filter the system calls of this thread, and of what it starts or becomes. Raises `OSError`.

    Presupposes `privileges.give_up_privileges`.
    """
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    count = len(instructions) // struct.calcsize("=HBBI")
    header = struct.pack("@HP", count, ctypes.addressof(buffer))
    if ctypes.CDLL(None, use_errno=True).prctl(SET_SECCOMP, FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")
