"""An exception, a hang and a cancellation at every await of a job's engine: it goes on, or the others do.

Four engines with real journals, in compartments, and a perfect world around them in which every effect
succeeds at once. A fault strikes one of them, wherever its tasks wait, found by running.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing
from support.awaits import EXCEPTION, KINDS, Injector, Place, count_tasks
from support.cohort import World
from support.manifests import manifest

from node.engine.compartment import Compartment
from node.engine.engine import Engine
from node.journal import Journal
from protocol import core, effects, inputs
from protocol.history import Phase
from protocol.state import Head


@pytest.fixture
def hasty_clock() -> trio.testing.MockClock:
    """Jumps to the next deadline when nothing has happened for a while: journals write in threads."""
    return trio.testing.MockClock(autojump_threshold=0.1)


JOB = manifest(4, rounds=2)
ENDED = (Phase.FINISHED, Phase.ABORTED)


class Live(World):
    """A world of running engines: members restart as their compartments do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(JOB)
        self.engines: dict[int, Engine] = {}
        self.restarts: Counter[int] = Counter()
        self.given_up: list[int] = []
        self.opened = False
        self.closed = False
        self.book = {me: Journal(folder / f"{me}.sqlite", bytes(32)) for me in JOB.roster.indices}

    def close(self) -> None:
        for journal in self.book.values():
            journal.close()

    def give(self, member: int, given: inputs.Input) -> None:
        engine = self.engines.get(member)
        if engine is not None and not engine.stopped:
            engine.give(given)

    def anchor(self, author: int, data: bytes) -> None:
        self.states = dict.fromkeys(self.engines)  # type: ignore[arg-type]
        super().anchor(author, data)

    async def live(self, me: int) -> None:
        """One member's job, in its compartment."""

        async def give_up(why: str) -> None:
            self.given_up.append(me)

        await Compartment(JOB.job, lambda: self._run(me), give_up).run()

    async def _run(self, me: int) -> None:
        self.restarts[me] += 1
        journal = self.book[me]
        state = core.restore(JOB, me, journal.entries(JOB.job))
        engine = self.engines[me] = Engine(state, journal, lambda event: None)
        if not state.life.accepted:
            self.give(me, inputs.JobAccepted(proposing=me == 1))
        if self.order:
            self.give(me, inputs.Read(tuple(self.order)))
        if self.opened:
            self.give(me, inputs.HeadReady())
        if self.closed:
            self._tell_end(me)
        for other in JOB.roster.indices:
            if other != me:
                self.give(me, inputs.PeerUp(other))
                self.give(other, inputs.PeerUp(me))

        async def perform(effect: effects.Effect) -> None:
            await trio.lowlevel.checkpoint()
            self.opened = self.opened or isinstance(effect, effects.OpenHead)
            self.closed = self.closed or isinstance(effect, effects.CloseHead)
            self.perform(me, effect)

        await engine.run(perform)

    def _tell_end(self, member: int) -> None:
        self.give(member, inputs.HeadClosed())
        self.give(member, inputs.HeadFinal({slot.author: slot.data for slot in self.order}))

    def over(self, members: list[int]) -> bool:
        """Whether these have opened all rounds, and their job is settled."""
        states = [self.engines[member].state for member in members if member in self.engines]
        return len(states) == len(members) and all(
            state.history.phase in ENDED and state.life.head is Head.SETTLED for state in states
        )


async def play(folder: Path, injector: Injector, target: tuple[Place, str] | None, after: int = 0) -> Live:
    """One job from its proposal to its settlement, with a fault in it."""
    folder.mkdir()
    world = Live(folder)
    if target is not None:
        injector.aim(*target, after=after)
    enough = 4 if target is None or target[1] == EXCEPTION else 3  # one may be away from then on
    try:
        async with trio.open_nursery() as nursery:
            for me in JOB.roster.indices:
                nursery.start_soon(world.live, me)
            with trio.fail_after(3 * 24 * 3600):
                while sum(world.over([me]) for me in JOB.roster.indices) < enough:
                    await trio.sleep(60)
            nursery.cancel_scope.cancel()
    finally:
        injector.rest()
        world.close()
    return world


@pytest.mark.parametrize("each", [5, pytest.param(1, marks=pytest.mark.slow)])
async def test_faults_of_one_engine(tmp_path, each, hasty_clock):
    injector = Injector(("engine/",), services=("Engine.run",))
    trio.lowlevel.add_instrument(injector)
    whole = await play(tmp_path / "whole", injector, None)
    assert {engine.state.history.phase for engine in whole.engines.values()} == {Phase.FINISHED}
    tasks = count_tasks()
    often, done, met = dict(injector.seen), 0, 0  # in the middle of a job all members have joined
    faults = [(place, kind) for place in often for kind in KINDS]
    while done < len(faults):
        place, kind = faults[done]
        print(kind, place, flush=True)
        world = await play(tmp_path / f"{done}", injector, (place, kind), often[place] // 2)
        assert world.given_up == []
        met += injector.fired
        assert count_tasks() == tasks, f"{kind} at {place} left tasks behind"
        done += each
    assert met
    trio.lowlevel.remove_instrument(injector)
