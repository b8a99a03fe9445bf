"""The wire to a hydra-node: its WebSocket and its HTTP API on one address."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)

from node.ledger.client.messages import MAX_MESSAGE
from node.ledger.errors import NodeUnavailable

CONNECT_TIMEOUT = 15.0  # seconds
REQUEST_TIMEOUT = 20.0  # seconds; requests that wait for L1 go through the WebSocket instead
SEND_TIMEOUT = 20.0  # seconds until a node that does not read counts as gone
QUEUE = 256  # messages read ahead; beyond, TCP holds the node back


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
    """The node at `url` (http or https; the WebSocket has the same address)."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.username is not None:
            raise ValueError(f"not the address of a hydra-node: {parts.scheme}://{parts.hostname}")
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._websocket = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}/"
        self._tls = tls if tls is not None or parts.scheme == "http" else ssl.create_default_context()
        self._http = httpx.AsyncClient(
            base_url=self._base, timeout=REQUEST_TIMEOUT, verify=self._tls or False, trust_env=False
        )

    def __repr__(self) -> str:
        return f"HydraNode({self._base})"

    @asynccontextmanager
    async def connect(self, *, history: bool, utxo: bool = True) -> AsyncIterator[Channel]:
        """Open a WebSocket; see `Node.connect`. NodeUnavailable if that fails or the connection is lost."""
        query = f"?history={'yes' if history else 'no'}" + ("" if utxo else "&snapshot-utxo=no")
        try:
            async with open_websocket_url(
                self._websocket + query,
                ssl_context=self._tls,
                message_queue_size=QUEUE,
                max_message_size=MAX_MESSAGE,
                connect_timeout=CONNECT_TIMEOUT,
                disconnect_timeout=CONNECT_TIMEOUT,
            ) as connection:
                yield _WebSocket(connection)
        except (OSError, HandshakeError, ConnectionRejected, ConnectionClosed, DisconnectionTimeout) as error:
            raise NodeUnavailable(f"{self._base}: {type(error).__name__}: {error}") from None

    async def aclose(self) -> None:
        """Close the connections kept alive for HTTP."""
        await self._http.aclose()

    async def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One HTTP request; answers over the message limit are refused while they arrive."""
        content = None if body is None else json.dumps(body).encode()
        try:
            async with self._http.stream(method, path, content=content) as response:
                data = bytearray()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_MESSAGE:
                        raise NodeUnavailable(f"{self._base}{path}: an answer of over {MAX_MESSAGE} bytes")
        except httpx.HTTPError as error:
            raise NodeUnavailable(f"{self._base}{path}: {type(error).__name__}: {error}") from None
        try:
            return response.status_code, json.loads(data or b"null")
        except (ValueError, RecursionError):
            # Some releases answer unknown paths in plain text.
            return response.status_code, data[:200].decode("utf-8", "replace")


class _WebSocket:
    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        try:
            message: str | bytes = await self._connection.get_message()
        except ConnectionClosed as closed:
            raise NodeUnavailable(f"the connection was closed: {closed.reason}") from None
        return message

    async def send(self, text: str) -> None:
        try:
            with trio.fail_after(SEND_TIMEOUT):
                await self._connection.send_message(text)
        except (ConnectionClosed, trio.TooSlowError) as error:
            raise NodeUnavailable(f"cannot send: {type(error).__name__}") from None
