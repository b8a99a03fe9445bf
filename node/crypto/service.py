"""The node's side of the crypto worker: one request at a time, and a worker that may be lost.

A worker that crashes is replaced and given the key again; whatever it had in memory it makes again from
files. Key generation is the exception: its state lives in the worker alone, so a crash fails the attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import trio

from node.confinement.policy import Confinement
from node.workers.process import WorkerLost, WorkerProcess
from node.workers.wire import Progress
from protocol.crypto.sigma.schnorr import JobSecret
from protocol.errors import OperatorFault
from protocol.manifest import Manifest

Message = dict[str, Any]

SILENCE = 1800.0
"""Seconds without an answer or progress after which a worker is taken for hung: the longest step of key
generation for many members at 3072 bits takes minutes on a busy machine."""

KERNEL = "STARLING_KERNEL"
"""Names the arithmetic to use, in the environment."""

MAX_VALUES = 2**27

log = structlog.get_logger()


class CryptoFailed(OperatorFault):
    """The crypto worker was lost twice over one request."""


class CryptoWorker:
    """The worker of one job. Close it with `aclose`; cancelling a request kills the process."""

    def __init__(
        self,
        manifest: Manifest,
        me: int,
        secret: JobSecret,
        nice: int,
        cores: int,
        on_progress: Callable[[Progress], None],
        objects: Path,
    ) -> None:
        """`objects` is the folder of the job's objects, all that the worker reads and writes."""
        self._opening: Message = {
            "manifest": manifest.to_bytes(),
            "me": me,
            "secret": secret.to_bytes(),
            "nice": nice,
            "cores": cores,
        }
        self._on_progress = on_progress
        self._confinement = Confinement(write=(objects,), shared_memory=cores > 1, variables=(KERNEL,))
        self._secret: bytes | None = None
        self._process: WorkerProcess | None = None
        self._turn = trio.Lock()
        self._keyed = trio.Event()

    async def ask(self, request: Message) -> Message:
        """The answer to a request of `desk`, as soon as there is a key to work with.

        Raises its `StarlingError`, or `CryptoFailed`.
        """
        await self._keyed.wait()
        return await self._twice(request)

    async def _twice(self, request: Message) -> Message:
        async with self._turn:
            try:
                return await self._once(request)
            except WorkerLost as lost:
                log.warning("CryptoWorkerLost", reason=lost.reason, stderr=lost.stderr[-2000:])
            try:
                return await self._once(request)
            except WorkerLost as lost:
                raise CryptoFailed(
                    f"the crypto worker was lost twice: {lost.reason}",
                    remedy="see CryptoWorkerLost in the log; is there enough memory?",
                ) from lost

    async def use_key(self, secret: bytes) -> None:
        """Work with this key and share from now on, also in workers to come."""
        self._secret = secret
        await self._twice({"do": "use-key", "secret": secret})
        self._keyed.set()

    async def step_key(self, request: Message) -> Message:
        """One step of key generation; raises `WorkerLost` when its state is gone."""
        async with self._turn:
            process = await self._running()
            return await process.ask(request, _message, self._on_progress)

    async def aclose(self) -> None:
        """End the worker."""
        if self._process is not None:
            await self._process.kill()

    async def _once(self, request: Message) -> Message:
        process = await self._running()
        return await process.ask(request, _message, self._on_progress)

    async def _running(self) -> WorkerProcess:
        if self._process is not None and self._process.alive:
            return self._process
        self._process = await WorkerProcess.start("node.crypto.worker", 1, SILENCE, self._confinement)
        self._process.allow(MAX_VALUES)
        opened = await self._process.ask(self._opening, _message, self._on_progress)
        log.info("CryptoWorkerStarted", kernel=opened.get("kernel"), pid=self._process.pid)
        if self._secret is not None:
            request = {"do": "use-key", "secret": self._secret}
            await self._process.ask(request, _message, self._on_progress)
        return self._process


def _message(answer: Message) -> Message:
    return answer
