"""Bulk messages: the sender offers a digest on the message stream, the receiver fetches it.

So a large message is checked, bounded and back-pressured like any blob, and never holds up small ones. An
offer carries a label that says what it is: what is not wanted is refused before a byte of it is read, and
what is not wanted yet waits at its sender.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

import structlog
import trio

from node.network import limits
from node.network.errors import NotConnected, TransferFailed
from node.network.exchange import BlobSource, Exchange
from node.network.limits import Timing
from node.network.link import DECLINE, OFFER, Link
from node.network.throttle import ThrottledLog
from protocol.encoding.errors import Malformed
from protocol.errors import MemberFault, OwnFault, StarlingError

_ATTEMPTS: Final = 3  # a transfer may break while the connection changes

_log: Final = structlog.get_logger()

Deliver = Callable[[bytes], Awaitable[None]]
Wanted = Callable[[int, bytes, int], Awaitable[Deliver]]
"""Told member, label and size of an offer: returns, once the message is wanted, who takes it.

Raises a StarlingError where it is not, or no longer; it may wait as long as it likes.
"""


@dataclass(eq=False)
class _Offer:
    payload: bytes
    settled: trio.Event = field(default_factory=trio.Event)
    failure: str | None = None

    def settle(self, failure: str | None = None) -> None:
        if not self.settled.is_set():
            self.failure = failure
            self.settled.set()


@dataclass(frozen=True, eq=False)
class Offered:
    """A bulk message that a member has on offer, until it is here or refused."""

    member: int
    digest: bytes
    size: int
    label: bytes
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class BulkMessages:
    """Offers of our own, and fetching those of others.

    `source` also serves the blobs that callers provide, so that one exchange does both.
    """

    def __init__(
        self,
        wanted: Wanted,
        link_to: Callable[[int], Link | None],
        blobs: BlobSource,
        timing: Timing,
        offended: Callable[[int, str], None],
    ) -> None:
        self._wanted = wanted
        self._offended = offended
        self._link_to = link_to
        self._blobs = blobs
        self._timing = timing
        self._offers: dict[tuple[int, bytes], _Offer] = {}
        self._sending: dict[int, trio.CapacityLimiter] = defaultdict(
            lambda: trio.CapacityLimiter(limits.MAX_OFFERS_PER_MEMBER)
        )
        self._receiving: dict[int, trio.Lock] = defaultdict(trio.Lock)
        self._pending: set[Offered] = set()
        self._losses = ThrottledLog(_log)

    async def send(self, member: int, label: bytes, payload: bytes) -> None:
        """Offer `payload` and return when `member` has confirmed it whole.

        Raises OwnFault if it is empty or larger than MAX_BULK, NotConnected, or TransferFailed.
        """
        if not 0 < len(payload) <= limits.MAX_BULK or len(label) > limits.MAX_LABEL:
            raise OwnFault(f"a bulk message of {len(payload)} bytes; 1 to {limits.MAX_BULK} are allowed")
        digest = await trio.to_thread.run_sync(lambda: hashlib.sha256(payload).digest())
        async with self._sending[member]:
            if (member, digest) in self._offers:
                raise OwnFault("the same bulk message is already on its way to the member")
            offer = self._offers[member, digest] = _Offer(payload)
            try:
                await self._offer(member, digest, label, offer)
            finally:
                del self._offers[member, digest]

    def abandon(self, member: int, why: str) -> None:
        """The link to the member is lost: what was offered to it fails, and what it offered is forgotten."""
        for (receiver, _), offer in self._offers.items():
            if receiver == member:
                offer.settle(why)
        for offered in self._pending:
            if offered.member == member:
                offered.scope.cancel()

    def confirmed(self, member: int, digest: bytes) -> None:
        """The member has received what we offered."""
        if offer := self._offers.get((member, digest)):
            offer.settle()

    def declined(self, member: int, digest: bytes) -> None:
        """The member says that it does not want, or could not fetch, what we offered."""
        if offer := self._offers.get((member, digest)):
            offer.settle("the member did not take it")

    async def source(self, member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
        """A BlobSource of the bulk messages offered to `member`, then of the caller's blobs."""
        offer = self._offers.get((member, digest))
        if offer is not None and len(offer.payload) == size:
            return _serve(offer)
        return await self._blobs(member, digest, size)

    def offered(self, member: int, digest: bytes, size: int, label: bytes) -> Offered | None:
        """Note an offer, to `receive` it; None if it is only said again. MemberFault if it breaks a limit."""
        if not 0 < size <= limits.MAX_BULK or len(label) > limits.MAX_LABEL:
            raise MemberFault(f"offered a bulk message of {size} bytes", member=member)
        of_member = [each for each in self._pending if each.member == member]
        if any(each.digest == digest and not each.scope.cancel_called for each in of_member):
            return None
        if len(of_member) >= limits.MAX_OFFERED_BY_MEMBER:
            raise MemberFault(f"has more than {len(of_member)} bulk messages on offer", member=member)
        self._pending.add(offered := Offered(member, digest, size, label))
        return offered

    async def receive(self, exchange: Exchange, offered: Offered) -> None:
        """Fetch an offered message once it is wanted and hand it over; else the member is told."""
        try:
            with offered.scope:
                await self._receive(exchange, offered)
        finally:
            self._pending.discard(offered)

    async def _receive(self, exchange: Exchange, offered: Offered) -> None:
        member = offered.member
        try:
            deliver = await self._wanted(member, offered.label, offered.size)
            async with self._receiving[member]:
                payload = await self._fetch(exchange, member, offered.digest, offered.size)
            await deliver(payload)
        except Exception as error:  # whoever takes it in is not the network's to trust
            why = str(error) if isinstance(error, StarlingError) else f"{type(error).__name__}: {error}"
            self._losses.warning("BulkMessageLost", member=member, size=offered.size, why=why[:200])
            if link := self._link_to(member):
                await _decline(link, offered.digest)
            if isinstance(error, Malformed):
                self._offended(member, why)

    async def _fetch(self, exchange: Exchange, member: int, digest: bytes, size: int) -> bytes:
        attempt = 1
        while True:
            received = BytesIO()  # gives its content away without copying it

            async def keep(chunk: bytes, received: BytesIO = received) -> None:
                received.write(chunk)

            try:
                await exchange.fetch(member, digest, size, keep)
            except TransferFailed:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return received.getvalue()
            await trio.sleep(self._timing.backoff_first * attempt)
            attempt += 1

    async def _offer(self, member: int, digest: bytes, label: bytes, offer: _Offer) -> None:
        link = self._link_to(member)
        if link is None:
            raise NotConnected(member)
        await link.send([OFFER, digest, len(offer.payload), label])
        with trio.move_on_after(self._timing.bulk_offer):
            await offer.settled.wait()
        if not offer.settled.is_set():
            raise TransferFailed(member, f"not fetched within {self._timing.bulk_offer:g} s")
        if offer.failure is not None:
            raise TransferFailed(member, offer.failure)


async def _serve(offer: _Offer) -> AsyncIterator[bytes]:
    for start in range(0, len(offer.payload), limits.CHUNK):
        yield offer.payload[start : start + limits.CHUNK]


async def _decline(link: Link, digest: bytes) -> None:
    try:
        await link.send([DECLINE, digest])
    except NotConnected:
        return  # the loss of the link settles the offer as well
