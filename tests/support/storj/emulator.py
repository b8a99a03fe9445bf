"""The emulated network on loopback, its access grants, and what can go wrong with it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from support.storj.drpc import Handler, serve
from support.storj.identity import Identity, base58check
from support.storj.node import Node
from support.storj.protobuf import encode
from support.storj.satellite import Satellite

_AES_GCM = 2


class Emulator:
    """A satellite and a node; `silent` lets them accept connections and never say a word."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        node = Identity()
        self.satellite = Satellite(Identity(), node)
        self.node = Node(node, directory)
        self.silent = False
        self.address = ""
        self._connections: set[trio.SocketStream] = set()

    def root_access(self) -> str:
        """The serialised access grant of the project's owner, with a fresh encryption passphrase."""
        satellite = self.satellite
        scope = {
            1: f"{base58check(satellite.identity.node_id)}@{self.address}",
            2: satellite.root.serialise(),
            3: {1: secrets.token_bytes(32), 3: _AES_GCM},
        }
        return base58check(encode(scope))

    def pieces(self) -> list[Path]:
        """The files of the node's pieces."""
        return [path for path in self._directory.iterdir() if len(path.name) == 64]

    def corrupt_pieces(self) -> None:
        """Flip a bit in the middle of every piece."""
        for path in self.pieces():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    async def drop_connections(self) -> None:
        """Close every connection without a word, as a killed process would."""
        for connection in list(self._connections):
            await trio.aclose_forcefully(connection)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for identity, methods in (
                (self.node.identity, self.node.methods),
                (self.satellite.identity, self.satellite.methods),
            ):
                [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
                host, port = listener.socket.getsockname()
                address = f"{host}:{port}"
                if identity is self.node.identity:
                    self.satellite.node_address = address
                else:
                    self.address = address
                nursery.start_soon(trio.serve_listeners, self._handler(identity, methods), [listener])
            task_status.started()

    def _handler(self, identity: Identity, methods: Mapping[str, Handler]):
        context = identity.server_context(self._directory)

        async def handle(stream: trio.SocketStream) -> None:
            self._connections.add(stream)
            try:
                if self.silent:
                    await trio.sleep_forever()
                await serve(stream, context, methods)
            finally:
                self._connections.discard(stream)

        return handle


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Emulator]:
    """An emulator that serves while the block runs."""
    emulator = Emulator(directory)
    async with trio.open_nursery() as nursery:
        await nursery.start(emulator.run)
        yield emulator
        nursery.cancel_scope.cancel()
