"""One worker process, seen from trio: start it, ask it, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from node.confinement.policy import NOTHING_MORE, Confinement
from node.confinement.scratch import erase, make_scratch
from node.workers import wire
from node.workers.frames import MAX_CONTROL, Decoder, FrameError, Message, encode
from node.workers.wire import Progress
from protocol.errors import OwnFault

Result = TypeVar("Result")

READ_SIZE = 2**20
# The end of a Python traceback, with the message, fits; a report or a log line must not grow beyond it.
STDERR_TAIL = 8 * 1024
# A killed process is gone within milliseconds; a pipe that a stranger still holds open must not delay us.
LAST_WORDS = 1.0  # seconds

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerLost(Exception):
    """The worker ended, fell silent or sent nonsense; `reason` says which, `stderr` what it said last."""

    def __init__(self, reason: str, stderr: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.stderr = stderr


class WorkerProcess:
    """A running worker. It is asked one thing at a time; after `WorkerLost` or cancellation it is dead."""

    def __init__(self, process: trio.Process, silence: float, scratch: Path) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("a worker needs pipes for stdin, stdout and stderr")
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._stderr = process.stderr
        self._silence = silence
        self._scratch = scratch
        self._decoder = Decoder()
        self._tail = bytearray()
        self._said_all = trio.Event()

    @classmethod
    async def start(
        cls, module: str, threads: int, silence: float, confinement: Confinement = NOTHING_MORE
    ) -> WorkerProcess:
        """Starts the interpreter on `module`; `silence` (seconds) bounds how long a request may be quiet."""
        scratch = make_scratch()
        # Numerical libraries read these when they are first loaded, before any code could tell them.
        numbers = dict.fromkeys(THREAD_VARIABLES, str(threads))
        command, environment = confinement.command(["-m", module], scratch)
        try:
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=environment | numbers,
            )
        except BaseException:
            erase(scratch)
            raise
        worker = cls(process, silence, scratch)
        # A system task because a pipe must be drained for as long as the process lives, whichever task
        # happens to be asking; it ends by itself with the process.
        trio.lowlevel.spawn_system_task(worker._listen)
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def allow(self, elements: int) -> None:
        """Lets answers hold this many float32 values beside the usual."""
        self._decoder.limit = MAX_CONTROL + 4 * elements

    async def ask(
        self, request: Message, parse: Callable[[Message], Result], on_progress: Callable[[Progress], None]
    ) -> Result:
        """Sends a request and returns what `parse` makes of the result; progress goes to the callback.

        Raises:
            StarlingError: the task refused on purpose, or the request cannot be sent; the worker lives on.
            WorkerLost: the worker is gone, and has been killed if it was not.
        """
        # A language model's adapters have megabytes: copying and checking them must not block the node.
        frame = await trio.to_thread.run_sync(encode, request)
        try:
            answer = await self._exchange(frame, on_progress)
            if "error" not in answer:
                return await trio.to_thread.run_sync(parse, _inner(answer, "result"))
            refusal = wire.error_from(_inner(answer, "error"))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OwnFault) as error:
            await self.kill(grace=LAST_WORDS if isinstance(error, trio.BrokenResourceError) else 0)
            raise WorkerLost(self._reason(error), self._tail.decode(errors="replace")) from error
        except BaseException:
            await self.kill()
            raise
        raise refusal

    async def kill(self, grace: float = 0) -> None:
        """Ends the worker and every process it started, after `grace` seconds to end by itself.

        Safe to call twice, and when cancelled.
        """
        with trio.CancelScope(shield=True):
            with trio.move_on_after(grace):
                await self._process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            with trio.move_on_after(LAST_WORDS):
                await self._said_all.wait()
            for stream in (self._stdin, self._stdout, self._stderr):
                await stream.aclose()
            await trio.to_thread.run_sync(erase, self._scratch)

    async def _exchange(self, frame: bytes, on_progress: Callable[[Progress], None]) -> Message:
        with trio.fail_after(self._silence):
            await self._stdin.send_all(frame)
        while "progress" in (answer := await self._receive()):
            on_progress(wire.progress_from(_inner(answer, "progress")))
        return answer

    async def _receive(self) -> Message:
        with trio.fail_after(self._silence):
            while True:
                for message in self._decoder.messages():
                    return message
                data = await self._stdout.receive_some(READ_SIZE)
                if not data:
                    raise trio.BrokenResourceError("end of the worker's output")
                self._decoder.feed(data)

    async def _listen(self) -> None:
        try:
            async for data in self._stderr:
                self._tail = (self._tail + data)[-STDERR_TAIL:]
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass
        finally:
            self._said_all.set()

    def _reason(self, error: Exception) -> str:
        if isinstance(error, trio.TooSlowError):
            return f"it made no progress for {self._silence:g} seconds"
        if isinstance(error, OwnFault):
            return f"it sent garbage: {error}"
        code = self._process.returncode
        if code is not None and code < 0:
            return f"it was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"it ended with exit code {code}"


def _inner(answer: Message, key: str) -> Message:
    value = answer.get(key)
    if not isinstance(value, dict):
        raise FrameError(f"an answer without a {key}")
    return value
