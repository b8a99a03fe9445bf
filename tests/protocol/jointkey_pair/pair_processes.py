"""Two members of a key generation, each in a process of its own, talking through a pipe.

As a script it measures: python tests/protocol/jointkey_pair/pair_processes.py BITS [RUNS [BACKEND]]
"""

from __future__ import annotations

import multiprocessing
import resource
import secrets
import statistics
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from protocol.crypto.jointkey.pair import PairParty
from protocol.crypto.jointkey.party import Finished, Incoming, Outgoing, Setup
from protocol.crypto.kernel import backend, choose
from protocol.crypto.profiles import FAST, MAX_TEST_BITS, STANDARD, Profile, insecure_test_profile


@dataclass(frozen=True)
class Report:
    """What a process tells of its run: `sent` bytes, `cpu` and `wall` seconds, candidates `tried`."""

    finished: Finished
    rounds: int
    tried: int
    sent: int
    cpu: float
    wall: float


def member(setup: Setup, me: int, pipe: Connection, backend_name: str) -> None:
    """The body of one process: exchange messages through `pipe`, then put the report into it."""
    choose(backend_name)
    started = time.perf_counter()
    party, other, sent = PairParty(setup, me), 3 - me, 0
    outgoing: Outgoing | Finished = party.start()
    while isinstance(outgoing, Outgoing):
        mine = outgoing.broadcast, outgoing.private[other]
        sent += sum(map(len, mine))
        theirs = _swap(pipe, mine, first=me == 1)
        outgoing = party.advance({other: Incoming(*theirs)})
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pipe.send(
        Report(
            outgoing,
            party.round_number + 1,
            party.progress.tried,
            sent,
            usage.ru_utime + usage.ru_stime,
            time.perf_counter() - started,
        )
    )


def _swap(pipe: Connection, mine: tuple[bytes, bytes], *, first: bool) -> tuple[bytes, bytes]:
    """One sends while the other receives: a pipe holds less than a message."""
    if first:
        pipe.send(mine)
        return pipe.recv()
    theirs = pipe.recv()
    pipe.send(mine)
    return theirs


def generate(profile: Profile, backend_name: str = "") -> list[Report]:
    """The reports of members 1 and 2."""
    setup = Setup(secrets.token_bytes(32), secrets.token_bytes(32), 2, 2, profile)
    context = multiprocessing.get_context("spawn")
    # The parent stands between the two, so that it also sees when one of them dies.
    ends = [context.Pipe() for _ in setup.indices]
    processes = [
        context.Process(target=member, args=(setup, me, ends[me - 1][1], backend_name or backend()))
        for me in setup.indices
    ]
    for process, (_, theirs) in zip(processes, ends, strict=True):
        process.start()
        theirs.close()
    one, two = (ours for ours, _ in ends)
    while not isinstance(message := one.recv(), Report):
        two.send(message)
        one.send(two.recv())
    reports = [message, two.recv()]
    for process in processes:
        process.join()
    return reports


def main(bits: int, runs: int, backend_name: str) -> None:
    """Print one line per run, then the median of the wall times."""
    sizes = {FAST.modulus_bits: FAST, STANDARD.modulus_bits: STANDARD}
    profile = sizes[bits] if bits > MAX_TEST_BITS else insecure_test_profile(bits)
    walls = []
    for _ in range(runs):
        reports = generate(profile, backend_name)
        walls.append(max(report.wall for report in reports))
        print(
            f"{bits} bits, {backend_name}: {reports[0].tried} candidates, {reports[0].rounds} rounds, "
            f"{walls[-1]:.1f} s wall, {' + '.join(f'{r.cpu:.1f}' for r in reports)} s CPU, "
            f"{reports[0].sent / 1e6:.1f} MB sent by each",
            flush=True,
        )
    print(f"median {statistics.median(walls):.1f} s wall")


if __name__ == "__main__":
    main(int(sys.argv[1]), int((sys.argv[2:] or ["1"])[0]), (sys.argv[3:] or [backend()])[0])
