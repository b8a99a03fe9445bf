"""What people are told of a job: progress, what each round measured and took, and events as they happen.

What rounds measured is kept in the journal, so that a restart does not forget it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
import trio

from node.journal import Journal, JournalUnavailable
from node.stages import ROUND_EVENTS, seconds_of
from node.workers.wire import Progress
from protocol import effects

MAX_UNREAD = 1000
"""Events that wait for a listener; one that is too slow misses some."""

log = structlog.get_logger()


@dataclass
class Figures:
    """What a round's model is worth, by metric, and how long each stage took at this member, in seconds."""

    metrics: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Bulletin:
    """One job's, at member `me`. `recall` what is in the journal, and `run` to keep it up to date; everything
    else may be called at any time."""

    def __init__(self, job: bytes, me: int, journal: Journal) -> None:
        self._job = job
        self._me = me
        self._journal = journal
        self._moments: defaultdict[int, dict[str, float]] = defaultdict(dict)
        self._listeners: set[trio.MemorySendChannel[dict[str, Any]]] = set()
        self._changed: set[int] = set()
        self._wake = trio.Event()
        self.progress: dict[str, Progress] = {}
        self.rounds: defaultdict[int, Figures] = defaultdict(Figures)

    def recall(self) -> None:
        """Know what the journal kept of each round."""
        for number, told in self._journal.rounds(self._job).items():
            self.rounds[number] = msgspec.json.decode(told, type=Figures)

    def subscribe(self) -> trio.MemoryReceiveChannel[dict[str, Any]]:
        """All that is told from now on; a listener that is too slow misses some."""
        send, receive = trio.open_memory_channel[dict[str, Any]](MAX_UNREAD)
        self._listeners.add(send)
        return receive

    def transition(self, event: effects.Emit) -> None:
        """The core has moved on."""
        fields = dict(event.arguments)
        self._time(event.event, fields)
        self._broadcast({"event": event.event, "slot": event.slot, **fields})

    def tell(self, event: str, fields: dict[str, Any]) -> None:
        """Something was done for the job: a line of the log, and an event."""
        log.info(event, job=self._job.hex(), member=self._me, **fields)
        self._time(event, fields)
        self._broadcast({"event": event, **fields})

    def show(self, progress: Progress) -> None:
        """A worker is so far."""
        self.progress[progress.stage] = progress
        self._broadcast(
            {
                "event": "Progress",
                "stage": progress.stage,
                "done": progress.done,
                "total": progress.total,
                "metrics": dict(progress.metrics),
            }
        )

    def measured(self, number: int, metrics: dict[str, float]) -> None:
        """The model after a round was evaluated."""
        self.rounds[number].metrics.update(metrics)
        self._keep(number)

    async def run(self) -> None:
        """Write down what rounds measured, until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                await self._write()
        finally:
            await self._write()

    async def _write(self) -> None:
        """Nothing that was taken up is lost, also when cancelled; on a full disk it waits for more."""
        while self._changed:
            number = self._changed.pop()
            told = msgspec.json.encode(self.rounds[number])
            try:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._journal.keep_round, self._job, number, told)
            except JournalUnavailable as error:
                log.warning("FiguresNotKept", round=number, reason=str(error))
                self._changed.add(number)
                return

    def _time(self, event: str, fields: dict[str, Any]) -> None:
        if event not in ROUND_EVENTS:
            return
        number = int(fields["round"])
        moments = self._moments[number]
        moments.setdefault(event, time.monotonic())
        self.rounds[number].seconds.update(seconds_of(moments))
        if event == "EndRound":
            del self._moments[number]
            self._keep(number)

    def _keep(self, number: int) -> None:
        self._changed.add(number)
        self._wake.set()

    def _broadcast(self, message: dict[str, Any]) -> None:
        for listener in list(self._listeners):
            try:
                listener.send_nowait(message)
            except trio.WouldBlock:
                continue
            except trio.BrokenResourceError:
                self._listeners.discard(listener)
