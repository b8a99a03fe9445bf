"""Finding where members are: multicast DNS on the local network, and a Kademlia DHT.

Whatever is found only tells the dialer where to try; who is admitted stays the gate's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import trio
from libp2p.host.basic_host import BasicHost
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from node.network.addresses import PeerAddress, parse_address
from node.network.backoff import Backoff
from node.network.dialer import Dialer, Unreachable
from node.network.limits import MAX_ADDRESSES, Timing
from node.network.mdns import LocalDiscovery
from node.network.peer import Peer
from node.network.supervision import supervised

_LOOKUP_TIMEOUT: Final = 30.0  # seconds for one search in the DHT
_BOOTSTRAP_CHECK: Final = 10.0  # seconds between looks at a connection that stands

_log: Final = structlog.get_logger()

Discovered = Callable[[ID, Sequence[Multiaddr], str], None]


@dataclass(frozen=True)
class DiscoverySettings:
    """How to look for members whose published addresses do not answer.

    `bootstrap` names peers outside the roster that hold the DHT together; they are admitted for that only.
    """

    mdns: bool = False
    dht: bool = False
    bootstrap: tuple[PeerAddress, ...] = ()
    interfaces: tuple[str, ...] = ()  # IP addresses for multicast DNS; empty for all

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.mdns or self.dht or self.bootstrap)


class Discovery:
    """Runs what the settings ask for. `wanted` lists the peers to look for, `discovered` is told of finds."""

    def __init__(
        self,
        host: BasicHost,
        dialer: Dialer,
        settings: DiscoverySettings,
        wanted: Callable[[], Sequence[ID]],
        discovered: Discovered,
        timing: Timing,
    ) -> None:
        self._host = host
        self._dialer = dialer
        self._settings = settings
        self._wanted = wanted
        self._discovered = discovered
        self._timing = timing

    async def run(self) -> None:
        """Discover until cancelled, each way on its own."""
        async with trio.open_nursery() as nursery:
            if self._settings.mdns:
                nursery.start_soon(supervised, "multicast DNS", self._run_mdns, self._timing)
            for address in self._settings.bootstrap:
                keep = partial(self._keep_bootstrap, Peer.of(0, address, self._timing))
                nursery.start_soon(supervised, "a bootstrap peer", keep, self._timing)
            if self._settings.dht:
                nursery.start_soon(supervised, "the DHT", self._run_dht, self._timing)

    async def _run_mdns(self) -> None:
        local = LocalDiscovery(
            str(self._host.get_id()), self._host.get_transport_addrs(), self._settings.interfaces
        )
        async for peer_id, addresses in local.peers():
            if peer_id in self._wanted():
                self._discovered(peer_id, _usable(addresses, peer_id), "mdns")

    async def _keep_bootstrap(self, peer: Peer) -> None:
        backoff = Backoff(self._timing.backoff_first, self._timing.backoff_max)
        while True:
            if self._dialer.connection_to(peer.peer_id) is None:
                try:
                    await self._dialer.dial(peer)
                    backoff.reset()
                    _log.info("BootstrapConnected", peer_id=str(peer.peer_id))
                except Unreachable as error:
                    _log.info("DialFailed", peer_id=str(peer.peer_id), why=str(error))
                    await trio.sleep(backoff.next())
                    continue
            await trio.sleep(_BOOTSTRAP_CHECK)

    async def _run_dht(self) -> None:
        dht = KadDHT(self._host, DHTMode.SERVER, strict_validation=True)
        async with background_trio_service(dht):
            backoff = Backoff(self._timing.patience, 4 * self._timing.backoff_max)
            while True:
                await trio.sleep(backoff.next())
                for connected in self._host.get_connected_peers():
                    await dht.add_peer(connected)
                for peer_id in self._wanted():
                    await self._look_up(dht, peer_id)
                if not self._wanted():
                    backoff.reset()

    async def _look_up(self, dht: KadDHT, peer_id: ID) -> None:
        with trio.move_on_after(_LOOKUP_TIMEOUT):
            try:
                # `find_peer` would answer with the address that we know and that does not work.
                await dht.peer_routing.find_closest_peers_network(peer_id.to_bytes())
                addresses = self._host.get_peerstore().addrs(peer_id)
            except Exception as error:  # other peers' answers are parsed on the way
                _log.debug("LookupFailed", peer_id=str(peer_id), why=f"{type(error).__name__}: {error}"[:200])
            else:
                self._discovered(peer_id, _usable(addresses, peer_id), "dht")


def _usable(addresses: Sequence[Multiaddr], peer_id: ID) -> list[Multiaddr]:
    """The TCP addresses among what strangers said, at most MAX_ADDRESSES."""
    usable = []
    for address in addresses[: 4 * MAX_ADDRESSES]:
        try:
            usable.append(parse_address(str(address), str(peer_id)))
        except ValueError as error:
            _log.debug("AddressRefused", peer_id=str(peer_id), why=str(error))
    return usable[:MAX_ADDRESSES]
