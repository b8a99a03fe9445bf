"""`starling watch`: a job, live."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from node.cli.commands.job import foremost
from node.cli.invocation import Invocation
from node.cli.parser import OR_FOREMOST_HELP, Commands, job_prefix
from node.cli.view import JobView
from node.control.client import Client
from node.control.errors import Unreachable
from protocol.errors import OperatorFault

POLL_SECONDS = 1.0
STEP_SECONDS = 0.2
RETRY_SECONDS = 2.0


def register(commands: Commands) -> None:
    parser = commands.add(
        "watch",
        run,
        "a job, live: members, stages, progress, curves",
        "End it with Ctrl-C; the node goes on. With --json: the job's events, one a line.",
        examples=("starling watch", "starling watch 3fa1 --json"),
    )
    parser.add_argument("job", type=job_prefix, nargs="?", help=OR_FOREMOST_HELP)


class Watcher:
    """Keeps a view of a job up to date; `None` is the foremost job, also one that comes later."""

    def __init__(self, socket: Path, job: str | None) -> None:
        self.view = JobView()
        self._socket = socket
        self._job = job
        self._node: Client | None = None
        self._watched = ""
        self._next_poll = 0.0

    def step(self, seconds: float) -> None:
        """Take in what happens within about `seconds`. A node that is away is tried again."""
        try:
            self._step(seconds)
            self.view.trouble = ""
        except Unreachable as error:
            self.close()
            self.view.trouble = str(error)
            time.sleep(seconds)

    def close(self) -> None:
        """Leave the node."""
        if self._node is not None:
            self._node.close()
        self._node, self._watched, self._next_poll = None, "", 0.0

    def _step(self, seconds: float) -> None:
        if self._node is None:
            self._node = Client(self._socket, seconds=10)
        if time.monotonic() >= self._next_poll:
            self._poll(self._node)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            event = self._node.next_event(left)
            if event is not None:
                self.view.take(event)

    def _poll(self, node: Client) -> None:
        self._next_poll = time.monotonic() + POLL_SECONDS
        view = self.view
        view.status, view.peers = node.call("status"), node.call("peers")
        job = self._job or foremost(view.status["jobs"])
        if job is None:
            return
        view.job, view.rounds = node.call("job", job=job), node.call("rounds", job=job)
        if self._watched != view.job["job"]:
            node.subscribe(view.job["job"])
            self._watched = view.job["job"]


def run(call: Invocation) -> None:
    if call.out.as_json:
        _print_events(call)
        return
    if not sys.stdout.isatty():
        raise OperatorFault(
            "a live view needs a terminal", remedy="use `starling watch --json`, or `starling logs -f`"
        )
    _live(Watcher(call.socket, call.arguments.job))


def _print_events(call: Invocation) -> None:
    with call.node() as node:
        for event in node.events(call.arguments.job):
            print(json.dumps(event, ensure_ascii=False), flush=True)


def _live(watcher: Watcher) -> None:
    from rich.live import Live

    from node.cli.screen import draw

    watcher.step(0)
    if not watcher.view.status:
        raise Unreachable(watcher.view.trouble)
    live = Live(screen=True, auto_refresh=False)
    try:
        live.start()
        while True:
            live.update(draw(watcher.view), refresh=True)
            watcher.step(STEP_SECONDS)
    finally:  # Ctrl-C may come at any moment, also while the first screen is drawn
        live.stop()
        watcher.close()
