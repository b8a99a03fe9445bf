"""The bytes that the kernel is given, for every version of its interface, and what the filter answers."""

from __future__ import annotations

import errno
import struct

import pytest

from node.confinement import landlock, seccomp
from node.confinement.landlock import READ, RUN, USE_DEVICE, WRITE, Rights


@pytest.mark.parametrize(
    ("abi", "size", "files"),
    [(1, 8, 13), (2, 8, 14), (3, 8, 15), (4, 16, 15), (5, 16, 16), (6, 24, 16), (7, 24, 16), (12, 24, 16)],
)
def test_a_ruleset_takes_away_all_that_the_version_knows_and_nothing_else(abi: int, size: int, files: int):
    closed, fetching = landlock.ruleset(abi, network=False), landlock.ruleset(abi, network=True)
    assert len(closed) == len(fetching) == size
    assert struct.unpack_from("=Q", closed)[0] == (1 << files) - 1
    if abi >= 4:
        assert struct.unpack_from("=Q", closed, 8)[0] == 3
        assert struct.unpack_from("=Q", fetching, 8)[0] == 0
    if abi >= 6:
        assert struct.unpack_from("=Q", closed, 16)[0] == 3


@pytest.mark.parametrize("abi", range(1, 8))
@pytest.mark.parametrize("rights", [READ, RUN, WRITE, USE_DEVICE])
def test_a_rule_gives_only_what_the_ruleset_took_and_what_fits_its_object(abi: int, rights: Rights):
    for folder in (True, False):
        allowed, descriptor = struct.unpack("=Qi", landlock.rule(abi, rights, 5, folder=folder))
        assert descriptor == 5
        assert not Rights(allowed) & ~landlock.handled(abi)
        assert folder or not Rights(allowed) & ~landlock.OF_FILES
        assert Rights(allowed) & Rights.READ_FILE


def test_data_are_read_but_neither_changed_nor_run():
    assert not READ & (
        Rights.WRITE_FILE | Rights.TRUNCATE | Rights.REMOVE_FILE | Rights.MAKE_REG | Rights.EXECUTE
    )
    assert not WRITE & (Rights.MAKE_BLOCK | Rights.MAKE_CHAR | Rights.EXECUTE)


def answer(program: bytes, number: int, architecture: int, second: int = 0) -> int:
    """What the kernel does with a call: an interpreter of the few instructions that are used."""
    data = struct.pack("=IIQQQ", number & 0xFFFFFFFF, architecture, 0, 0, second)
    steps = list(struct.iter_unpack("=HBBI", program))
    at, accumulator = 0, 0
    while True:
        code, when, otherwise, value = steps[at]
        at += 1
        match code:
            case seccomp.LOAD:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case seccomp.AND:
                accumulator &= value
            case seccomp.IF_EQUAL:
                at += when if accumulator == value else otherwise
            case seccomp.IF_AT_LEAST:
                at += when if accumulator >= value else otherwise
            case seccomp.RETURN:
                return int(value)
            case other:
                raise AssertionError(f"no such instruction {other:#x}")


@pytest.mark.parametrize("known", seccomp.MACHINES.values(), ids=seccomp.MACHINES)
def test_the_filter_refuses_sockets_and_what_gets_round_it(known: seccomp.Machine):
    closed, fetching = seccomp.program(known, network=False), seccomp.program(known, network=True)
    assert seccomp.REFUSE & 0xFFFF == errno.EPERM
    for number in (*known.meddling, known.socket, known.socket | seccomp.X32, 0x7FFFFFFF):
        assert answer(closed, number, known.architecture) == seccomp.REFUSE
    assert answer(fetching, known.socket, known.architecture) == seccomp.ALLOW
    assert answer(fetching, known.meddling[0], known.architecture) == seccomp.REFUSE
    for kind, verdict in (
        (1, seccomp.ALLOW),
        (1 | 0o2000000, seccomp.ALLOW),
        (2, seccomp.REFUSE),
        (5, seccomp.REFUSE),
    ):
        assert answer(closed, known.socketpair, known.architecture, kind) == verdict
    assert answer(closed, 0, known.architecture) == seccomp.ALLOW
    assert answer(closed, 0, 0x40000003) == seccomp.KILL
