"""Who may connect: peers of the roster, checked by the identity that the noise handshake proved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import structlog
import trio
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import Transport as NoiseTransport

from node.network.identity import Identity
from node.network.streams import closed_on_failure
from node.network.throttle import ThrottledLog

_log: Final = structlog.get_logger()


class PeerNotAllowed(HandshakeFailure):
    """The peer proved an identity that is not admitted."""


class PeerGate:
    """The set of admitted peer ids; empty admits nobody. It may change while the host runs."""

    def __init__(self, allowed: Iterable[ID] = ()) -> None:
        self._allowed = set(allowed)
        self._barred: dict[ID, float] = {}
        self._refusals = ThrottledLog(_log)

    def allow(self, peer_id: ID) -> None:
        self._allowed.add(peer_id)

    def remove(self, peer_id: ID) -> None:
        """Admit the peer no more; connections that stand are the caller's to close."""
        self._allowed.discard(peer_id)
        self._barred.pop(peer_id, None)

    def bar(self, peer_id: ID, seconds: float) -> None:
        """Refuse an admitted peer for so long."""
        self._barred[peer_id] = trio.current_time() + seconds

    def admits(self, peer_id: ID) -> bool:
        return peer_id in self._allowed and not self._is_barred(peer_id)

    def check(self, peer_id: ID, *, direction: str) -> None:
        """Raise PeerNotAllowed, and log who was refused, unless `peer_id` is admitted."""
        if self.admits(peer_id):
            return
        why = "barred for a while" if peer_id in self._allowed else "not in the roster"
        self._refusals.info("PeerRefused", peer_id=str(peer_id), direction=direction, why=why)
        raise PeerNotAllowed(f"peer {peer_id} is {why}")

    def _is_barred(self, peer_id: ID) -> bool:
        until = self._barred.get(peer_id)
        if until is not None and trio.current_time() >= until:
            del self._barred[peer_id]
            return False
        return until is not None


class GatedNoise(NoiseTransport):
    """Noise that ends a handshake unless the gate admits the proven peer id.

    libp2p's own ConnectionGate knows IP addresses only, so any stranger with a key would be connected.
    """

    def __init__(self, identity: Identity, gate: PeerGate) -> None:
        super().__init__(identity.key_pair, noise_privkey=create_new_key_pair().private_key)
        self._gate = gate

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        async with closed_on_failure(conn):
            return self._admit(await super().secure_inbound(conn), "inbound")

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        async with closed_on_failure(conn):
            return self._admit(await super().secure_outbound(conn, peer_id), "outbound")

    def _admit(self, connection: ISecureConn, direction: str) -> ISecureConn:
        self._gate.check(connection.get_remote_peer(), direction=direction)
        return connection
