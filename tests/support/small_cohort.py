"""A cohort of real daemons on loopback with tiny data and a tiny key: for tests that kill and watch them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import trio

from node.audit.trace import check_files
from node.control.client import Client
from node.control.errors import Unreachable
from node.demo import cohort
from node.demo.stages import read_events
from node.demo.watching import Seen, accept, ask_member, follow, propose, propose_to_all
from node.learning.mnist.folder import Samples, write_samples

KEY = "insecure-test-384"
PATIENCE = 300.0


def write_shards(folder: Path, members: int) -> list[Path]:
    """Digits that are easy to tell apart: each class is a bright band of its own, with noise."""
    random = np.random.default_rng(1)
    shards = []
    for index in range(1, members + 1):
        shard = folder / f"data-{index}"
        shard.mkdir(parents=True)
        for name, count in (("train", 128), ("test", 64)):
            labels = random.integers(0, 10, count).astype(np.uint8)
            images = random.integers(0, 60, (count, 28, 28)).astype(np.uint8)
            for image, label in zip(images, labels, strict=True):
                image[2 * label : 2 * label + 3, :] = 250
            write_samples(shard / f"{name}.npz", Samples(images, labels))
        shards.append(shard)
    return shards


def spec(rounds: int, **more: Any) -> dict[str, Any]:
    """A job for such a cohort."""
    return {
        "name": "test",
        "task": "mnist",
        "rounds": rounds,
        "parameters": {"model": "cnn", "epochs": 1},
        "key": {"profile": KEY, "allow_insecure": True, "attempts": 10},
    } | more


class Running:
    """A started cohort, and what is seen of it."""

    def __init__(self, processes: cohort.Cohort, seen: Seen) -> None:
        self.processes = processes
        self.seen = seen

    @property
    def plan(self) -> cohort.Plan:
        """Where everything lies."""
        return self.processes.plan

    async def propose(self, wanted: dict[str, Any]) -> str:
        """Propose a job at member 1, and accept it at all others by command; its digest."""
        return await propose_to_all(self.plan.members, wanted)

    async def propose_only(self, wanted: dict[str, Any], *, reuse_data: bool = False) -> str:
        """Propose a job at member 1, and leave the others' policies to it; its digest."""
        return str((await propose(self.plan.members[0], wanted, reuse_data=reuse_data))["job"])

    async def accept(self, index: int, job: str) -> None:
        """As a member's operator accept a job, once it is proposed there."""
        await accept(self.plan.members[index - 1], job)

    def client(self, index: int) -> Client:
        """A connection to a member's control socket."""
        return Client(self.plan.members[index - 1].socket)

    def events(self, index: int) -> list[dict[str, Any]]:
        """All of a member's log."""
        return [entry for _, entry in read_events(self.plan.members[index - 1].log)]

    async def until_logged(self, index: int, *events: str, **fields: Any) -> None:
        """Return when a member has logged one of these events with these fields."""
        log, position = self.plan.members[index - 1].log, 0
        with trio.fail_after(PATIENCE):
            while True:
                if log.exists():
                    text = log.read_bytes()[position:]
                    whole = text[: text.rfind(b"\n") + 1]
                    position += len(whole)
                    for line in whole.splitlines():
                        entry = json.loads(line)
                        if entry["event"] in events and fields.items() <= entry.items():
                            return
                await trio.sleep(0.005)

    async def until_over(self) -> None:
        """Return when every member, as it runs now, says that the job is over."""
        with trio.fail_after(PATIENCE):
            while not await trio.to_thread.run_sync(self._all_over):
                await trio.sleep(0.2)

    def _all_over(self) -> bool:
        """Ask every member afresh: what was seen of one that was killed is old."""
        try:
            for member in self.plan.members:
                ask_member(member, self.seen)
        except Unreachable:
            return False
        return self.seen.over

    async def restart(self, index: int) -> None:
        """Kill a member as a power cut would, and start it again."""
        await self.processes.kill_member(index)
        await self.processes.start_member(index)

    async def until_answering(self, index: int) -> None:
        """Return when a member's control socket answers."""
        with trio.fail_after(PATIENCE):
            while not await trio.to_thread.run_sync(self._answers, index):
                await trio.sleep(0.05)

    def _answers(self, index: int) -> bool:
        try:
            self.client(index).close()
        except Unreachable:
            return False
        return True

    async def until_without_workers(self) -> None:
        """Return when no daemon has a process of its own."""
        with trio.fail_after(PATIENCE):
            while self.has_workers():
                await trio.sleep(0.1)

    def has_workers(self) -> bool:
        """Whether a daemon has a process of its own: a learner, or one for cryptography."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in self.processes.pids:
                    return True
            except OSError:
                continue  # it has just ended
        return False

    def check_trace(self, job: str = "") -> None:
        """Raise AssertionError unless all logs together, of one job, fit the specification."""
        checked = check_files([member.log for member in self.plan.members], job=job)
        assert checked.accepted, str(checked.misfit)


@asynccontextmanager
async def small_cohort(
    folder: Path, members: int = 3, away: Collection[int] = (), accept: str = "known-peers"
) -> AsyncIterator[Running]:
    """A started cohort, but for the members `away`, that is stopped at the end; `accept` is the policy."""
    shards = write_shards(folder, members)
    plan = cohort.prepare(folder, "mnist", shards, threads=1, nice=0, accept=accept)
    seen = Seen()
    async with cohort.running(plan, away=away) as processes, trio.open_nursery() as nursery:
        nursery.start_soon(follow, processes, seen)
        yield Running(processes, seen)
        nursery.cancel_scope.cancel()
