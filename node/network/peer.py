"""What the mesh knows of one other member, and what it tells its callers."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio
from libp2p.peer.id import ID

from node.network import limits
from node.network.addresses import AddressBook, PeerAddress, parse_peer_id
from node.network.backoff import Backoff
from node.network.limits import Timing
from node.network.link import Link
from node.network.throttle import Allowance, TokenBucket


@dataclass(frozen=True)
class PeerUp:
    """Messages can be sent to the member."""

    member: int


@dataclass(frozen=True)
class PeerDown:
    """The member is gone until the next PeerUp; what was on its way may be lost."""

    member: int
    why: str


PeerEvent = PeerUp | PeerDown


@dataclass(frozen=True)
class PeerStatus:
    """A snapshot for operators. `connected_since` is Unix time; `round_trip` in seconds; sizes in bytes.

    `clock_ahead` is by how many seconds the member's clock was ahead of ours when it connected, as it says:
    less what its hello took to arrive. `faults` counts what it did that ended its connections.
    """

    member: int
    peer_id: str
    connected_since: float | None
    round_trip: float | None
    clock_ahead: float | None
    bytes_in: int
    bytes_out: int
    last_error: str
    addresses: tuple[str, ...]
    faults: int = 0


def _to_read() -> Allowance:
    """How fast one member's messages are read, whatever the number of its connections."""
    return Allowance(
        TokenBucket(limits.MESSAGES_PER_SECOND, limits.MESSAGE_BURST),
        TokenBucket(limits.BYTES_PER_SECOND, limits.BYTE_BURST),
    )


@dataclass(eq=False)
class Peer:
    """The live state of one member: the mesh's own record, changed only in its tasks."""

    member: int
    peer_id: ID
    book: AddressBook
    penalty: Backoff
    link: Link | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    last_error: str = ""
    changed: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    serving: trio.CancelScope = field(default_factory=trio.CancelScope)
    instances: list[bytes] = field(default_factory=list)
    allowance: Allowance = field(default_factory=_to_read)
    faults: int = 0

    def __post_init__(self) -> None:
        # No buffer: a message is either on its way in its peer's stream or being handled.
        self.arrive, self.arrived = trio.open_memory_channel[bytes](0)

    @classmethod
    def of(cls, member: int, address: PeerAddress, timing: Timing) -> Peer:
        penalty = Backoff(timing.bar_first, timing.bar_max)
        return cls(member, parse_peer_id(address.peer_id), AddressBook(address), penalty)

    def notify(self) -> None:
        """Wake whoever waits in `wait_change`."""
        self.changed.set()
        self.changed = trio.Event()

    async def wait_change(self, timeout: float) -> None:
        """Return at the next change of connection or link, or after `timeout` seconds."""
        with trio.move_on_after(timeout):
            await self.changed.wait()

    def status(self) -> PeerStatus:
        link = self.link
        return PeerStatus(
            member=self.member,
            peer_id=str(self.peer_id),
            connected_since=link.since if link else None,
            round_trip=link.round_trip if link else None,
            clock_ahead=link.clock_ahead if link else None,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            last_error=self.last_error,
            addresses=tuple(str(address) for address in self.book.candidates()),
            faults=self.faults,
        )

    def saw_instance(self, instance: bytes) -> bool:
        """Record which process speaks for the peer; True if an earlier one is back.

        A restart brings a new instance; one that returns after another means that two run at once.
        """
        returned = instance in self.instances[:-1]
        if instance not in self.instances:
            self.instances.append(instance)
            del self.instances[:-4]
        elif returned:
            self.instances.remove(instance)
            self.instances.append(instance)
        return returned
