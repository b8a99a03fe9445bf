"""Records that this member's hydra-node no longer has: asked of the other members.

Each answer is judged by the ledger client: every record is an anchor that its author has signed, continues
that author's chain, and stands where the canonical order puts it. What an answer could still invent is how
the members' chains interleave. So a log is taken only as far as c + 1 members vouch for it, of whom one is
honest: by their own answer, or by a record of theirs, which names how much of the order its author had
read, and the running digest of that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
import trio

from node.envelope import Order, OrderPart, OrderWanted
from node.ledger.client.order import Recovered
from node.ledger.client.session import Judge, Judged
from node.ledger.errors import BrokenChain, HistoryGap
from node.ledger.interface import Confirmed
from node.network import Deliver
from protocol.encoding.errors import EncodingError
from protocol.errors import MemberFault, StarlingError
from protocol.history import extend
from protocol.records import Record

ANSWER_SECONDS = 10.0
"""How long members may take to answer before they are asked again."""

Ask = Callable[[int, OrderWanted], Awaitable[None]]

log = structlog.get_logger()


@dataclass(frozen=True)
class Candidate:
    """One member's log, judged: `digests[k]` is the running digest after its first k records."""

    sender: int
    records: tuple[Recovered, ...]
    judged: Judged
    until: int
    digests: tuple[bytes, ...]


class Gaps:
    """Asks `members` through `ask`; their answers come in through `wanted`. `vouchers` is c + 1."""

    def __init__(self, members: Sequence[int], ask: Ask, vouchers: int) -> None:
        self._members = members
        self._ask = ask
        self._vouchers = vouchers
        self._wanted: OrderWanted | None = None
        self._answers: dict[int, Order] = {}
        self._asked: set[int] = set()
        self._refused: set[int] = set()
        self._came = trio.Event()

    async def fill(
        self, gap: HistoryGap, head: str, before: bytes, judge: Judge
    ) -> tuple[Sequence[Recovered], bool]:
        """Records from the gap's first slot on, as far as enough members vouch for them, and whether that
        is all.

        `before` is the running digest of the order up to the gap. Asks until there is something to go on
        with.
        """
        wanted = self._wanted = OrderWanted(head, gap.from_slot - 1)
        log.warning("OrderGap", first=gap.from_slot, last=gap.to_slot)
        candidates: dict[int, Candidate] = {}
        try:
            while True:
                await self._ask_all(wanted)
                with trio.move_on_after(ANSWER_SECONDS):
                    while True:
                        found = self._vouched(list(candidates.values()), gap)
                        if found is not None:
                            log.info("OrderGapFilled", records=len(found[0]), whole=found[1])
                            return found
                        await self._take_answers(candidates, before, judge)
        finally:
            self._wanted, self._answers, self._asked = None, {}, set()
            self._refused.clear()

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
                self.answered(member, order)

        return deliver

    def answered(self, member: int, order: Order) -> None:
        """A member's answer: its last one is looked at."""
        self._answers[member] = order
        self._came.set()

    async def _ask_all(self, wanted: OrderWanted) -> None:
        if self._refused >= set(self._members):
            self._refused.clear()  # it may be this node that is wrong: begin anew
        for member in self._members:
            if member in self._refused:
                continue
            self._asked.add(member)
            try:
                await self._ask(member, wanted)
            except StarlingError as error:
                log.info("OrderNotAsked", other=member, reason=str(error)[:200])

    async def _take_answers(self, candidates: dict[int, Candidate], before: bytes, judge: Judge) -> None:
        """Wait for answers, and judge them; who sends what no honest member has is not listened to any
        more."""
        await self._came.wait()
        self._came = trio.Event()
        while self._answers:
            member, order = self._answers.popitem()
            if member in self._refused:
                continue
            try:
                candidates[member] = await trio.to_thread.run_sync(_candidate, member, order, before, judge)
            except BrokenChain as error:
                candidates.pop(member, None)
                self._refused.add(member)
                log.warning("OrderAnswerRefused", other=member, reason=str(error)[:200])

    def _vouched(
        self, candidates: Sequence[Candidate], gap: HistoryGap
    ) -> tuple[Sequence[Recovered], bool] | None:
        """The first log that enough members vouch for whole; else what they vouch for of one that is cut."""
        for candidate in candidates:
            same = [
                c for c in candidates if c.digests == candidate.digests and c.until >= gap.to_snapshot - 1
            ]
            whole = candidate.judged.complete or len(same) >= self._vouchers
            count = self._reach(candidate, candidates, gap.from_slot - 1)
            if whole and count >= len(candidate.records):
                return candidate.records, True
            if candidate.until < gap.to_snapshot - 1 and count:
                begun = _whole_snapshots(candidate.records[:count])
                if begun:
                    return begun, False
        return None

    def _reach(self, candidate: Candidate, candidates: Sequence[Candidate], after: int) -> int:
        """How many first records of a candidate at least c + 1 members vouch for."""
        reach = {other.sender: _common(candidate.digests, other.digests) for other in candidates}
        for record in candidate.judged.records:
            seen = _seen(record, candidate.digests, after)
            reach[record.member] = max(reach.get(record.member, 0), seen)
        farthest = sorted(reach.values(), reverse=True)
        return farthest[self._vouchers - 1] if len(farthest) >= self._vouchers else 0


def _candidate(member: int, order: Order, before: bytes, judge: Judge) -> Candidate:
    records = tuple(Recovered(snapshot, transaction) for snapshot, transaction in order.records)
    judged = judge(records)
    digests = [before]
    for record in judged.order.records:
        digests.append(extend(digests[-1], record.member, record.datum))
    up_to = records[: len(judged.order.records)]  # a member that is ahead has supplied more
    return Candidate(member, up_to, judged, order.until, tuple(digests))


def _common(ours: Sequence[bytes], theirs: Sequence[bytes]) -> int:
    """How many first records two logs share: their digests differ from the first other one on."""
    return sum(a == b for a, b in zip(ours, theirs, strict=False)) - 1


def _seen(record: Confirmed, digests: Sequence[bytes], after: int) -> int:
    """How many of the recovered records a record's author says it had read, in this very order."""
    try:
        claim = Record.from_bytes(record.datum)
    except EncodingError:
        return 0
    count = claim.seen - after
    known = 0 <= count < len(digests) and claim.seen < record.slot
    return count if known and digests[count] == claim.order else 0


def _whole_snapshots(records: Sequence[Recovered]) -> Sequence[Recovered]:
    """Without the last snapshot's, of which more may follow."""
    return [each for each in records if each.snapshot < records[-1].snapshot]
