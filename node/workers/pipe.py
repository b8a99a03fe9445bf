"""The worker's end of the pipes.

Requests come in as frames on standard input, answers go out as frames on what was standard output. Before
any other code runs, both move to private descriptors: what that code prints goes to standard error, where
the node keeps the last of it for its report.

A worker lives exactly as long as the pipe from its node: when that ends, the node is gone, and the worker
ends at once with all processes it has started. (Linux's parent-death signal would not do: it is sent when
the parent's *thread* ends, and trio starts processes from a short-lived thread.)
"""

from __future__ import annotations

import os
import signal
import threading
import time
from queue import SimpleQueue

from node.workers import wire
from node.workers.frames import MAX_FRAME, Decoder, Message, encode
from node.workers.wire import Metrics, Progress

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


class ProgressPipe:
    """Sends progress to the node, thinned out in time but never at a stage's end."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._next = 0.0

    def progress(self, stage: str, done: int, total: int, metrics: Metrics | None = None) -> None:
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + PROGRESS_INTERVAL
        self._pipe.send({"progress": wire.progress_to(Progress(stage, done, total, metrics or {}))})


def private_pipe() -> Pipe:
    """Take standard input and output for the pipe; whatever is printed goes to standard error."""
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # The end of the pipe kills the whole group: it must be this worker's own.
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    return Pipe(source, sink)
