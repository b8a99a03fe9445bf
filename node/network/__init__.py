"""The network: members find each other over libp2p, exchange messages and move bulk data."""

from node.network.addresses import PeerAddress
from node.network.bulk import Deliver
from node.network.discovery import DiscoverySettings
from node.network.errors import BlobAbsent, NotConnected, TransferFailed
from node.network.identity import Identity
from node.network.limits import Timing
from node.network.mesh import Mesh
from node.network.peer import PeerDown, PeerEvent, PeerStatus, PeerUp
from node.network.throttle import Allowance, TokenBucket

__all__ = [
    "Allowance",
    "BlobAbsent",
    "Deliver",
    "DiscoverySettings",
    "Identity",
    "Mesh",
    "NotConnected",
    "PeerAddress",
    "PeerDown",
    "PeerEvent",
    "PeerStatus",
    "PeerUp",
    "Timing",
    "TokenBucket",
    "TransferFailed",
]
