"""What the demo knows of its members while they work: asked of their control sockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import trio

from node.control.client import Client
from node.control.errors import Unreachable
from node.demo.cohort import Cohort, MemberPlace
from protocol.errors import StarlingError

POLL_SECONDS = 0.4
PROPOSE_SECONDS = 300.0
"""Proposing starts a learner, which loads a training framework on a machine that may be busy."""

EVALUATE_SECONDS = 600.0
"""Ten language models on two cores take some minutes; a member whose evaluation failed says nothing."""

View = dict[str, Any]


@dataclass
class Seen:
    """The latest word of every member: its job, its rounds, its peers."""

    jobs: dict[int, View] = field(default_factory=dict)
    rounds: dict[int, list[View]] = field(default_factory=dict)
    up: dict[int, int] = field(default_factory=dict)
    storage: dict[int, View] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether every member says that the job is over."""
        return bool(self.jobs) and all(job.get("over") for job in self.jobs.values())

    @property
    def evaluated(self) -> bool:
        """Whether every member has evaluated the last model."""
        last = [rounds[-1] for rounds in self.rounds.values() if rounds]
        return all(each["metrics"] or each["outcome"] == "burned" for each in last)

    def by_member(self, number: int) -> dict[int, dict[str, float]]:
        """The metrics of a round's model at each member that has evaluated it."""
        return {
            member: dict(each["metrics"])
            for member, rounds in sorted(self.rounds.items())
            for each in rounds
            if each["round"] == number and each["metrics"]
        }

    def metrics(self, number: int) -> dict[str, float]:
        """The metrics of a round's model, averaged over the members that have evaluated it."""
        found = list(self.by_member(number).values())
        return {name: mean(each[name] for each in found) for name in (found[0] if found else ())}

    def opened(self) -> list[int]:
        """Numbers of the rounds that were opened."""
        longest = max(self.rounds.values(), key=len, default=[])
        return [each["round"] for each in longest if each["outcome"] == "opened"]


async def follow(cohort: Cohort, seen: Seen) -> None:
    """Keep `seen` up to date until cancelled. Raises `OperatorFault` if a process ends."""
    async with trio.open_nursery() as nursery:
        for member in cohort.plan.members:
            nursery.start_soon(_follow_member, member, seen)
        while True:
            cohort.check()
            await trio.sleep(POLL_SECONDS)


async def _follow_member(member: MemberPlace, seen: Seen) -> None:
    while True:
        try:
            await trio.to_thread.run_sync(ask_member, member, seen)
        except Unreachable:
            seen.up.pop(member.index, None)
        await trio.sleep(POLL_SECONDS)


def ask_member(member: MemberPlace, seen: Seen) -> None:
    """Bring what is seen of one member up to date. Raises `Unreachable`."""
    with Client(member.socket) as client:
        status = client.call("status")
        seen.up[member.index] = status["peers_up"]
        if not status["jobs"]:
            return
        job = status["jobs"][-1]["job"]
        view, rounds, storage = (
            client.call("job", job=job),
            client.call("rounds", job=job),
            client.call("storage"),
        )
    seen.rounds[member.index] = rounds
    seen.storage[member.index] = storage
    seen.jobs[member.index] = view


@dataclass(frozen=True)
class Told:
    """What a member tells of its newest job, for a report."""

    job: View
    rounds: list[View]
    head: View


async def tell_all(member: MemberPlace) -> Told:
    """Ask a member for all that a report shows. Raises `Unreachable`."""

    def ask() -> Told:
        with Client(member.socket) as client:
            job = client.call("status")["jobs"][-1]["job"]
            return Told(
                client.call("job", job=job), client.call("rounds", job=job), client.call("head", job=job)
            )

    return await trio.to_thread.run_sync(ask)


async def propose(member: MemberPlace, spec: View, *, reuse_data: bool = False) -> View:
    """Propose a job at one member. Raises what the member answers."""

    def ask() -> View:
        with Client(member.socket, seconds=PROPOSE_SECONDS) as client:
            answer: View = client.call("propose", spec=spec, reuse_data=reuse_data)
            return answer

    return await trio.to_thread.run_sync(ask)


async def accept(member: MemberPlace, job: str) -> None:
    """As the member's operator, accept the job once it is proposed there. Raises what the member answers."""
    with trio.fail_after(PROPOSE_SECONDS):
        while not await trio.to_thread.run_sync(_accept_if_proposed, member, job):
            await trio.sleep(POLL_SECONDS)


def _accept_if_proposed(member: MemberPlace, job: str) -> bool:
    with Client(member.socket, seconds=PROPOSE_SECONDS) as client:
        proposed = any(each["job"] == job for each in client.call("jobs"))
        if proposed:
            client.call("accept", job=job)
    return proposed


async def propose_to_all(members: Sequence[MemberPlace], spec: View) -> str:
    """As the first member's operator propose a job, as the others' accept it; its digest."""
    job = str((await propose(members[0], spec))["job"])
    async with trio.open_nursery() as nursery:
        for member in members[1:]:
            nursery.start_soon(accept, member, job)
    return job


async def export_model(member: MemberPlace, path: Path) -> None:
    """Have a member write its newest job's joint model. Raises what the member answers."""

    def ask() -> None:
        with Client(member.socket) as client:
            job = client.call("status")["jobs"][-1]["job"]
            client.call("export_model", job=job, path=str(path))

    await trio.to_thread.run_sync(ask)


async def until_over(seen: Seen, seconds: float) -> None:
    """Return when all members say the job is over and, if that comes in time, have evaluated its model."""
    with trio.move_on_after(seconds) as limit:
        while not seen.over:
            await trio.sleep(POLL_SECONDS)
    if limit.cancelled_caught:
        raise Overdue(f"the job was not over after {seconds:.0f} seconds")
    with trio.move_on_after(EVALUATE_SECONDS):
        while not seen.evaluated:
            await trio.sleep(POLL_SECONDS)


class Overdue(StarlingError):
    """The demo's own time limit."""
