"""A member's state, and a turn: one step from a state to the next with what it asks for.

What is durable is marked so; the journal rebuilds it. The rest a crash may take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from protocol.effects import Append, Argument, Effect, Emit, Submit
from protocol.history import START, Chain, History, Outcome
from protocol.inputs import Input
from protocol.journal import AnyEntry, Declined, OwnRecord
from protocol.manifest import Manifest
from protocol.records import Blob, Body, Record
from protocol.words import KeyReason, Reason


class Head(Enum):
    """The Hydra head as this member sees it."""

    NONE = "none"
    OPENING = "opening"
    READY = "ready"
    CLOSING = "closing"
    CLOSED = "closed"
    SETTLED = "settled"


@dataclass(frozen=True)
class Life:
    """Where the job is before and after the ledger orders it. `accepted`, `declined` and a settled head are
    durable; `final` has the digest of each member's last record on L1, `slots` how many there were then,
    `lost` the members whose later records the settlement lost."""

    accepted: bool = False
    accepts: frozenset[int] = frozenset()
    declined: Declined | None = None
    head: Head = Head.NONE
    proving: bool = False
    proof: bytes | None = None
    joined: bool = False
    stop: Reason | None = None
    stopped: bool = False
    ended: bool = False
    closes: bool = False
    slots: int = 0
    final: Mapping[int, bytes] | None = None
    lost: frozenset[int] = frozenset()


@dataclass(frozen=True)
class KeyWork:
    """Key generation. `held` (key digest by attempt) and `adopted` (attempt and key) are durable; `lost`
    is the last attempt that a restart interrupted."""

    held: Mapping[int, bytes] = field(default_factory=dict)
    attempt: int = 0
    lost: int = 0
    failure: tuple[int, KeyReason] | None = None
    reported: int = 0
    abandoned: int = 0
    adopted: tuple[int, bytes] | None = None


@dataclass(frozen=True)
class RoundWork:
    """This member's part in the round `number`; all volatile."""

    number: int = 0
    contributing: bool = False
    blob: Blob | None = None
    checking: frozenset[int] = frozenset()
    checked: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    settled: frozenset[int] = frozenset()
    contribute_expired: bool = False
    attest_expired: bool = False
    expired: bool = False
    seal_awaited: bool = False
    seal_expired: bool = False
    sealing: bool = False
    voted: bool = False
    opening: int = 0
    open_expired: bool = False
    vouched: bool = False
    vouchers: frozenset[int] = frozenset()
    summing: bool = False
    summed: bool = False
    sharing: bool = False
    share: Blob | None = None
    checking_shares: frozenset[int] = frozenset()
    shares: frozenset[int] = frozenset()
    refused_shares: frozenset[int] = frozenset()
    combining: bool = False
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Vouching:
    """What other members vouch for, the last of each. `trusting`: one honest voucher is enough, and durably
    not so once it was `doubted`; `forked`: this node was shown another order than before, and releases
    nothing more."""

    trusting: bool = True
    doubted: bool = False
    forked: bool = False
    heard: Mapping[int, tuple[int, bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Own:
    """What this member wrote, all durable: the end of its chain, records that are not confirmed yet,
    the last round it committed, shared and reported in, the slot and digest of the longest order that it
    vouched for (each record shows what its author had read, so it vouches too), the aggregate released in
    each round, and the base models from which its update was sealed."""

    chain: Chain = field(default_factory=Chain)
    pending: tuple[Record, ...] = ()
    committed: int = 0
    shared: int = 0
    reported: int = 0
    vouched: tuple[int, bytes] = (0, START)
    released: Mapping[int, bytes] = field(default_factory=dict)
    spent: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class State:
    """Everything a member knows about one job.

    `ended` is the last past round it has dealt with; `models` are the weights at hand (the last two).
    While `held_back` is not None an append is on its way to the disk: what follows from it is held back,
    and inputs wait in `backlog`.
    """

    me: int
    manifest: Manifest
    history: History
    incarnation: int = 0
    awake: bool = False
    life: Life = field(default_factory=Life)
    key: KeyWork = field(default_factory=KeyWork)
    round: RoundWork = field(default_factory=RoundWork)
    vouching: Vouching = field(default_factory=Vouching)
    own: Own = field(default_factory=Own)
    ended: int = 0
    models: tuple[bytes, ...] = ()
    fetching: bytes | None = None
    events: int = 0
    held_back: tuple[Effect, ...] | None = None
    backlog: tuple[Input, ...] = ()

    @property
    def others(self) -> tuple[int, ...]:
        """Every member but this one."""
        return tuple(member for member in self.manifest.roster.indices if member != self.me)

    @property
    def in_own_order(self) -> bool:
        """Whether the order that is read here continues the one that this member vouched for."""
        return not self.vouching.forked and self.history.slots >= self.own.vouched[0]


class Turn:
    """One step in the making: the state as it becomes, and the effects in order.

    Whatever is asked for after `journal` is held back by the core until the journal is durable; that is
    how a record or a share can never be released before what it depends on is written down.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._effects: list[Effect] = []
        self._entries: list[AnyEntry] = []
        self._held: list[Effect] = []

    @property
    def must_wait(self) -> bool:
        """Whether something was journalled: no further action in this turn."""
        return bool(self._entries)

    def life(self, **changes: object) -> None:
        """Change the state's life."""
        self.state = replace(self.state, life=replace(self.state.life, **changes))  # type: ignore[arg-type]

    def key(self, **changes: object) -> None:
        """Change the state's key work."""
        self.state = replace(self.state, key=replace(self.state.key, **changes))  # type: ignore[arg-type]

    def round(self, **changes: object) -> None:
        """Change the state's round work."""
        self.state = replace(self.state, round=replace(self.state.round, **changes))  # type: ignore[arg-type]

    def vouching(self, **changes: object) -> None:
        """Change what the state says of vouchers."""
        self.state = replace(self.state, vouching=replace(self.state.vouching, **changes))  # type: ignore[arg-type]

    def own(self, **changes: object) -> None:
        """Change what the state says this member wrote."""
        self.state = replace(self.state, own=replace(self.state.own, **changes))  # type: ignore[arg-type]

    def change(self, **changes: object) -> None:
        """Change the state."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def do(self, effect: Effect) -> None:
        """Ask for an effect, after everything asked for so far."""
        (self._held if self._entries else self._effects).append(effect)

    def journal(self, entry: AnyEntry) -> None:
        """Append to the journal; what is asked for afterwards in this turn waits for it."""
        self._entries.append(entry)

    def emit(self, event: str, **arguments: Argument) -> None:
        """Log a transition under its name in the specification."""
        number = self.state.events + 1
        self.change(events=number)
        self.do(Emit(event, self.state.incarnation, number, self.state.history.slots, arguments))

    def submit(self, body: Body) -> None:
        """Journal a record with this body as the next of this member's chain, then submit it."""
        state = self.state
        chain, history = state.own.chain, state.history
        record = Record(
            version=1,
            job=history.job,
            member=state.me,
            seq=chain.seq + 1,
            prev=chain.digest,
            seen=history.slots,
            order=history.order,
            body=body,
        )
        self.own(
            chain=Chain(record.seq, record.digest()),
            pending=(*state.own.pending, record),
            vouched=max(state.own.vouched, (record.seen, record.order)),
        )
        self.journal(OwnRecord(record))
        self.do(Submit(record))

    def finish(self) -> tuple[State, tuple[Effect, ...]]:
        """The new state and the effects that may happen now."""
        if not self._entries:
            return self.state, tuple(self._effects)
        state = replace(self.state, held_back=tuple(self._held))
        return state, (*self._effects, Append(tuple(self._entries)))


@dataclass(frozen=True)
class Action:
    """A step that a member takes by itself: named as in the specification, taken whenever enabled.

    Performing it disables it, so that the table comes to rest. One that `submits` a record waits until
    the member's last one is confirmed, so that one is in flight, made from a view that includes it; and
    until the member has read again all that it ever vouched for.
    """

    name: str
    enabled: Callable[[State], bool]
    perform: Callable[[Turn], None]
    submits: bool = False

    def possible(self, state: State) -> bool:
        """Whether the member takes this step now."""
        if self.submits and (state.own.pending or not state.in_own_order):
            return False
        return self.enabled(state)
