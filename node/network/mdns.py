"""Multicast DNS in a thread of its own: registering a service blocks for seconds."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, TypeVar, cast

import trio
from libp2p.abc import IPeerStore
from libp2p.discovery.mdns.broadcaster import PeerBroadcaster
from libp2p.discovery.mdns.listener import PeerListener
from libp2p.discovery.mdns.mdns import SERVICE_TYPE
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from zeroconf import InterfaceChoice, Zeroconf

from node.network.streams import shielded

_FOUND: Final = 64  # finds not yet looked at; a flood on the local network only loses finds
_CLOSE_TIMEOUT: Final = 3.0  # seconds to say goodbye to the local network

T = TypeVar("T")
Found = tuple[ID, Sequence[Multiaddr]]


class LocalDiscovery:
    """Announces this peer on the local network (libp2p's mDNS format) and hears of others."""

    def __init__(self, peer_id: str, addresses: Sequence[Multiaddr], interfaces: Sequence[str] = ()) -> None:
        self._peer_id = peer_id
        self._addresses = addresses
        self._interfaces = interfaces
        self._name = f"{secrets.token_hex(16)}.{SERVICE_TYPE}"  # the format hides the peer id from the name

    async def peers(self) -> AsyncIterator[Found]:
        """Every announcement heard, until the iterating task is cancelled."""
        send, receive = trio.open_memory_channel[Found](_FOUND)
        hand_over = _HandOver(trio.lowlevel.current_trio_token(), send)
        zeroconf = await _in_thread(self._open)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_in_thread, lambda: self._announce(zeroconf))
                await _in_thread(lambda: self._browse(zeroconf, hand_over))
                async for found in receive:
                    yield found
        finally:
            with shielded(_CLOSE_TIMEOUT):
                await _in_thread(zeroconf.close)

    def _open(self) -> Zeroconf:
        return Zeroconf(interfaces=list(self._interfaces) or InterfaceChoice.All)

    def _announce(self, zeroconf: Zeroconf) -> None:
        listen = [str(address) for address in self._addresses if not _is_unspecified(address)]
        port = int(self._addresses[0].value_for_protocol("tcp") or 0) if self._addresses else 0
        broadcaster = PeerBroadcaster(
            zeroconf, SERVICE_TYPE, self._name, self._peer_id, port, listen_addrs=listen or None
        )
        broadcaster.register()

    def _browse(self, zeroconf: Zeroconf, hand_over: _HandOver) -> None:
        PeerListener(cast(IPeerStore, hand_over), zeroconf, SERVICE_TYPE, self._name)


async def _in_thread(work: Callable[[], T]) -> T:
    # mypy reads stubs of an older trio
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)  # type: ignore[call-arg]


class _HandOver:
    """Stands where the library expects a peerstore; its methods run in zeroconf's threads."""

    def __init__(self, token: trio.lowlevel.TrioToken, send: trio.MemorySendChannel[Found]) -> None:
        self._token = token
        self._send = send

    def add_addrs(self, peer_id: ID, addrs: Sequence[Multiaddr], ttl: int) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._put, (peer_id, tuple(addrs)))

    def clear_addrs(self, peer_id: ID) -> None:
        """A peer said goodbye; the dialer finds out by itself."""

    def _put(self, found: Found) -> None:
        with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._send.send_nowait(found)


def _is_unspecified(address: Multiaddr) -> bool:
    protocol = next(iter(address.protocols())).name
    return (
        protocol in ("ip4", "ip6") and ip_address(address.value_for_protocol(protocol) or "").is_unspecified
    )
