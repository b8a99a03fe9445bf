"""One running emulated head: inputs in, log, messages out to whoever listens.

Inputs change the state at once; what follows is published by one task that first makes the new events
durable, so that no client ever sees what a crash could take back. Many inputs share one write.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
import trio

from node.ledger.emulator.events import Event
from node.ledger.emulator.head import Head, Reply
from node.ledger.emulator.views import Message, Views

MAX_BEHIND = 20_000  # messages a listener may leave unread before it is dropped
Append = Callable[[Sequence[Event]], Awaitable[None]]
_log = structlog.get_logger()


class Published:
    """A message on its way to many listeners: encoded once. `body` has no sequence number yet."""

    __slots__ = ("_texts", "body", "sequence")

    def __init__(self, body: Message, sequence: int | None, texts: dict[bool, str]) -> None:
        self.body = body
        self.sequence = sequence
        self._texts = texts

    def text(self, *, with_utxo: bool) -> str:
        """The JSON text, with or without the snapshot's UTxO set."""
        if with_utxo not in self._texts:
            body = self.body if with_utxo else without_utxo(self.body)
            self._texts[with_utxo] = json.dumps(body, separators=(",", ":"))
        text = self._texts[with_utxo]
        return text if self.sequence is None else f'{text[:-1]},"seq":{self.sequence}}}'


def without_utxo(body: Message) -> Message:
    """What `snapshot-utxo=no` leaves of a message."""
    if "snapshot" in body and isinstance(body["snapshot"], dict):
        body = {**body, "snapshot": {k: v for k, v in body["snapshot"].items() if k != "utxo"}}
    return {k: v for k, v in body.items() if k != "snapshotUtxo"}


class Hub:
    """The head and its listeners. `append` makes events durable, `clock` gives POSIX seconds."""

    def __init__(self, head: Head, views: Views, append: Append, clock: Callable[[], float]) -> None:
        self.head = head
        self.views = views
        self.clock = clock
        self._append = append
        self._stored = len(head.state.events)
        self._told = [len(p.feed) for p in head.state.parties]
        self._replies: list[tuple[int, Message]] = []
        self._listeners: list[set[trio.MemorySendChannel[Published]]] = [set() for _ in head.vkeys]
        self._changed = trio.Event()
        self._published = trio.Event()

    # inputs

    def command(self, party: int, tag: str, subject: Any, original: Message) -> None:  # noqa: ANN401
        """A client input; `original` is echoed where it fails."""
        for reply in self.head.command(party, tag, subject, self.clock()):
            self._reply(reply, original)
        self.wake()

    def _reply(self, reply: Reply, original: Message) -> None:
        self._replies.append((reply.party, self.views.reply(reply, original)))

    def wake(self) -> None:
        """Something changed: publish it, and look at the clock again."""
        self._changed.set()

    # outputs

    @contextmanager
    def listen(self, party: int) -> Iterator[trio.MemoryReceiveChannel[Published]]:
        """Everything that this party's clients are told from now on."""
        send, receive = trio.open_memory_channel[Published](MAX_BEHIND)
        self._listeners[party].add(send)
        try:
            yield receive
        finally:
            self._listeners[party].discard(send)
            send.close()
            receive.close()

    def drop_listeners(self, party: int) -> None:
        """Cut every connection of a party's clients."""
        for channel in list(self._listeners[party]):
            channel.close()
        self._listeners[party].clear()

    def replay(self, party: int) -> Iterator[Published]:
        """The history that a party's node has published so far, oldest first."""
        told = self.head.state.parties[party].feed[: self._told[party]]
        last = told[-1][1] if told else -1
        for index, sequence in self.views.history(party):
            if sequence > last:
                return
            body = self.views.output(index)
            if body is not None:
                yield Published(body, sequence, {})

    async def settled(self) -> None:
        """Wait until everything that has happened so far is durable."""
        goal = len(self.head.state.events)
        while self._stored < goal:
            await self._published.wait()

    async def run(self) -> None:
        """Keep time and publish until cancelled."""
        while True:
            now = self.clock()
            self.head.tick(now)
            if self._unpublished():
                await self._publish()
                continue
            self._changed = trio.Event()
            due = self.head.next_due(now)
            with trio.move_on_after(math.inf if due is None else max(due - self.clock(), 0)):
                await self._changed.wait()

    def _unpublished(self) -> bool:
        return self._stored < len(self.head.state.events) or bool(self._replies)

    async def _publish(self) -> None:
        events = self.head.state.events[self._stored :]
        end = self._stored + len(events)
        replies, self._replies = self._replies, []
        if events:
            await self._append(events)
        self._stored = end
        bodies: dict[int, tuple[Message | None, dict[bool, str]]] = {}
        for party in range(len(self._listeners)):
            self._tell(party, end, bodies)
        for party, message in replies:
            self._send(party, Published(message, None, {}))
        self._published.set()
        self._published = trio.Event()
        await trio.lowlevel.checkpoint()

    def _tell(self, party: int, end: int, bodies: dict[int, tuple[Message | None, dict[bool, str]]]) -> None:
        feed = self.head.state.parties[party].feed
        while self._told[party] < len(feed) and feed[self._told[party]][0] < end:
            index, sequence = feed[self._told[party]]
            self._told[party] += 1
            if index not in bodies:
                bodies[index] = (self.views.output(index), {})
            body, texts = bodies[index]
            if body is not None:
                self._send(party, Published(body, sequence, texts))

    def _send(self, party: int, message: Published) -> None:
        for channel in list(self._listeners[party]):
            try:
                channel.send_nowait(message)
            except trio.WouldBlock:
                _log.warning("ListenerDropped", party=party, unread=MAX_BEHIND)
                self._listeners[party].discard(channel)
                channel.close()
