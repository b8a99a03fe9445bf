"""A client of the control socket for programs that use trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from node.control.errors import Unreachable
from node.control.frames import LineReader, LineWriter
from node.control.limits import ANSWER_SECONDS, MAX_ANSWER_BYTES, SEND_SECONDS
from node.control.wire import ENDED, EVENT, Answer, parse_answer, request_line

Event = dict[str, Any]

EVENTS_KEPT = 10_000
"""Events that may wait for a listener; a slower one misses some, as the node says in its own limit."""


class TrioClient:
    """One connection, for any number of tasks. Made by `connect`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._reader = LineReader(stream, MAX_ANSWER_BYTES)
        self._writer = LineWriter(stream, SEND_SECONDS)
        self._number = 0
        self._answers: dict[int, trio.MemorySendChannel[Answer]] = {}
        self._listeners: dict[int, trio.MemorySendChannel[Event]] = {}
        self._early: dict[int, list[Event]] = {}
        self._lost: Unreachable | None = None

    async def call(self, method: str, **params: Any) -> Any:  # noqa: ANN401  (any JSON value)
        """As `Client.call`."""
        return (await self._ask(method, params)).value()

    async def subscribe(self, job: str | None = None) -> trio.MemoryReceiveChannel[Event]:
        """The events of a job, by default the foremost; the channel ends with them."""
        number: int = (await self.call("subscribe", job=job))["subscription"]
        send, receive = trio.open_memory_channel[Event](EVENTS_KEPT)
        for event in self._early.pop(number, []):
            send.send_nowait(event)
        self._listeners[number] = send
        return receive

    async def _ask(self, method: str, params: dict[str, Any]) -> Answer:
        if self._lost is not None:
            raise self._lost
        self._number += 1
        number = self._number
        send, receive = trio.open_memory_channel[Answer](1)
        self._answers[number] = send
        try:
            await self._writer.send(request_line(number, method, params))
            with trio.fail_after(ANSWER_SECONDS):
                return await receive.receive()
        except trio.EndOfChannel:
            raise self._lost or Unreachable("the node closed the connection") from None
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise Unreachable("the node does not answer", remedy="see its log") from error
        finally:
            self._answers.pop(number, None)

    async def read(self) -> None:
        """Take in what the node sends, until it closes."""
        try:
            while (line := await self._reader.line()) is not None:
                self._take(parse_answer(line))
        except trio.BrokenResourceError:
            pass
        finally:
            self._lost = self._lost or Unreachable("the node closed the connection", remedy="see its log")
            for answer in self._answers.values():
                answer.close()
            for listener in self._listeners.values():
                listener.close()

    def _take(self, answer: Answer) -> None:
        if answer.method is not None:
            self._take_event(answer)
        elif isinstance(answer.id, int) and answer.id in self._answers:
            self._answers[answer.id].send_nowait(answer)
        elif answer.error is not None:
            self._lost = Unreachable(answer.error.message, remedy=str(answer.error.data.get("remedy", "")))

    def _take_event(self, answer: Answer) -> None:
        number = answer.params["subscription"]
        listener = self._listeners.get(number)
        if answer.method == ENDED and listener is not None:
            listener.close()
        elif answer.method == EVENT and listener is None:
            self._early.setdefault(number, []).append(answer.params["event"])
        elif answer.method == EVENT and listener is not None:
            try:
                listener.send_nowait(answer.params["event"])
            except trio.WouldBlock:
                return
            except trio.BrokenResourceError:
                del self._listeners[number]


@asynccontextmanager
async def connect(path: Path) -> AsyncIterator[TrioClient]:
    """A connection to the node at the socket `path`. Raises `Unreachable`."""
    try:
        stream = await trio.open_unix_socket(str(path))
    except OSError as error:
        raise Unreachable(f"no node listens at {path}", remedy="start starlingd") from error
    async with stream, trio.open_nursery() as nursery:
        client = TrioClient(stream)
        nursery.start_soon(client.read)
        yield client
        nursery.cancel_scope.cancel()
