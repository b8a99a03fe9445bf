"""Faults at every await of the code under test: an instrument finds the places itself, and breaks one, once.

A place is the innermost line of `node/` at which a task waits. A fault comes when the wait is over:

- `EXCEPTION`: the wait raises `Injected`, which nobody expects;
- `HANG`: the wait goes on until it is cancelled;
- `CANCELLATION`: the innermost cancel scope around it is cancelled.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import outcome
import trio

NODE = str(Path(__file__).parents[2] / "node") + os.sep

EXCEPTION, HANG, CANCELLATION = "exception", "hang", "cancellation"
KINDS = (EXCEPTION, HANG, CANCELLATION)


class Injected(Exception):
    """What no code foresees."""


class Place(NamedTuple):
    """A line of `node/`, relative to it, at which a task waits, and the function that the task entered by."""

    file: str
    line: int
    entry: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} (in {self.entry})"


@dataclass(eq=False)
class Injector(trio.abc.Instrument):
    """Notes every place below `within`; breaks `target`, if there is one, at its next use."""

    within: tuple[str, ...]
    services: tuple[str, ...] = ()
    """Functions whose nurseries end with what they serve, as those say who cancel them."""
    spared: tuple[trio.CancelScope, ...] = ()
    """Scopes that are cancelled only to end what they are for."""

    def __post_init__(self) -> None:
        self.seen: Counter[Place] = Counter()
        self.target: tuple[Place, str] | None = None
        self.fired = False
        self._spare = 0

    def aim(self, place: Place, kind: str, after: int = 0) -> None:
        """Break this place, once, when it was used so many times."""
        self.target, self.fired, self._spare = (place, kind), False, after

    def rest(self) -> None:
        """Break nothing any more."""
        self.target = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        place = self._place_of(task)
        if place is None:
            return
        self.seen[place] += 1
        if self.target is None or self.target[0] != place or self.fired:
            return
        kind = self.target[1]
        self._spare -= 1
        if (
            self._spare < 0
            and isinstance(task._next_send, outcome.Value)
            and (kind != CANCELLATION or self._can_be_cancelled(task))
        ):
            self.fired = True
            _break(task, kind)

    def _can_be_cancelled(self, task: trio.lowlevel.Task) -> bool:
        """Whether the innermost scope is the code's to cancel: not a library's, nor a whole service's."""
        scope, nursery = task._cancel_status._scope, task.parent_nursery
        if nursery is None or nursery.cancel_scope is not scope:
            return scope not in self.spared
        return any(
            nursery in frame.f_locals.values()
            for frame, _ in nursery.parent_task.iter_await_frames()
            if frame.f_code.co_filename.startswith(NODE) and frame.f_code.co_qualname not in self.services
        )

    def _place_of(self, task: trio.lowlevel.Task) -> Place | None:
        frames = [(frame.f_code, line) for frame, line in task.iter_await_frames()]
        own = [(code, line) for code, line in frames if code.co_filename.startswith(NODE)]
        if not own or any(_never_fails(code) for code, _ in frames):
            return None
        innermost, line = own[-1]
        file = innermost.co_filename.removeprefix(NODE)
        return Place(file, line, own[0][0].co_qualname) if file.startswith(self.within) else None


def _never_fails(code: CodeType) -> bool:
    """Whether this is trio asleep, at a nursery's end, or with a lock just got: it always goes on."""
    within_locks = code.co_filename.endswith("trio/_sync.py") and code.co_name.startswith("acquire")
    asleep = code.co_filename.endswith("trio/_timeouts.py")
    return asleep or within_locks or code.co_name in {"cancel_shielded_checkpoint", "_nested_child_finished"}


def _break(task: trio.lowlevel.Task, kind: str) -> None:
    if kind == EXCEPTION:
        task._next_send = outcome.Error(Injected("injected"))
    elif kind == HANG:
        task._next_send_fn = lambda _: _hang()
    else:
        task._cancel_status._scope.cancel()


def _hang() -> object:
    """The trap of a wait that only a cancellation ends."""
    wait = trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
    return wait.send(None)


def count_tasks() -> Counter[str]:
    """All tasks of this run, by name."""
    found: Counter[str] = Counter()
    waiting = [trio.lowlevel.current_root_task()]
    while waiting:
        task = waiting.pop()
        if task is None:
            continue
        found[task.name] += 1
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks
    return found


def count_files() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))
