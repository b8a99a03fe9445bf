"""One run of a cohort, from an empty folder to the outcome."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from rich.console import Console
from rich.progress import Progress as Bars

from node.audit.tlc import TlcUnavailable
from node.audit.trace import check_files
from node.demo import cohort
from node.demo.alone import train_without_protocol
from node.demo.outcome import Outcome
from node.demo.stages import read_events, stage_seconds
from node.demo.view import LiveView
from node.demo.watching import Seen, follow, propose, until_over
from node.learning.mnist.origin import obtain
from node.learning.mnist.shards import write_shards
from node.learning.task import Metrics

LIMIT_SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Wish:
    """What to run."""

    members: int
    rounds: int
    division: str
    key_profile: str
    folder: Path
    data: Path | None
    seed: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    alone: bool = True
    plain: bool = False
    keep: bool = False
    threads: int = 1
    metric: str = "accuracy"

    @property
    def spec(self) -> dict[str, Any]:
        """The job as its proposer writes it."""
        insecure = self.key_profile.startswith("insecure")
        return {
            "name": "demo",
            "task": "mnist",
            "rounds": self.rounds,
            "parameters": self.parameters,
            "key": {"profile": self.key_profile, "allow_insecure": insecure},
        }


async def run_cohort(wish: Wish, console: Console) -> Outcome:
    """Run the cohort as wished, showing it all the time. Raises `StarlingError` where it cannot be."""
    shards = await trio.to_thread.run_sync(_shards, wish, console)
    plan = cohort.prepare(wish.folder, "mnist", shards, wish.threads, nice=5)
    seen = Seen()
    title = f"{wish.members} members · {wish.rounds} rounds · {wish.key_profile} key · {wish.division}"
    outcome = Outcome(wish.members, wish.rounds, wish.division, wish.key_profile, wish.metric)
    begun = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_interrupt_on_terminate)
        async with cohort.running(plan, keep=wish.keep) as running:
            nursery.start_soon(follow, running, seen)
            async with _shown(LiveView(plan, seen, title, wish.metric, console)):
                await propose(plan.members[0], wish.spec)
                await until_over(seen, LIMIT_SECONDS)
            outcome.seconds = time.monotonic() - begun
            outcome.memory = running.memory()
            nursery.cancel_scope.cancel()
    _collect(outcome, plan, seen)
    await _check_trace(outcome, plan, console)
    await _compare(outcome, wish, shards, console)
    outcome.write(wish.folder / "report.json")
    return outcome


async def _interrupt_on_terminate() -> None:
    """Being terminated is like Ctrl-C: what was started is stopped."""
    with trio.open_signal_receiver(signal.SIGTERM) as received:
        async for _ in received:
            raise KeyboardInterrupt


def _shards(wish: Wish, console: Console) -> list[Path]:
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        digits = obtain(_Bars(bars), folder=wish.data)
        return write_shards(digits, wish.members, wish.division, wish.seed, wish.folder / "data")


class _Bars:
    """A task's monitor that draws."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def progress(self, stage: str, done: int, total: int, metrics: Metrics | None = None) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)


@asynccontextmanager
async def _shown(view: LiveView) -> AsyncIterator[None]:
    """The live view on a terminal, plain lines elsewhere, while the body runs."""
    if view.on_terminal:
        with view.live():
            yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_print_lines, view)
        yield
        view.print_changes()
        nursery.cancel_scope.cancel()


async def _print_lines(view: LiveView) -> None:
    while True:
        view.print_changes()
        await trio.sleep(0.5)


def _collect(outcome: Outcome, plan: cohort.Plan, seen: Seen) -> None:
    """What the members said last, and what their logs hold."""
    outcome.folder = str(plan.folder)
    outcome.joint = {number: metrics for number in seen.opened() if (metrics := seen.metrics(number))}
    outcome.stages = stage_seconds([member.log for member in plan.members])
    outcome.anchors = max(job["slots"] for job in seen.jobs.values())
    for member in plan.members:
        moved = seen.storage[member.index]["jobs"][-1]
        outcome.bytes_in[member.name] = moved["fetched_bytes"]
        outcome.bytes_out[member.name] = moved["sent_bytes"]
    settled = [
        entry
        for member in plan.members
        for _, entry in read_events(member.log)
        if entry["event"] == "SettleJob"
    ]
    outcome.settled = len(settled) == len(plan.members)
    outcome.mismatches = sorted({index for entry in settled for index in entry["mismatches"]})


async def _check_trace(outcome: Outcome, plan: cohort.Plan, console: Console) -> None:
    """Have TLC check the members' logs against the specification."""
    logs = [member.log for member in plan.members]
    with console.status("checking the members' logs against the TLA+ specification"):
        try:
            checked = await trio.to_thread.run_sync(check_files, logs)
        except TlcUnavailable as error:
            outcome.trace = f"not checked: {error}"
            return
    outcome.trace_fits = checked.accepted
    outcome.trace = f"{checked.events} events of all members fit the specification"
    if checked.misfit is not None:
        outcome.trace = f"does NOT fit: {checked.misfit}"


async def _compare(outcome: Outcome, wish: Wish, shards: list[Path], console: Console) -> None:
    """Train every member alone, and all together without the protocol, for the same epochs."""
    groups: dict[str, list[Path]] = {}
    if wish.alone:
        groups |= {f"member-{number}": [shard] for number, shard in enumerate(shards, start=1)}
    if wish.plain:
        groups["plain"] = shards
    if not groups:
        return
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("training each member alone, to compare", total=len(groups))
        courses = await train_without_protocol(
            groups, "mnist", wish.parameters, wish.rounds, lambda name: bars.advance(task)
        )
    plain = courses.pop("plain", None)
    outcome.alone = {name: course.final[wish.metric] for name, course in courses.items()}
    if plain is not None:
        outcome.plain = plain.final[wish.metric]
        outcome.plain_cpu_seconds = plain.cpu_seconds
