"""The worker process: runs a task's code for one node, and nothing else.

    python -m node.learning.worker

Requests come in as frames on standard input, answers go out as frames on what was standard output. Before
any task code is loaded, both move to private descriptors: what a task prints goes to standard error, where
the node keeps the last of it for its report.

The worker lives exactly as long as the pipe from its node: when that ends, the node is gone, and the worker
ends at once with all processes it has started. (Linux's parent-death signal would not do: it is sent when
the parent's *thread* ends, and trio starts processes from a short-lived thread.)
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from node.learning import wire
from node.learning.frames import MAX_FRAME, Decoder, Message, encode
from node.learning.registry import find_task
from node.learning.task import Assignment, DataSummary, Metrics, Resources, Task
from node.learning.tensors import SharedTensor, check_shared, check_tensors, from_bytes, to_bytes
from node.learning.wire import Description, Progress
from protocol.errors import OwnFault, StarlingError

# Often enough for a smooth progress bar, too seldom to cost anything.
PROGRESS_INTERVAL = 0.1  # seconds
READ_SIZE = 2**20


class Pipe:
    """The two private descriptors; requests are read by a thread that also notices the node's end."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._requests: SimpleQueue[Message] = SimpleQueue()
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def receive(self) -> Message:
        return self._requests.get()

    def send(self, message: Message) -> None:
        view = memoryview(encode(message))
        while view:
            view = view[os.write(self._sink, view) :]

    def _read(self) -> None:
        decoder = Decoder(MAX_FRAME)
        try:
            while data := os.read(self._source, READ_SIZE):
                decoder.feed(data)
                for message in decoder.messages():
                    self._requests.put(message)
        finally:
            os.killpg(os.getpgrp(), signal.SIGKILL)


class PipeMonitor:
    """Sends a task's progress to the node, thinned out in time but never at a stage's end."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._next = 0.0

    def progress(self, stage: str, done: int, total: int, metrics: Metrics | None = None) -> None:
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + PROGRESS_INTERVAL
        self._pipe.send({"progress": wire.progress_to(Progress(stage, done, total, metrics or {}))})


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

    def __init__(self, opening: Message, monitor: PipeMonitor) -> None:
        self._name = str(opening["task"])
        self._data = opening["data"]
        self._monitor = monitor
        resources = Resources(device=opening["device"], threads=opening["threads"])
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
        worker = Worker(opening, PipeMonitor(pipe))
    except StarlingError as error:
        pipe.send({"error": wire.error_to(error)})
        return
    pipe.send({"result": worker.describe()})
    while True:
        request = pipe.receive()
        try:
            pipe.send({"result": worker.answer(request)})
        except StarlingError as error:
            pipe.send({"error": wire.error_to(error)})


def main() -> None:
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # The end of the pipe kills the whole group: it must be this worker's own.
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    serve(Pipe(source, sink))


if __name__ == "__main__":
    main()
