"""One member's message stream while it is up: hello, messages both ways, and a pulse.

Frames are MessagePack arrays behind a u32 length (`streams`). Each side first says hello, then any of:

    [0, message]              a protocol message, at most MAX_MESSAGE bytes
    [1, digest, size, label]  a bulk message waits here: fetch it by its SHA-256
    [2, digest]               a bulk message offered to me could not be fetched
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PING_LENGTH

from node.network import limits
from node.network.errors import NotConnected
from node.network.limits import Timing
from node.network.streams import STREAM_ERRORS, open_stream, read_exactly, read_frame, reset, write_frame
from node.network.supervision import contained
from protocol.errors import MemberFault

MESSAGES: Final = TProtocol("/starling/messages/1")

MESSAGE: Final = 0
OFFER: Final = 1
DECLINE: Final = 2

_HELLO_LIMIT: Final = 4 * limits.KIB  # eight addresses of 256 characters, and some
_INSTANCE: Final = 16  # bytes of randomness that tell one process from another


@dataclass(frozen=True)
class Hello:
    """What each side says first: a nonce of its process, where it listens, and what its clock says.

    `clock` is in Unix milliseconds, at the moment of sending; it decides nothing, and is shown to operators.
    """

    instance: bytes
    addresses: tuple[str, ...]
    clock: int = 0

    @classmethod
    def fresh(cls, addresses: tuple[str, ...]) -> Hello:
        return cls(secrets.token_bytes(_INSTANCE), addresses[: limits.MAX_ADDRESSES])

    def frame(self) -> list[Any]:
        """What is sent, with the time of this moment."""
        return ["hello", self.instance, list(self.addresses), time.time_ns() // 1_000_000]

    @classmethod
    def parse(cls, frame: list[Any]) -> Hello:
        """Validate a frame; MemberFault if it is no hello."""
        match frame:
            case ["hello", bytes(instance), list(addresses), int(clock)]:
                fits = len(instance) == _INSTANCE and len(addresses) <= limits.MAX_ADDRESSES
                if fits and all(
                    isinstance(a, str) and len(a) <= limits.MAX_ADDRESS_LENGTH for a in addresses
                ):
                    return cls(instance, tuple(addresses), clock)
        raise MemberFault("did not say hello")


Handler = Callable[[list[Any]], Awaitable[None]]


class Link:
    """Runs one message stream until it breaks, is replaced, or `end` is called."""

    def __init__(
        self, member: int, host: BasicHost, connection: INetConn, stream: INetStream, timing: Timing
    ) -> None:
        self.member = member
        self.connection = connection
        self.since = time.time()
        self._started = trio.current_time()
        self.round_trip: float | None = None
        self.clock_ahead: float | None = None
        self.ended: str | None = None
        self.fault: str | None = None
        self._host = host
        self._stream = stream
        self._timing = timing
        self._scope = trio.CancelScope()
        self._outbox, self._to_write = trio.open_memory_channel[list[Any]](limits.OUTBOX)

    @property
    def age(self) -> float:
        """Seconds since the link came up."""
        return trio.current_time() - self._started

    async def say_hello(self, hello: Hello) -> Hello:
        """Exchange hellos; raises MemberFault or one of STREAM_ERRORS."""
        with trio.fail_after(self._timing.open_stream):
            await write_frame(self._stream, hello.frame())
            theirs = Hello.parse(await read_frame(self._stream, _HELLO_LIMIT))
            self.clock_ahead = theirs.clock / 1000 - time.time()
            return theirs

    async def send(self, frame: list[Any]) -> None:
        """Queue a frame, waiting for room; NotConnected if the link ends first, or there is none for long."""
        try:
            with trio.fail_after(self._timing.write):
                await self._outbox.send(frame)
        except trio.TooSlowError:
            self.end(f"takes no message for {self._timing.write:g} s")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it has ended
        else:
            return
        raise NotConnected(self.member, self.ended or "connection lost")

    def end(self, why: str) -> None:
        """Stop running; the first reason given stays."""
        self.ended = self.ended or why
        self._scope.cancel()

    async def run(
        self, handle: Handler, allow: Callable[[int], Awaitable[None]], account: Callable[[int, int], None]
    ) -> str:
        """Carry messages until the link ends; returns why it did, also in `fault` if it is the peer's.

        `handle` gets each incoming frame, one at a time: while it waits, or `allow` with the frame's size,
        nothing more is read, and the peer's writes wait in turn. `account` gets bytes (received, sent).
        """
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_broken, lambda: self._receive(handle, allow, account))
                    nursery.start_soon(self._until_broken, lambda: self._transmit(account))
                    nursery.start_soon(self._until_broken, self._feel_pulse)
            finally:
                self._outbox.close()
                self._to_write.close()
                await reset(self._stream)
        return self.ended or "cancelled"

    async def _until_broken(self, work: Callable[[], Awaitable[None]]) -> None:
        await contained(f"link to member {self.member}", lambda: self._carry(work))
        self.end("a fault here")  # the first reason stays

    async def _carry(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except MemberFault as error:
            self.fault = str(error)
            self.end(self.fault)
        except STREAM_ERRORS as error:
            self.end(f"{type(error).__name__}: {error}"[:200])

    async def _receive(
        self, handle: Handler, allow: Callable[[int], Awaitable[None]], account: Callable[[int, int], None]
    ) -> None:
        while True:
            frame = await read_frame(self._stream)
            size = sum(len(part) for part in frame if isinstance(part, bytes))
            account(size, 0)
            await allow(size)
            await handle(frame)

    async def _transmit(self, account: Callable[[int, int], None]) -> None:
        async for frame in self._to_write:
            try:
                with trio.fail_after(self._timing.write):
                    account(0, await write_frame(self._stream, frame))
            except trio.TooSlowError:
                self.end(f"takes no message for {self._timing.write:g} s")

    async def _feel_pulse(self) -> None:
        """Ping on the link's own connection; a peer that does not answer in time is gone.

        The library's health monitor does this per connection and then dials by itself; here the
        reconnection loop decides.
        """
        try:
            stream = await open_stream(self._host, self.connection, PING, self._timing.ping_timeout)
            try:
                while True:
                    self.round_trip = await self._ping(stream)
                    await trio.sleep(self._timing.ping_interval)
            finally:
                await reset(stream)
        except trio.TooSlowError:
            self.end(f"silent for {self._timing.ping_timeout:g} s")

    async def _ping(self, stream: INetStream) -> float:
        started, nonce = trio.current_time(), secrets.token_bytes(PING_LENGTH)
        with trio.fail_after(self._timing.ping_timeout):
            await stream.write(nonce)
            if await read_exactly(stream, PING_LENGTH) != nonce:
                raise MemberFault("answered a ping with something else")
        return trio.current_time() - started
