"""The node's learner: trains and evaluates in a worker process, and survives that process.

The node itself never loads a training framework. One request runs at a time; cancelling the task that waits
for it kills the worker at once, and the next request starts a fresh one. A worker that crashes, hangs or
sends nonsense is replaced and the request repeated once; after that `LearnerFailed` says what it said last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog
import trio

from node.confinement.policy import Confinement, cache
from node.learning import wire
from node.learning.registry import places_of
from node.learning.task import Assignment, DataSummary, Evaluation, Update
from node.learning.tensors import SharedTensor, Tensors, check_tensors, count_elements, from_bytes, to_bytes
from node.learning.wire import Description
from node.workers.frames import FrameError, Message
from node.workers.process import WorkerLost, WorkerProcess
from node.workers.wire import Progress
from protocol.errors import OperatorFault, OwnFault

Result = TypeVar("Result")
Shared = tuple[SharedTensor, ...]

log = structlog.get_logger("learner")


@dataclass(frozen=True)
class LearnerConfig:
    """What to train, on which data, with how much of this machine. `also_read` are paths that the task may
    read beside the data; unless `confine`, it may do whatever this user may. `memory` is the folder in
    which it keeps what it must remember.

    `parameters` come from the job's manifest, all else from this node's configuration. `silence` in seconds
    is how long a request may go without progress before the worker is taken for hung: loading a framework
    and a model on a busy machine takes the better part of a minute.
    """

    task: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    data: Path | None = None
    device: str = "auto"
    threads: int = 1
    nice: int = 10
    silence: float = 300.0
    also_read: tuple[Path, ...] = ()
    confine: bool = True
    memory: Path | None = None

    def confinement(self) -> Confinement:
        """The data and the code to read, accelerators, the cache of base models, its memory; no keys, no
        network."""
        data = () if self.data is None else (self.data,)
        read = (*data, *self.also_read, *places_of(self.task))
        memory = () if self.memory is None else (self.memory,)
        return Confinement(read, (cache(), *memory), devices=True, off=not self.confine)

    def opening(self) -> Message:
        return {
            "task": self.task,
            "parameters": dict(self.parameters),
            "data": None if self.data is None else str(self.data),
            "memory": None if self.memory is None else str(self.memory),
            "device": self.device,
            "threads": self.threads,
            "nice": self.nice,
        }


class LearnerFailed(OperatorFault):
    """The worker was lost twice over one request. `stderr` is the last that it said."""

    def __init__(self, reason: str, stderr: str) -> None:
        lines = stderr.strip().splitlines()
        last = f"; its last words: {lines[-1][:200]}" if lines else ""
        super().__init__(
            f"the learner's worker was lost twice: {reason}{last}",
            remedy="read its output in the log; the task's code, its memory or its data may be at fault",
        )
        self.stderr = stderr


class Learner:
    """One task at one member. Used as `async with Learner(config) as learner`; the worker ends with it."""

    def __init__(
        self, config: LearnerConfig, on_progress: Callable[[Progress], None] = lambda progress: None
    ) -> None:
        self._config = config
        self._on_progress = on_progress
        self._worker: WorkerProcess | None = None
        self._description: Description | None = None
        self._one_at_a_time = trio.Lock()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the worker; a request that still runs, or comes later, raises `OwnFault`."""
        self._closed = True
        await self._stop()

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker, or None while none runs."""
        return self._worker.pid if self._worker is not None and self._worker.alive else None

    async def describe(self) -> Description:
        """The task's parameters in force and its shared tensors; needs no data.

        This and all other requests raise:
            OperatorFault: parameters, data or the installation are at fault, as the task says.
            LearnerFailed: the worker crashed, hung or sent nonsense, twice.
        """
        if self._description is not None:
            return self._description
        async with self._one_at_a_time:
            return (await self._twice(self._open))[1]

    async def initial_model(self) -> Tensors:
        """The joint model before round 1, computed from the manifest's parameters alone."""
        return await self._request({"do": "initial"}, _weights)

    async def load(self) -> DataSummary:
        """Reads and checks the data now, so that a fault shows before the first round needs them."""
        return await self._request({"do": "load"}, lambda shared, result: wire.summary_from(result))

    async def train(self, assignment: Assignment, weights: Tensors) -> Update:
        """One round from these weights; metrics include wall_seconds, cpu_seconds and peak_bytes."""
        request: Message = {
            "do": "train",
            "round": assignment.round,
            "rounds": assignment.rounds,
            "seed": assignment.seed,
        }
        return await self._request(request, wire.update_from, weights)

    async def evaluate(self, weights: Tensors) -> Evaluation:
        """How good these weights are on the evaluation data; metrics as for `train`."""
        return await self._request(
            {"do": "evaluate"}, lambda shared, result: wire.evaluation_from(result), weights
        )

    async def _request(
        self,
        request: Message,
        parse: Callable[[Shared, Message], Result],
        weights: Tensors | None = None,
    ) -> Result:
        async def attempt() -> Result:
            worker, description = await self._open()
            shared = description.shared
            tensors = {} if weights is None else await trio.to_thread.run_sync(_packed, shared, weights)
            return await worker.ask(
                request | tensors, lambda result: parse(shared, result), self._on_progress
            )

        async with self._one_at_a_time:
            return await self._twice(attempt)

    async def _twice(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await attempt()
        except WorkerLost as lost:
            log.warning("LearnerLost", reason=lost.reason, stderr=lost.stderr)
        try:
            return await attempt()
        except WorkerLost as lost:
            log.error("LearnerLost", reason=lost.reason, stderr=lost.stderr)
            raise LearnerFailed(lost.reason, lost.stderr) from lost

    async def _stop(self) -> None:
        if self._worker is not None:
            await self._worker.kill()

    async def _open(self) -> tuple[WorkerProcess, Description]:
        """Starts a worker unless one runs, and has it build the task."""
        if self._worker is not None and self._worker.alive and self._description is not None:
            return self._worker, self._description
        if self._closed:
            raise OwnFault("the learner is closed")
        await self._stop()
        confinement = self._config.confinement()
        worker = await WorkerProcess.start(
            "node.learning.worker", self._config.threads, self._config.silence, confinement
        )
        self._worker = worker
        try:
            description = await worker.ask(self._config.opening(), wire.describe_from, self._on_progress)
        except BaseException:
            await worker.kill()
            raise
        worker.allow(count_elements(description.shared))
        self._description = description
        log.info(
            "LearnerStarted",
            task=description.name,
            device=description.device,
            pid=worker.pid,
            confined=str(confinement.kept()),
        )
        return worker, description


def _packed(shared: Shared, weights: Tensors) -> Message:
    return {"weights": to_bytes(check_tensors(shared, weights))}


def _weights(shared: Shared, result: Message) -> Tensors:
    weights = result.get("weights")
    if not isinstance(weights, bytes):
        raise FrameError("an initial model without weights")
    return check_tensors(shared, from_bytes(shared, weights))
