"""The network service: a full mesh of the roster's members, with messages, bulk data and blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
import trio
from libp2p.abc import INetConn, INetStream, INetwork
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from trio_typing import TaskStatus

from node.faults import kinds, places
from node.network import limits
from node.network.addresses import PeerAddress, parse_address, parse_peer_id, reachable
from node.network.bulk import BulkMessages, Deliver, Wanted
from node.network.dialer import Dialer
from node.network.discovery import Discovery, DiscoverySettings
from node.network.errors import NotConnected
from node.network.exchange import BLOBS, BlobSource, Exchange, Progress, Sink
from node.network.gate import PeerGate
from node.network.host import build_host, running, swarm_of
from node.network.identity import Identity
from node.network.limits import Timing
from node.network.link import MESSAGE, MESSAGES, Hello, Link
from node.network.notifee import ConnectionNotifee
from node.network.peer import Peer, PeerDown, PeerEvent, PeerStatus, PeerUp
from node.network.streams import STREAM_ERRORS, reset, shielded
from node.network.supervision import contained, supervised
from node.network.throttle import ThrottledLog
from protocol.encoding.errors import Malformed
from protocol.errors import MemberFault, OperatorFault, OwnFault, StarlingError

_OVERDUE: Final = 2.0  # seconds that a deadline may take to have its effect
_FORGIVEN: Final = 60.0  # seconds; who keeps the rules for so long is barred shortly the next time
_EVENTS: Final = 256  # PeerUp and PeerDown that nobody took; they only repeat what `peers` tells

_log: Final = structlog.get_logger()


Take = Callable[[int, bytes], Awaitable[None]]
"""Handles a message of a member, whose noise identity sent it; one after the other for each member."""


async def _no_messages(member: int, message: bytes) -> None:
    raise MemberFault("sent a message to a node that takes none", member=member)


async def _no_bulk(member: int, label: bytes, size: int) -> Deliver:
    raise MemberFault("offered a bulk message to a node that takes none", member=member)


async def _no_blobs(member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
    return None


class Mesh:
    """Connects this node to every other member, 2…32 in all, and keeps it connected.

    Start it with `nursery.start(mesh.run)`. Messages of a member are handled in their order, beside those of
    the others: while one is, that member's next ones wait on its machine. A member that breaks a rule, or
    whose message cannot be handled, loses its connections and is barred for a while that grows. `events`
    tells PeerUp and PeerDown.
    """

    def __init__(
        self,
        identity: Identity,
        listen: Sequence[str],
        roster: Mapping[int, PeerAddress],
        *,
        take: Take = _no_messages,
        wanted: Wanted = _no_bulk,
        blobs: BlobSource = _no_blobs,
        discovery: DiscoverySettings | None = None,
        timing: Timing | None = None,
    ) -> None:
        """`roster` maps roster indices to peers; its entry with our own peer id is passed over.

        `take` handles messages: what it refuses with a StarlingError is logged, and only what is malformed,
        overdue or fails otherwise costs the member its connection. `wanted` decides on bulk messages.
        `blobs` serves `fetch` requests of members. Raises OperatorFault if the roster names a peer twice.
        """
        self._identity = identity
        self._listen = tuple(listen)
        self._timing = timing or Timing()
        self._settings = discovery or DiscoverySettings()
        self._gate = PeerGate(parse_peer_id(peer.peer_id) for peer in self._settings.bootstrap)
        self._host = build_host(identity, self._gate, self._timing)
        self._dialer = Dialer(self._host, self._timing, self._run_link)
        self._take = take
        self._bulk = BulkMessages(wanted, self._link_to, blobs, self._timing, self.offended)
        self._exchange = Exchange(self._host, self, self._bulk.source, self._timing, self._bulk.confirmed)
        self._refusals = ThrottledLog(_log)
        self._peers: dict[int, Peer] = {}
        self._by_id: dict[ID, Peer] = {}
        self._nursery: trio.Nursery | None = None
        self._hello = Hello.fresh(())
        self._announce, self.events = trio.open_memory_channel[PeerEvent](_EVENTS)
        for member, address in roster.items():
            if address.peer_id != identity.peer_id:
                self.allow(member, address)

    async def run(self, *, task_status: TaskStatus[tuple[Multiaddr, ...]] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, connect and serve until cancelled; reports the addresses it listens on.

        Raises OperatorFault if it cannot listen.
        """
        swarm_of(self._host).register_notifee(ConnectionNotifee(self._connection_changed))
        async with self._announce, running(self._host, self._listen, self._timing) as addresses:
            self._hello = Hello.fresh(tuple(str(address) for address in addresses))
            self._host.set_stream_handler(MESSAGES, self._accept_link)
            self._host.set_stream_handler(BLOBS, self._exchange.serve)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for peer in self._peers.values():
                    nursery.start_soon(self._keep, peer)
                discovery = Discovery(
                    self._host, self._dialer, self._settings, self._wanted, self._discovered, self._timing
                )
                if self._settings.wanted:
                    nursery.start_soon(supervised, "discovery", discovery.run, self._timing)
                _log.info("NetworkListening", peer_id=self._identity.peer_id, addresses=self._hello.addresses)
                task_status.started(addresses)
                try:
                    await trio.sleep_forever()
                finally:
                    self._nursery = None

    async def send(self, member: int, message: bytes) -> None:
        """Send a message of at most MAX_MESSAGE bytes; waits for room in the member's queue.

        Delivered at most once, in order, while the link lasts. Raises NotConnected, or OwnFault if the
        message is empty or too large.
        """
        if not 0 < len(message) <= limits.MAX_MESSAGE:
            raise OwnFault(
                f"a message of {len(message)} bytes; 1 to {limits.MAX_MESSAGE} are allowed",
                remedy="use send_bulk",
            )
        link = self._peer(member).link
        if link is None:
            raise NotConnected(member)
        await link.send([MESSAGE, message])

    async def send_bulk(self, member: int, label: bytes, payload: bytes) -> None:
        """Send up to MAX_BULK bytes; returns when the member has them, whole and checked.

        `label` (at most MAX_LABEL bytes) tells it what they are. Not ordered with other messages. Raises
        NotConnected, TransferFailed (the member did not want it, or not within Timing.bulk_offer), or
        OwnFault.
        """
        self._peer(member)
        await self._bulk.send(member, label, payload)

    async def fetch(
        self, member: int, digest: bytes, size: int, sink: Sink, progress: Progress = lambda moved: None
    ) -> None:
        """Stream the blob with this SHA-256 and exact size from the member's BlobSource into `sink`.

        See `Exchange.fetch` for its errors.
        """
        self._peer(member)
        await self._exchange.fetch(member, digest, size, sink, progress)

    def peers(self) -> tuple[PeerStatus, ...]:
        """Where each other member stands, by roster index."""
        return tuple(self._peers[member].status() for member in sorted(self._peers))

    def allow(self, member: int, address: PeerAddress) -> None:
        """Admit a member and keep a connection to it; takes effect at once.

        Raises OperatorFault if the index or the peer id is taken, or the mesh is full.
        """
        peer = Peer.of(member, address, self._timing)
        if member in self._peers or peer.peer_id in self._by_id or address.peer_id == self._identity.peer_id:
            raise OperatorFault(
                f"member {member} or peer {address.peer_id} is in the roster twice",
                remedy="give every member its own index and its own identity",
            )
        if len(self._peers) >= limits.MAX_MEMBERS - 1:
            raise OperatorFault("the roster is too large", remedy=f"at most {limits.MAX_MEMBERS} members")
        self._peers[member] = self._by_id[peer.peer_id] = peer
        self._gate.allow(peer.peer_id)
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, peer)

    async def remove(self, member: int) -> None:
        """Admit a member no more and close its connections."""
        peer = self._peer(member)
        del self._peers[member], self._by_id[peer.peer_id]
        self._gate.remove(peer.peer_id)
        peer.scope.cancel()
        if peer.link is not None:
            peer.link.end("removed from the roster")
        await self._dialer.disconnect(peer.peer_id)

    def member_of(self, peer_id: ID) -> int | None:
        """The roster index of a peer, None if it has none."""
        peer = self._by_id.get(peer_id)
        return None if peer is None else peer.member

    def connection_to(self, member: int) -> INetConn | None:
        """An open connection to a member; None also if it was removed meanwhile."""
        peer = self._peers.get(member)
        return None if peer is None else self._dialer.connection_to(peer.peer_id)

    def account(self, member: int, received: int, sent: int) -> None:
        """Add to the bytes that a member's status shows."""
        if peer := self._peers.get(member):
            peer.bytes_in += received
            peer.bytes_out += sent

    def offended(self, member: int, why: str) -> None:
        """The member broke a rule: it loses its connections, and gets none for a while."""
        peer = self._peers.get(member)
        if peer is None or self._nursery is None:
            return
        peer.faults += 1
        if not self._gate.admits(peer.peer_id):  # several of its streams may show one fault
            return
        seconds = peer.penalty.next()
        self._gate.bar(peer.peer_id, seconds)
        _log.warning(
            "PeerBarred", member=member, why=why[:200], seconds=round(seconds, 3), faults=peer.faults
        )
        if peer.link is not None:
            peer.link.end(why)
        self._nursery.start_soon(contained, "disconnecting", partial(self._dialer.disconnect, peer.peer_id))

    def _peer(self, member: int) -> Peer:
        if member not in self._peers:
            raise OwnFault(f"member {member} is not in the roster, or is this node")
        return self._peers[member]

    def _link_to(self, member: int) -> Link | None:
        peer = self._peers.get(member)
        return None if peer is None else peer.link

    async def _keep(self, peer: Peer) -> None:
        """Stay connected to a peer and handle its messages, until `peer.scope` is cancelled."""
        with peer.scope:
            await supervised(f"member {peer.member}", lambda: self._serve(peer), self._timing)

    async def _serve(self, peer: Peer) -> None:
        async with trio.open_nursery() as nursery:
            peer.serving = nursery.cancel_scope
            maintain = partial(self._dialer.maintain, peer)
            nursery.start_soon(supervised, f"connection to member {peer.member}", maintain, self._timing)
            while True:
                await self._handle_message(peer, await peer.arrived.receive())

    async def _hand_over(self, peer: Peer, message: bytes) -> None:
        """Wait until the message before is handled, which has a deadline."""
        try:
            with trio.fail_after(self._timing.handling + _OVERDUE):
                await peer.arrive.send(message)
        except trio.TooSlowError:
            _log.error("NetworkTaskFailed", task=f"messages of member {peer.member}", error="hangs", at=[])
            peer.serving.cancel()

    async def _handle_message(self, peer: Peer, message: bytes) -> None:
        try:
            with trio.fail_after(self._timing.handling):
                await self._take(peer.member, message)
        except Malformed as error:
            self.offended(peer.member, str(error))
        except StarlingError as error:
            self._refusals.warning("MessageRefused", member=peer.member, reason=str(error)[:500])
        except trio.TooSlowError:
            self.offended(peer.member, f"a message of it was not handled within {self._timing.handling:g} s")
        except Exception as error:  # a fault of ours that this member's message has met
            _log.error("MessageFailed", member=peer.member, error=kinds(error), at=places(error))
            self.offended(peer.member, f"a message of it met a fault here: {kinds(error)}")

    async def _accept_link(self, stream: INetStream) -> None:
        peer = self._by_id.get(stream.muxed_conn.peer_id)
        if peer is None:  # admitted for discovery only
            await reset(stream)
            return
        connection: INetConn = stream.swarm_conn  # type: ignore[attr-defined]
        try:
            await self._run_link(peer, connection, stream)
        except (MemberFault, *STREAM_ERRORS) as error:
            peer.last_error = f"{type(error).__name__}: {error}"[:200]
            self._refusals.info(
                "PeerRefused", member=peer.member, peer_id=str(peer.peer_id), why=peer.last_error
            )

    async def _run_link(self, peer: Peer, connection: INetConn, stream: INetStream) -> None:
        link = Link(peer.member, self._host, connection, stream, self._timing)
        try:
            theirs = await link.say_hello(self._hello)
        except BaseException as error:
            await reset(stream)
            if isinstance(error, MemberFault):
                self.offended(peer.member, str(error))
            raise
        self._learn(peer, theirs, connection)
        self._link_up(peer, link, theirs)
        why = "cancelled"
        try:
            why = await link.run(
                lambda frame: self._handle(peer, frame),
                peer.allowance.take,
                lambda r, s: self.account(peer.member, r, s),
            )
        finally:
            self._link_down(peer, link, why)
            if link.fault is not None:
                self.offended(peer.member, link.fault)
            elif link.age > _FORGIVEN:
                peer.penalty.reset()
            if peer.link is None or peer.link.connection is not connection:
                with shielded(self._timing.close):
                    await connection.close()

    async def _handle(self, peer: Peer, frame: list[Any]) -> None:
        match frame:
            case [0, bytes(message)] if 0 < len(message) <= limits.MAX_MESSAGE:
                await self._hand_over(peer, message)
            case [1, bytes(digest), int(size), bytes(label)] if (
                len(digest) == 32 and self._nursery is not None
            ):
                if offered := self._bulk.offered(peer.member, digest, size, label):
                    receive = partial(self._bulk.receive, self._exchange, offered)
                    self._nursery.start_soon(contained, "a bulk message", receive)
            case [2, bytes(digest)]:
                self._bulk.declined(peer.member, digest)
            case _:
                raise MemberFault("sent a frame of no known kind", member=peer.member)

    def _link_up(self, peer: Peer, link: Link, theirs: Hello) -> None:
        if peer.saw_instance(theirs.instance):
            _log.warning("IdentityShared", member=peer.member, peer_id=str(peer.peer_id))
        if peer.link is not None:
            replaced = peer.link
            self._link_down(peer, replaced, "replaced by a newer connection")
            replaced.end("replaced by a newer connection")
        peer.link = link
        peer.last_error = ""
        _log.info("PeerConnected", member=peer.member, peer_id=str(peer.peer_id))
        self._tell(PeerUp(peer.member))
        peer.notify()

    def _link_down(self, peer: Peer, link: Link, why: str) -> None:
        if peer.link is not link:
            return
        peer.link = None
        peer.last_error = why
        _log.info("PeerLost", member=peer.member, peer_id=str(peer.peer_id), why=why)
        self._bulk.abandon(peer.member, why)
        self._tell(PeerDown(peer.member, why))
        peer.notify()

    def _tell(self, event: PeerEvent) -> None:
        try:
            self._announce.send_nowait(event)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            _log.debug("PeerEventDropped", member=event.member)

    async def _connection_changed(self, network: INetwork, connection: INetConn) -> None:
        peer = self._by_id.get(connection.muxed_conn.peer_id)
        if peer is None:
            return
        if not self._dialer.opens_stream(peer):
            peer.notify()
        elif not connection.is_closed:  # a lost connection must not cut the backoff short
            link = peer.link
            if link is not None and link.connection is not connection and link.age > self._timing.patience:
                # The peer would not connect if it held the old connection for alive: it has restarted, or
                # another machine has its identity, which the new hello will tell. A young link only means
                # that both dialled.
                link.end("replaced by a newer connection")
            peer.notify()

    def _wanted(self) -> list[ID]:
        return [peer.peer_id for peer in self._peers.values() if peer.link is None]

    def _discovered(self, peer_id: ID, addresses: Sequence[Multiaddr], how: str) -> None:
        peer = self._by_id.get(peer_id)
        if peer is None:
            return
        if fresh := peer.book.learn(addresses):
            _log.info(
                "PeerDiscovered", member=peer.member, how=how, addresses=[str(address) for address in fresh]
            )
            peer.notify()

    def _learn(self, peer: Peer, theirs: Hello, connection: INetConn) -> None:
        remote = connection.muxed_conn.get_remote_address()  # type: ignore[attr-defined]
        found = []
        for text in theirs.addresses:
            try:
                address = reachable(parse_address(text, str(peer.peer_id)), remote[0] if remote else None)
            except ValueError as error:
                _log.debug("AddressRefused", member=peer.member, why=str(error))
                continue
            if address is not None:
                found.append(address)
        peer.book.learn(found)
