"""Every limit of the network, each beside its reason. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20

# Members and addresses
MAX_MEMBERS: Final = 32  # a full mesh: more would want a gossip overlay
MAX_ADDRESS_LENGTH: Final = 256  # a DNS name is at most 253 characters
MAX_ADDRESSES: Final = 8  # per peer and source; a machine has a handful of interfaces

# Connections
MAX_HALF_OPEN: Final = 64  # inbound handshakes at once; beyond, the busiest address loses its oldest
MAX_DIALS: Final = 4  # at once: a cohort that starts together on busy machines must not time out together
MAX_CONNECTIONS_PER_PEER: Final = 4  # two simultaneous dials, twice: before and after a restart
MAX_CONNECTIONS: Final = MAX_HALF_OPEN + MAX_MEMBERS * MAX_CONNECTIONS_PER_PEER
MAX_STREAMS_PER_CONNECTION: Final = 64  # we use about ten: messages, ping, identify, kad, bulk transfers
MAX_STREAM_WINDOW: Final = 4 * MIB  # 80 MB/s at 50 ms round trip
MAX_UNREAD: Final = 16 * MIB  # received from a peer and unread: message stream and two transfers, all stalled

# Messages
MAX_MESSAGE: Final = 1 * MIB + 4 * KIB  # the largest proposal in its envelope; larger messages go in bulk
MAX_FRAME: Final = MAX_MESSAGE + 64  # a message in its MessagePack envelope
MAX_FRAME_VALUES: Final = 16  # a hello has the most: four, and eight addresses
MESSAGES_PER_SECOND: Final = 500.0  # a busy member sends some tens
MESSAGE_BURST: Final = 1_000.0
BYTES_PER_SECOND: Final = 16.0 * MIB  # of messages from one member; bulk data has its own streams
BYTE_BURST: Final = 32.0 * MIB

# Bulk transfers
CHUNK: Final = 32 * KIB  # one write; larger ones delay the other streams of the connection
MAX_BLOB: Final = 1 << 30  # an encrypted update of 50 million parameters is about 400 MB
MAX_BULK: Final = 64 * MIB  # a bulk message is held in memory whole; what is wanted is mostly far less
MAX_LABEL: Final = 256  # what says which bulk message is on offer
MAX_FETCHES_PER_MEMBER: Final = 2  # each member's on their own: slow ones do not keep the others waiting
MAX_SERVED: Final = MAX_MEMBERS * MAX_FETCHES_PER_MEMBER  # an honest mesh never asks for more
MAX_SERVED_PER_MEMBER: Final = 4  # twice what an honest member asks for: a reset takes time to arrive
MAX_OFFERS_PER_MEMBER: Final = 2  # bulk messages on their way to one member
MAX_OFFERED_BY_MEMBER: Final = 2 * MAX_OFFERS_PER_MEMBER  # offers cross our confirmations on the way
OUTBOX: Final = 4  # messages waiting for the writer of one member; then `send` waits
MIN_TRANSFER_RATE: Final = 256.0 * KIB  # per second on average; slower than this is as good as stalled
STALL_TIMEOUT: Final = 20.0  # one read or write of a transfer


@dataclass(frozen=True)
class Timing:
    """How long a mesh waits, in seconds. Tests use shorter ones."""

    dial: float = 15.0  # TCP, noise and yamux to one address
    upgrade: float = (
        15.0  # an inbound handshake on a machine that trains on all cores; idlers are dropped sooner
    )
    open_stream: float = 15.0  # opening and naming a stream
    write: float = 20.0  # one message into the stream of a slow reader
    ping_interval: float = 4.0
    ping_timeout: float = 8.0  # a machine that trains on all cores still answers within this
    backoff_first: float = 0.5
    backoff_max: float = 30.0
    bar_first: float = 1.0  # who broke a rule is refused for so long, twice as long the next time
    bar_max: float = 30.0
    patience: float = 10.0  # the peer with the larger id leaves the first dial to the other for so long
    bulk_offer: float = 600.0  # a receiver fetches what it wants now, and the rest when it comes to that
    handling: float = 60.0  # one message of a member: most take milliseconds, and some the disk
    close: float = 5.0
