"""The wire to a hydra-node: its WebSocket and its HTTP API on one address."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from node.ledger.client.messages import MAX_MESSAGE
from node.ledger.errors import NodeUnavailable, WrongAddress

CONNECT_TIMEOUT = 15.0  # seconds
REQUEST_TIMEOUT = 20.0  # seconds without a byte; requests that wait for L1 go through the WebSocket instead
ANSWER_TIMEOUT = 120.0  # seconds for a whole answer, however it trickles
SEND_TIMEOUT = 20.0  # seconds until a node that does not read counts as gone
QUEUE = 16  # messages read ahead, each of up to MAX_MESSAGE; beyond, TCP holds the node back


class Channel(Protocol):
    """One WebSocket connection. Both methods raise NodeUnavailable once it is lost."""

    async def receive(self) -> str | bytes:
        """The next message."""

    async def send(self, text: str) -> None:
        """Send one client input."""


class Node(Protocol):
    """A hydra-node, or what stands for one in a simulation."""

    def connect(self, *, history: bool, utxo: bool = True) -> AbstractAsyncContextManager[Channel]:
        """Open a WebSocket, with the node's whole history first or with none, and snapshots' UTxO or not."""

    async def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One HTTP request with a JSON body: (status, JSON answer). Raises NodeUnavailable."""

    async def aclose(self) -> None:
        """Let go of what is held open between requests."""


class HydraNode:
    """The node at `url` (http or https, for the WebSocket too). Where that is none, every use says so by
    WrongAddress: an operator's mistake is to be seen where the node's state is, not to end anything."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        found = _address(url)
        self._usable = found is not None
        scheme, place = found or ("http", "ledger.url")
        self._base = f"{scheme}://{place}"
        self._websocket = f"{'wss' if scheme == 'https' else 'ws'}://{place}/"
        self._tls = tls if tls is not None or scheme == "http" else ssl.create_default_context()
        self._http = httpx.AsyncClient(
            base_url=self._base,
            headers={"Accept-Encoding": "identity"},
            timeout=REQUEST_TIMEOUT,
            verify=self._tls or False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"HydraNode({self._base})"

    @asynccontextmanager
    async def connect(self, *, history: bool, utxo: bool = True) -> AsyncIterator[Channel]:
        """Open a WebSocket; see `Node.connect`. NodeUnavailable if that fails or the connection is lost."""
        self._check()
        query = f"?history={'yes' if history else 'no'}" + ("" if utxo else "&snapshot-utxo=no")
        own: BaseException | None = None
        try:
            async with open_websocket_url(
                self._websocket + query,
                ssl_context=self._tls,
                message_queue_size=QUEUE,
                max_message_size=MAX_MESSAGE,
                connect_timeout=CONNECT_TIMEOUT,
                disconnect_timeout=CONNECT_TIMEOUT,
            ) as connection:
                try:
                    yield _WebSocket(connection)
                except BaseException as error:
                    own = error
                    raise
        except Exception as error:
            # The libraries let errors of their parsers through for some malformed answers: whatever comes
            # from the connection, and not from who uses it, means that this node cannot be talked to.
            if isinstance(own, Exception):
                raise own from own.__cause__
            raise NodeUnavailable(f"{self._base}: {_named(error)}") from None

    def _check(self) -> None:
        if not self._usable:
            raise WrongAddress(
                "ledger.url is not the address of a hydra-node", remedy="it is like http://127.0.0.1:4001"
            )

    async def aclose(self) -> None:
        """Close the connections kept alive for HTTP."""
        await self._http.aclose()

    async def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One HTTP request; answers over the message limit are refused while they arrive."""
        self._check()
        content = None if body is None else json.dumps(body).encode()
        data = bytearray()
        with _answering(f"{self._base}{path}"):
            async with self._http.stream(method, path, content=content) as response:
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > MAX_MESSAGE:
                        raise NodeUnavailable(f"{self._base}{path}: an answer of over {MAX_MESSAGE} bytes")
        try:
            return response.status_code, json.loads(data or b"null")
        except (ValueError, RecursionError):
            # Some releases answer unknown paths in plain text.
            return response.status_code, data[:200].decode("utf-8", "replace")


def _address(url: str) -> tuple[str, str] | None:
    """Scheme and place of a node's address; None where it is none, or holds a password."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        usable = parts.scheme in ("http", "https") and host and parts.username is None and parts.port != 0
    except ValueError:
        return None
    if not usable or any(character.isspace() or not character.isprintable() for character in url):
        return None
    return parts.scheme, parts.netloc


@contextmanager
def _answering(place: str) -> Iterator[None]:
    """Whatever a node's answer does to the libraries, or its silence: it is not available."""
    try:
        with trio.fail_after(ANSWER_TIMEOUT):
            yield
    except NodeUnavailable:
        raise
    except Exception as error:
        raise NodeUnavailable(f"{place}: {_named(error)}") from None


def _named(error: BaseException) -> str:
    said = str(error) or str(error.__cause__ or "")
    return f"{type(error).__name__}: {said[:200]}"


class _WebSocket:
    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        try:
            message: str | bytes = await self._connection.get_message()
        except ConnectionClosed as closed:
            raise NodeUnavailable(f"the connection was closed: {str(closed.reason)[:200]}") from None
        return message

    async def send(self, text: str) -> None:
        try:
            with trio.fail_after(SEND_TIMEOUT):
                await self._connection.send_message(text)
        except (ConnectionClosed, trio.TooSlowError) as error:
            raise NodeUnavailable(f"cannot send: {type(error).__name__}") from None
