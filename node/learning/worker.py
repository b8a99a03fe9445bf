"""The worker process: runs a task's code for one node, and nothing else.

python -m node.learning.worker
"""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from node.confinement.memory import keep_memory_private
from node.learning import wire
from node.learning.registry import find_task
from node.learning.task import Assignment, DataSummary, Metrics, Resources, Task
from node.learning.tensors import SharedTensor, check_shared, check_tensors, from_bytes, to_bytes
from node.learning.wire import Description
from node.workers.frames import Message
from node.workers.pipe import Pipe, ProgressPipe, private_pipe
from node.workers.wire import error_to
from protocol.errors import OwnFault, StarlingError


@dataclass(frozen=True)
class Usage:
    """What the machine had spent when a request began; its metrics are what the request took."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Usage:
        return cls(time.monotonic(), time.process_time())

    def metrics(self) -> Metrics:
        """Seconds of wall clock and of processor since then, and this process's peak memory in bytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "wall_seconds": time.monotonic() - self.wall,
            "cpu_seconds": time.process_time() - self.cpu,
            "peak_bytes": float(peak if sys.platform == "darwin" else 1024 * peak),
        }


class Worker:
    """Holds the one task of this process and answers requests about it, one at a time."""

    def __init__(self, opening: Message, monitor: ProgressPipe) -> None:
        self._name = str(opening["task"])
        self._data = opening["data"]
        self._monitor = monitor
        folder = None if self._data is None else Path(self._data)
        memory = None if opening["memory"] is None else Path(opening["memory"])
        resources = Resources(opening["device"], opening["threads"], folder, memory)
        self._task: Task = find_task(self._name)(opening["parameters"], resources)
        self._shared: tuple[SharedTensor, ...] = check_shared(self._task.shared)
        self._summary: DataSummary | None = None

    def describe(self) -> Message:
        task = self._task
        return wire.describe_to(Description(self._name, task.parameters, task.device, self._shared))

    def answer(self, request: Message) -> Message:
        """The result of one request; loads the data first where the request needs them."""
        match request["do"]:
            case "initial":
                return {"weights": to_bytes(check_tensors(self._shared, self._task.initial()))}
            case "load":
                return wire.summary_to(self._load())
            case "train":
                self._load()
                weights = from_bytes(self._shared, request["weights"])
                assignment = Assignment(request["round"], request["rounds"], request["seed"])
                started = Usage.now()
                update = self._task.train(weights, assignment, self._monitor)
                metrics = {**update.metrics, **started.metrics()}
                return wire.update_to(self._shared, replace(update, metrics=metrics))
            case "evaluate":
                self._load()
                weights = from_bytes(self._shared, request["weights"])
                started = Usage.now()
                evaluation = self._task.evaluate(weights, self._monitor)
                metrics = {**evaluation.metrics, **started.metrics()}
                return wire.evaluation_to(replace(evaluation, metrics=metrics))
            case other:
                raise OwnFault(f"the worker knows no request {other!r}")

    def _load(self) -> DataSummary:
        if self._data is None:
            raise OwnFault("the learner was opened without a data folder")
        if self._summary is None:
            self._summary = self._task.load(Path(self._data), self._monitor)
        return self._summary


def serve(pipe: Pipe) -> None:
    """Answers requests until the process ends. Errors on purpose are answers; any other error ends it."""
    opening = pipe.receive()
    os.nice(opening["nice"])
    try:
        worker = Worker(opening, ProgressPipe(pipe))
    except StarlingError as error:
        pipe.send({"error": error_to(error)})
        return
    pipe.send({"result": worker.describe()})
    while True:
        request = pipe.receive()
        try:
            pipe.send({"result": worker.answer(request)})
        except StarlingError as error:
            pipe.send({"error": error_to(error)})


def main() -> None:
    keep_memory_private()
    serve(private_pipe())


if __name__ == "__main__":
    main()
