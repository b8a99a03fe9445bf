"""What the demo knows of its members while they work: asked of their control sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from node.control.client import Client
from node.control.errors import Unreachable
from node.demo.cohort import Cohort, MemberPlace
from protocol.errors import StarlingError

POLL_SECONDS = 0.4
PROPOSE_SECONDS = 300.0
"""Proposing starts a learner, which loads a training framework on a machine that may be busy."""

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

    def evaluated(self, members: int) -> bool:
        """Whether somebody has evaluated the last model."""
        last = [rounds[-1] for rounds in self.rounds.values() if rounds]
        return any(each["metrics"] or each["outcome"] == "burned" for each in last)

    def metrics(self, number: int) -> dict[str, float]:
        """The metrics of a round's model, from the first member that has them."""
        for rounds in self.rounds.values():
            for each in rounds:
                if each["round"] == number and each["metrics"]:
                    return dict(each["metrics"])
        return {}

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


async def propose(member: MemberPlace, spec: View) -> View:
    """Propose a job at one member. Raises what the member answers."""

    def ask() -> View:
        with Client(member.socket, seconds=PROPOSE_SECONDS) as client:
            answer: View = client.call("propose", spec=spec)
            return answer

    return await trio.to_thread.run_sync(ask)


async def until_over(seen: Seen, seconds: float) -> None:
    """Return when all members say the job is over and its last model was evaluated."""
    with trio.move_on_after(seconds):
        while not (seen.over and seen.evaluated(len(seen.jobs))):
            await trio.sleep(POLL_SECONDS)
        return
    raise Overdue(f"the job was not over after {seconds:.0f} seconds")


class Overdue(StarlingError):
    """The demo's own time limit."""
