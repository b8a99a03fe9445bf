"""Commands of ours that load a training framework, each in a process of its own: their callers do not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import trio

from node.confinement.policy import NOTHING_MORE, Confinement
from node.confinement.scratch import own_scratch
from protocol.errors import OperatorFault

ERRAND_SECONDS = 7200.0
"""Training ten members alone on a slow machine takes an hour."""
MAX_LINE = 64 * 2**20
"""Bytes of one line: answers hold metrics and texts."""
TAIL = 4096
"""How many of the last bytes of a command's errors are kept: its last line says what went wrong."""

OnProgress = Callable[[str, int, int], None]


async def run_errand(
    arguments: Sequence[str], on_progress: OnProgress, confinement: Confinement = NOTHING_MORE
) -> dict[str, Any]:
    """Run `python -m …` with these arguments; its answer: the last line that it prints, an object of JSON.

    It reaches only what `confinement` says. Lines with "stage", "done" and "total" before the answer go to
    `on_progress`. Raises `OperatorFault` with the command's last words if it fails.
    """
    tail = bytearray()
    try:
        with trio.fail_after(ERRAND_SECONDS):
            code, answer = await _run(arguments, on_progress, tail, confinement)
    except trio.TooSlowError:
        raise OperatorFault(
            f"{arguments[0]} took longer than {ERRAND_SECONDS:.0f} seconds",
            remedy="ask for less, or leave it out",
        ) from None
    if code or answer is None:
        last = tail.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise OperatorFault(last[0].removeprefix("error: "))
    return answer


async def _run(
    arguments: Sequence[str], on_progress: OnProgress, tail: bytearray, confinement: Confinement
) -> tuple[int | None, dict[str, Any] | None]:
    """The exit code and the answer; cancelled, it kills the process."""
    answer: dict[str, Any] | None = None
    async with own_scratch() as scratch, trio.open_nursery() as nursery:
        command, environment = confinement.command(["-m", *arguments], scratch)
        start = partial(
            trio.run_process,
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        process: trio.Process = await nursery.start(start)
        nursery.start_soon(_keep_last, process.stderr, tail)
        async for line in _lines(process.stdout):
            told = json.loads(line)
            if "stage" in told:
                on_progress(told["stage"], told["done"], told["total"])
            else:
                answer = told
    return process.returncode, answer


async def _keep_last(stream: trio.abc.ReceiveStream | None, tail: bytearray) -> None:
    if stream is not None:
        async for part in stream:
            tail += part
            del tail[:-TAIL]


async def _lines(stream: trio.abc.ReceiveStream | None) -> AsyncIterator[bytes]:
    buffer = bytearray()
    if stream is None:
        return
    async for part in stream:
        buffer += part
        *whole, rest = buffer.split(b"\n")
        buffer = bytearray(rest)
        if len(buffer) > MAX_LINE:
            raise OperatorFault("a command printed a line without an end")
        for line in whole:
            yield bytes(line)
