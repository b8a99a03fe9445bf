"""One client's connection: requests answered in order, and the events it subscribed to."""

from __future__ import annotations

import inspect
import itertools

import structlog
import trio
from msgspec import UNSET

from node.control import limits
from node.control.api import Node, Record
from node.control.errors import LIMIT, RequestRefused, error_object, internal_error
from node.control.frames import LineReader, LineWriter
from node.control.methods import (
    METHODS,
    SUBSCRIBE,
    UNSUBSCRIBE,
    ForemostParams,
    UnsubscribeParams,
    parse_params,
    short_name,
)
from node.control.wire import (
    ENDED,
    EVENT,
    Id,
    Request,
    error_line,
    notification_line,
    parse_request,
    result_line,
)
from node.faults import in_words, lacks_room, places
from protocol.errors import OperatorFault, StarlingError

ROOM = "make room on the node's disks, and let its user write there"

log = structlog.get_logger()


class Session:
    """Serves one client until it leaves, breaks the rules, or falls silent."""

    def __init__(self, node: Node, stream: trio.SocketStream) -> None:
        self._node = node
        self._reader = LineReader(stream, limits.MAX_REQUEST_BYTES)
        self._writer = LineWriter(stream, limits.SEND_SECONDS)
        self._subscriptions: dict[int, trio.CancelScope] = {}
        self._numbers = itertools.count(1)
        self._pace = Pace(limits.REQUESTS_PER_SECOND, limits.BURST)

    async def run(self) -> None:
        """Answer until the client is gone."""
        async with trio.open_nursery() as nursery:
            await self._answer_requests(nursery)
            nursery.cancel_scope.cancel()

    async def _answer_requests(self, nursery: trio.Nursery) -> None:
        faults = 0
        while faults < limits.MAX_FAULTS:
            try:
                line = await self._next_line()
            except RequestRefused as error:
                await self._writer.send(error_line(None, error_object(error)))
                return
            if line is None:
                return
            try:
                request = parse_request(line)
            except RequestRefused as error:
                faults += 1
                await self._writer.send(error_line(None, error_object(error)))
            else:
                await self._answer(request, nursery)
            await self._pace.wait()

    async def _next_line(self) -> bytes | None:
        """None when the client left, or neither asked nor listened for long."""
        while True:
            with trio.move_on_after(limits.IDLE_SECONDS):
                return await self._reader.line()
            if not self._subscriptions:
                return None

    async def _answer(self, request: Request, nursery: trio.Nursery) -> None:
        given: Id = None if request.id is UNSET else request.id
        try:
            with trio.fail_after(limits.ANSWER_SECONDS):
                answer = result_line(given, await self._call(request, nursery))
        except StarlingError as error:
            answer = error_line(given, error_object(error))
        except trio.TooSlowError:
            slow = RequestRefused(LIMIT, f"no answer within {limits.ANSWER_SECONDS:.0f} seconds")
            answer = error_line(given, error_object(slow))
        except Exception as bug:  # a bug in one answer must not end the node: it is logged and told
            log.error(
                "ControlRequestFailed", method=request.method[:80], error=type(bug).__name__, at=places(bug)
            )
            known = error_object(OperatorFault(in_words(bug), remedy=ROOM)) if lacks_room(bug) else None
            answer = error_line(given, known or internal_error())
        if request.id is not UNSET:
            await self._writer.send(answer)

    async def _call(self, request: Request, nursery: trio.Nursery) -> object:
        name = short_name(request.method)
        if name == SUBSCRIBE:
            return self._subscribe(parse_params(ForemostParams, request.params), nursery)
        if name == UNSUBSCRIBE:
            return self._unsubscribe(parse_params(UnsubscribeParams, request.params))
        method = METHODS[name]
        result = method.call(self._node, parse_params(method.params, request.params))
        return await result if inspect.isawaitable(result) else result

    def _subscribe(self, params: ForemostParams, nursery: trio.Nursery) -> Record:
        if len(self._subscriptions) >= limits.MAX_SUBSCRIPTIONS:
            raise RequestRefused(LIMIT, "too many subscriptions", remedy="unsubscribe from one first")
        events = self._node.subscribe(params.job)
        number = next(self._numbers)
        self._subscriptions[number] = trio.CancelScope()
        nursery.start_soon(self._forward, number, events)
        return {"subscription": number}

    def _unsubscribe(self, params: UnsubscribeParams) -> Record:
        scope = self._subscriptions.get(params.subscription)
        if scope is None:
            raise RequestRefused(LIMIT, f"there is no subscription {params.subscription}")
        scope.cancel()
        return {"subscription": params.subscription}

    async def _forward(self, number: int, events: trio.MemoryReceiveChannel[Record]) -> None:
        with self._subscriptions[number], events:
            async for event in events:
                line = notification_line(EVENT, {"subscription": number, "event": event})
                await self._writer.send(line)
        del self._subscriptions[number]
        await self._writer.send(notification_line(ENDED, {"subscription": number}))


class Pace:
    """Lets `rate` requests a second through, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._left = float(burst)
        self._at = trio.current_time()

    async def wait(self) -> None:
        """Return when the next request may be taken."""
        now = trio.current_time()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - 1
        self._at = now
        await trio.sleep(max(0.0, -self._left / self._rate))
