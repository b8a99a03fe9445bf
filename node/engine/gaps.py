"""Records that this member's hydra-node no longer has: asked of the other members.

What they answer is checked against the chains in the head before it is believed (see `Order.fill`), and
every later record carries the digest of the order that its author has read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from node.envelope import Order, OrderPart, OrderWanted
from node.ledger.client.order import Recovered
from node.ledger.errors import HistoryGap
from node.network import Deliver
from protocol.errors import MemberFault, StarlingError

ANSWER_SECONDS = 10.0
"""How long members may take to answer before they are asked again."""

Ask = Callable[[int, OrderWanted], Awaitable[None]]

log = structlog.get_logger()


class Gaps:
    """Asks `members` through `ask`; their answers come in through `wanted`."""

    def __init__(self, members: Sequence[int], ask: Ask) -> None:
        self._members = members
        self._ask = ask
        self._wanted: OrderWanted | None = None
        self._best: Order | None = None
        self._asked: set[int] = set()
        self._came = trio.Event()

    async def fill(self, gap: HistoryGap, head: str) -> list[Recovered]:
        """The missing records in their order; asks until somebody has as many as are known to be missing."""
        wanted = self._wanted = OrderWanted(head, gap.from_slot - 1)
        least = 1 if gap.to_slot is None else gap.to_slot - gap.from_slot + 1
        log.warning("OrderGap", first=gap.from_slot, last=gap.to_slot)
        while self._best is None or len(self._best.records) < least:
            self._asked = set(self._members)
            for member in self._members:
                try:
                    await self._ask(member, wanted)
                except StarlingError as error:
                    log.info("OrderNotAsked", other=member, reason=str(error)[:200])
            with trio.move_on_after(ANSWER_SECONDS):
                while self._best is None or len(self._best.records) < least:
                    await self._came.wait()
        best, self._best, self._wanted = self._best, None, None
        log.info("OrderGapFilled", records=len(best.records))
        return [Recovered(member, datum) for member, datum in best.records]

    def wanted(self, member: int, part: OrderPart, size: int) -> Deliver:
        """Who takes a member's answer; `MemberFault` unless it was asked for, and is the first."""
        question = self._wanted
        asked = question is not None and (part.head, part.after) == (question.head, question.after)
        if not asked or member not in self._asked or size > Order.LIMIT:
            raise MemberFault("an answer that was not asked for, or is too long", member=member)

        async def deliver(content: bytes) -> None:
            self._asked.discard(member)
            order = await trio.to_thread.run_sync(Order.from_bytes, content)
            if self._wanted is question:
                self._answered(order)

        return deliver

    def _answered(self, order: Order) -> None:
        """Keep it if it is the longest so far."""
        if self._best is None or len(order.records) > len(self._best.records):
            self._best = order
        self._came.set()
        self._came = trio.Event()
