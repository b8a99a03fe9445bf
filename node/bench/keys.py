"""Key generation, every member in a process of its own: messages go through pipes as MessagePack.

The parent passes messages on, as a transport would. What a member says is never unpickled.
"""

from __future__ import annotations

import multiprocessing
import resource
import secrets
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import msgpack

from node.bench.report import Generations, Run
from protocol.crypto.jointkey.choose import party_for
from protocol.crypto.jointkey.party import Finished, Incoming, Outgoing, Progress, Setup
from protocol.crypto.kernel import backend, choose
from protocol.crypto.profiles import FAST, STANDARD, Profile, insecure_test_profile
from protocol.errors import MemberFault, OwnFault, StarlingError
from protocol.thresholds import Thresholds

MAX_MESSAGE = 256 * 2**20
"""Bytes: a batch of 2048 candidates at 3072 bits has some tens of megabytes for each member."""

Say = Callable[[str], None]


def profile_of(bits: int) -> Profile:
    """The profile with moduli of `bits` bits."""
    known = {profile.modulus_bits: profile for profile in (FAST, STANDARD)}
    return known.get(bits) or insecure_test_profile(bits)


def generate(members: int, bits: int, runs: int, say: Say) -> Generations:
    """`runs` joint keys for `members` members, one after the other."""
    return Generations(members, bits, [_generate(members, bits, say) for _ in range(runs)])


def _generate(members: int, bits: int, say: Say) -> Run:
    threshold = Thresholds.default(members).shares
    setup = Setup(secrets.token_bytes(32), secrets.token_bytes(32), members, threshold, profile_of(bits))
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    begun = time.perf_counter()
    try:
        for me in setup.indices:
            pipes[me], far = context.Pipe()
            process = context.Process(target=_member, args=(setup, me, backend(), far), daemon=True)
            process.start()
            far.close()
            processes.append(process)
        reports = _pass_on(pipes, lambda text: say(f"{members} members, {bits} bits: {text}"))
    finally:
        for process in processes:
            process.terminate()
            process.join()
    wall = time.perf_counter() - begun
    if len({report["key"] for report in reports.values()}) != 1:
        raise OwnFault("the members ended with different keys")
    first = reports[1]
    cpu = [report["cpu"] for report in reports.values()]
    return Run(wall, cpu, first["tried"], first["rounds"], first["sent"])


def _member(setup: Setup, me: int, kernel: str, pipe: Connection) -> None:
    """The body of a member's process."""
    choose(kernel)

    def report(progress: Progress) -> None:
        if me == 1:
            _send(pipe, {"stage": progress.stage, "tried": progress.tried, "expected": progress.expected})

    try:
        _send(pipe, _run(setup, me, report, pipe))
    except StarlingError as error:
        _send(pipe, {"failed": str(error), "accused": getattr(error, "member", None) or 0})


def _run(setup: Setup, me: int, report: Callable[[Progress], None], pipe: Connection) -> dict[str, Any]:
    party = party_for(setup, me, report)
    outgoing: Outgoing | Finished = party.start()
    sent = 0
    while isinstance(outgoing, Outgoing):
        private = {str(member): message for member, message in outgoing.private.items()}
        sent += len(outgoing.broadcast) * len(private) + sum(map(len, private.values()))
        _send(pipe, {"broadcast": outgoing.broadcast, "private": private})
        received = _receive(pipe)
        outgoing = party.advance({int(member): Incoming(*pair) for member, pair in received.items()})
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "key": outgoing.key.digest,
        "cpu": usage.ru_utime + usage.ru_stime,
        "tried": party.progress.tried,
        "rounds": party.round_number + 1,
        "sent": sent,
    }


def _pass_on(pipes: dict[int, Connection], say: Say) -> dict[int, dict[str, Any]]:
    while True:
        sent = {me: _next(pipe, say) for me, pipe in pipes.items()}
        if all("key" in message for message in sent.values()):
            return sent
        for me, pipe in pipes.items():
            inbox = {
                str(other): [message["broadcast"], message["private"][str(me)]]
                for other, message in sent.items()
                if other != me
            }
            _send(pipe, inbox)


def _next(pipe: Connection, say: Say) -> dict[str, Any]:
    """The next message that is not progress. Raises `MemberFault` for a member that failed."""
    while "stage" in (message := _receive(pipe)):
        say(f"{message['stage']}, {message['tried']} of about {message['expected']} candidates tried")
    if "failed" in message:
        raise MemberFault(message["failed"], member=message["accused"] or None)
    return message


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(msgpack.packb(message))


def _receive(pipe: Connection) -> dict[str, Any]:
    message: dict[str, Any] = msgpack.unpackb(pipe.recv_bytes(MAX_MESSAGE), max_bin_len=MAX_MESSAGE)
    return message
