"""Runs every party of a key generation in a process of its own, so that two cores share the work."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

from protocol.crypto.jointkey.party import Finished, Incoming, Outgoing, Party


def run_in_processes(members: int, party: Callable[[int], Party]) -> dict[int, Finished]:
    """What every member's party(me) ends with; a party that fails ends the run with `EOFError`.

    Processes are forked, so `party` may be any callable; the parent only passes messages on.
    """
    context = multiprocessing.get_context("fork")
    pipes, processes = {}, []
    for me in range(1, members + 1):
        pipes[me], far = context.Pipe()
        process = context.Process(target=_run, args=(party, me, far))
        process.start()
        far.close()
        processes.append(process)
    try:
        return _pass_messages(pipes)
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()


def _run(party: Callable[[int], Party], me: int, pipe: Connection) -> None:
    running = party(me)
    result: Outgoing | Finished = running.start()
    while isinstance(result, Outgoing):
        pipe.send(result)
        result = running.advance(pipe.recv())
    pipe.send(result)


def _pass_messages(pipes: dict[int, Connection]) -> dict[int, Finished]:
    while True:
        sent = {me: pipe.recv() for me, pipe in pipes.items()}
        if all(isinstance(result, Finished) for result in sent.values()):
            return sent
        for me, pipe in pipes.items():
            pipe.send({i: Incoming(o.broadcast, o.private[me]) for i, o in sent.items() if i != me})
