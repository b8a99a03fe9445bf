"""Bulk messages: the sender offers a digest on the message stream, the receiver fetches it.

So a large message is checked, bounded and back-pressured like any blob, and never holds up small ones.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
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
from protocol.errors import MemberFault, OwnFault

_ATTEMPTS: Final = 3  # a transfer may break while the connection changes
_PENDING: Final = 2 * limits.MAX_OFFERS_PER_MEMBER  # offers cross our confirmations on the way

_log: Final = structlog.get_logger()


@dataclass(eq=False)
class _Offer:
    payload: bytes
    settled: trio.Event = field(default_factory=trio.Event)
    failure: str | None = None

    def settle(self, failure: str | None = None) -> None:
        if not self.settled.is_set():
            self.failure = failure
            self.settled.set()


class BulkMessages:
    """Offers of our own, and fetching those of others.

    `source` also serves the blobs that callers provide, so that one exchange does both.
    """

    def __init__(
        self,
        deliver: Callable[[int, bytes], Awaitable[None]],
        link_to: Callable[[int], Link | None],
        blobs: BlobSource,
        timing: Timing,
    ) -> None:
        self._deliver = deliver
        self._link_to = link_to
        self._blobs = blobs
        self._timing = timing
        self._offers: dict[tuple[int, bytes], _Offer] = {}
        self._sending: dict[int, trio.CapacityLimiter] = defaultdict(
            lambda: trio.CapacityLimiter(limits.MAX_OFFERS_PER_MEMBER)
        )
        self._in_memory = trio.CapacityLimiter(limits.MAX_BULK_IN_MEMORY)
        self._receiving: dict[int, trio.Lock] = defaultdict(trio.Lock)
        self._pending: Counter[int] = Counter()

    async def send(self, member: int, payload: bytes) -> None:
        """Offer `payload` and return when `member` has confirmed it whole.

        Raises OwnFault if it is empty or larger than MAX_BULK, NotConnected, or TransferFailed.
        """
        if not 0 < len(payload) <= limits.MAX_BULK:
            raise OwnFault(f"a bulk message of {len(payload)} bytes; 1 to {limits.MAX_BULK} are allowed")
        digest = await trio.to_thread.run_sync(lambda: hashlib.sha256(payload).digest())
        async with self._sending[member]:
            if (member, digest) in self._offers:
                raise OwnFault("the same bulk message is already on its way to the member")
            offer = self._offers[member, digest] = _Offer(payload)
            try:
                await self._offer(member, digest, offer)
            finally:
                del self._offers[member, digest]

    def abandon(self, member: int, why: str) -> None:
        """The link to the member is lost: what was offered to it fails."""
        for (receiver, _), offer in self._offers.items():
            if receiver == member:
                offer.settle(why)

    def confirmed(self, member: int, digest: bytes) -> None:
        """The member has received what we offered."""
        if offer := self._offers.get((member, digest)):
            offer.settle()

    def declined(self, member: int, digest: bytes) -> None:
        """The member says that it could not fetch what we offered."""
        if offer := self._offers.get((member, digest)):
            offer.settle("the member could not fetch it")

    async def source(self, member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
        """A BlobSource of the bulk messages offered to `member`, then of the caller's blobs."""
        offer = self._offers.get((member, digest))
        if offer is not None and len(offer.payload) == size:
            return _serve(offer)
        return await self._blobs(member, digest, size)

    def offered(self, member: int, digest: bytes, size: int) -> None:
        """Count an offer before `receive` is started for it; MemberFault if it breaks a limit."""
        if not 0 < size <= limits.MAX_BULK:
            raise MemberFault(f"offered a bulk message of {size} bytes", member=member)
        if self._pending[member] >= _PENDING:
            raise MemberFault(f"has more than {_PENDING} bulk messages on offer", member=member)
        self._pending[member] += 1

    async def receive(self, exchange: Exchange, member: int, digest: bytes, size: int) -> None:
        """Fetch an offered message and deliver it; a failure is logged and told to the member."""
        waiting = True
        try:
            async with self._receiving[member], self._in_memory:
                payload = await self._fetch(exchange, member, digest, size)
                self._pending[member] -= 1
                waiting = False
                await self._deliver(member, payload)
        except (TransferFailed, NotConnected, MemberFault) as error:
            _log.warning("BulkMessageLost", member=member, size=size, why=str(error))
            if link := self._link_to(member):
                await _decline(link, digest)
        finally:
            self._pending[member] -= waiting

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

    async def _offer(self, member: int, digest: bytes, offer: _Offer) -> None:
        link = self._link_to(member)
        if link is None:
            raise NotConnected(member)
        await link.send([OFFER, digest, len(offer.payload)])
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
