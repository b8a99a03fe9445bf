"""Hearing of connections from the libp2p network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from multiaddr import Multiaddr


class ConnectionNotifee(INotifee):
    """Calls `changed` when a connection comes or goes; the other events do not matter to us."""

    def __init__(self, changed: Callable[[INetwork, INetConn], Awaitable[None]]) -> None:
        self._changed = changed

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        await self._changed(network, conn)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        await self._changed(network, conn)

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        await trio.lowlevel.checkpoint()

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        await trio.lowlevel.checkpoint()

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        await trio.lowlevel.checkpoint()

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        await trio.lowlevel.checkpoint()
