"""The engine of one job: one task owns the state; inputs go in through `give`, effects come out.

Every effect runs in a task of its own and reports back with an input, except the journal, which the
engine waits for, however long its disk is full. Work for a round, or for an attempt at the key, is cancelled
when the core says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import structlog
import trio

from node.engine.durable import until_done
from node.journal import Journal
from node.logs import transition
from protocol import core, effects
from protocol.errors import StarlingError
from protocol.inputs import Heard, Input, Persisted, Timer, Wake
from protocol.state import State

MAX_INPUTS = 100_000
"""Inputs that may wait for the engine: far more than this node's own work causes while a disk is full."""

MAX_HEARD = 8
"""Messages of one member among them: a member says a handful of things in a job."""

log = structlog.get_logger()

Perform = Callable[[effects.Effect], Awaitable[None]]


class Engine:
    """Runs the core for one job from `state` on. `on_event` is told every transition; `trusting` says whether
    the order comes from a hydra-node that its operator trusts, and from there alone."""

    def __init__(
        self,
        state: State,
        journal: Journal,
        on_event: Callable[[effects.Emit], None],
        *,
        trusting: bool = True,
    ) -> None:
        self.state = state
        self._trusting = trusting
        self._journal = journal
        self._on_event = on_event
        self._send, self._receive = trio.open_memory_channel[Input](MAX_INPUTS)
        self._work: dict[tuple[str, int], set[trio.CancelScope]] = {}
        self._changed = trio.Event()
        self._heard: Counter[int] = Counter()
        self.stopped = False

    async def hear(self, heard: Heard) -> None:
        """Queue what a member says, once few enough of its messages wait."""
        while self._heard[heard.member] >= MAX_HEARD:
            await self.changed()
        self._heard[heard.member] += 1
        self.give(heard)

    def give(self, given: Input) -> None:
        """Queue an input for the core."""
        self._send.send_nowait(given)

    async def wait_for(self, condition: Callable[[State], bool]) -> None:
        """Return once the state fulfils `condition`."""
        while not condition(self.state):
            await self.changed()

    async def changed(self) -> None:
        """Return at the next change of the state, or when the engine stops."""
        await self._changed.wait()

    async def run(self, perform: Perform) -> None:
        """Take inputs until cancelled; `perform` carries out one effect, whatever time it takes."""
        try:
            async with trio.open_nursery() as nursery:
                await self._take(Wake(self._trusting), perform, nursery)
                async for given in self._receive:
                    if isinstance(given, Heard):
                        self._heard[given.member] -= 1
                    await self._take(given, perform, nursery)
        finally:
            self.stopped = True
            self._tell_change()

    async def _take(self, given: Input, perform: Perform, nursery: trio.Nursery) -> None:
        try:
            state, asked = core.update(self.state, given)
        except StarlingError as error:
            log.warning("InputRefused", input=type(given).__name__, reason=str(error))
            self._tell_change()
            return
        while True:
            self.state = state
            for effect in asked:
                await self._carry_out(effect, perform, nursery)
            self._tell_change()
            if not any(isinstance(effect, effects.Append) for effect in asked):
                return
            state, asked = core.update(self.state, Persisted())

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _carry_out(self, effect: effects.Effect, perform: Perform, nursery: trio.Nursery) -> None:
        match effect:
            case effects.Append(entries=entries):
                await until_done(self._journal.append, self.state.history.job, entries)
            case effects.Emit():
                log.info(effect.event, **transition(self.state.history.job, self.state.me, effect))
                self._on_event(effect)
            case effects.SetTimer(timer=timer, seconds=seconds):
                nursery.start_soon(self._wait, timer, seconds)
            case effects.CancelRound(round=number):
                self._cancel(("round", number))
                nursery.start_soon(perform, effect)
            case effects.CancelKey(attempt=attempt):
                self._cancel(("key", attempt))
                nursery.start_soon(perform, effect)
            case _:
                nursery.start_soon(self._within, _group(effect), perform, effect)

    async def _within(self, group: tuple[str, int] | None, perform: Perform, effect: effects.Effect) -> None:
        """Carry out an effect; if it belongs to a round or an attempt, until that is cancelled."""
        if group is None:
            await perform(effect)
            return
        scopes = self._work.setdefault(group, set())
        with trio.CancelScope() as scope:
            scopes.add(scope)
            try:
                await perform(effect)
            finally:
                scopes.discard(scope)

    def _cancel(self, group: tuple[str, int]) -> None:
        for scope in self._work.pop(group, set()):
            scope.cancel()

    async def _wait(self, timer: Timer, seconds: int) -> None:
        await trio.sleep(seconds)
        self.give(timer)


def _group(effect: effects.Effect) -> tuple[str, int] | None:
    """What an effect's work ends with: a round, an attempt at the key, or nothing but itself."""
    match effect:
        case effects.MakeKey(attempt=attempt):
            return "key", attempt
        case (
            effects.Contribute(round=number)
            | effects.CheckCommit(round=number)
            | effects.SumSealed(round=number)
            | effects.ReleaseShare(round=number)
            | effects.CheckShare(round=number)
            | effects.OpenSum(round=number)
        ):
            return "round", number
        case _:
            return None
