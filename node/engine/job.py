"""One job at one node: the engine with everything it needs to carry out its effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
import trio

from node.config import Config
from node.crypto.service import CryptoWorker
from node.engine.anchors import Anchors, is_head_of_another, known_head, make_ledger
from node.engine.bulletin import Bulletin
from node.engine.engine import Engine
from node.engine.gaps import Gaps
from node.engine.keymaking import make_key
from node.engine.mailbox import Mailbox
from node.engine.objects import Objects
from node.engine.post import Post
from node.engine.rounds import RoundWork
from node.envelope import Core, Envelope, Grant, KeyRound, Order, OrderPart, OrderWanted
from node.files import private_directory
from node.journal import Journal
from node.keys import NodeKeys
from node.learning.learner import Learner, LearnerConfig
from node.ledger.client.node import HydraNode
from node.ledger.client.order import Recovered
from node.ledger.client.session import Timing
from node.ledger.errors import HistoryGap
from node.ledger.transaction import UTxO
from node.logs import roster_line
from node.network import Deliver, Mesh
from node.storage import Admission, Bucket
from node.weights import WeightStore, encode_weights, weights_digest
from protocol import core, effects
from protocol.errors import MemberFault, OperatorFault, StarlingError
from protocol.history import Phase
from protocol.inputs import Heard, Input, MembershipProved, PeerUp
from protocol.journal import HeldShare
from protocol.lifecycle import can_decline, over
from protocol.manifest import Manifest
from protocol.membership import prove_membership
from protocol.messages import Message
from protocol.records import Record
from protocol.state import Head

PAUSED = b"paused"

HEAR_SECONDS = 20.0
"""How long a member's message may wait for the engine before it is dropped; its sender says it again."""

RECORD_OVERHEAD = 8
"""Bytes at most that a record in an `Order` takes besides its own."""

log = structlog.get_logger()

Funds = Callable[[], Awaitable[UTxO]]


@dataclass(frozen=True)
class Surroundings:
    """What all jobs of a node share."""

    config: Config
    keys: NodeKeys
    journal: Journal
    mesh: Mesh
    bucket: Bucket
    admission: Admission
    funds: Funds


class JobNode:
    """A job that runs here. `run` it in the daemon's nursery; messages come in through `deliver`."""

    def __init__(
        self, surroundings: Surroundings, manifest: Manifest, me: int, contacts: Mapping[int, int]
    ) -> None:
        self.manifest = manifest
        self.me = me
        self.bulletin = Bulletin(manifest.job, me, surroundings.journal)
        self.paused = surroundings.journal.fact(_pause_of(manifest.job)) == PAUSED
        self._around = surroundings
        self.job = manifest.job
        self.post = Post(self.job, surroundings.mesh, contacts)
        folder = private_directory(surroundings.config.node.state / "jobs" / self.job.hex()[:16])
        self.folder = folder
        self.objects = Objects(
            self.job,
            private_directory(folder / "objects"),
            surroundings.bucket,
            surroundings.mesh,
            contacts,
            surroundings.keys.identity.peer_id,
            surroundings.admission,
            surroundings.journal.grants(self.job),
            surroundings.config.storage.retention_days,
        )
        self.weights = WeightStore(folder / "objects", manifest.encoding.tensors)
        self.engine: Engine
        self.anchors: Anchors
        self._crypto: CryptoWorker
        self._learner: Learner
        self._mailbox: Mailbox
        self._gaps: Gaps
        self._rounds: RoundWork
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._evaluated = trio.open_memory_channel[tuple[int, bytes]](1000)

    async def prepare(self) -> None:
        """Check that this node can take part: the task, its data, and the same initial model as everyone.

        Raises `OperatorFault` saying what differs.
        """
        description = await self._learner.describe()
        specs = self.manifest.encoding.tensors
        shared = [(tensor.name, tensor.shape) for tensor in description.shared]
        if shared != [(spec.name, spec.shape) for spec in specs]:
            raise OperatorFault(
                "the task shares other tensors here than in the manifest", remedy="run the same release"
            )
        initial = await self._learner.initial_model()
        named = {spec.name: tensor for spec, tensor in zip(specs, initial, strict=True)}
        data = encode_weights(specs, named)
        if weights_digest(data) != self.manifest.model:
            raise OperatorFault(
                f"the initial model here is {weights_digest(data).hex()[:16]}, in the manifest "
                f"{self.manifest.model.hex()[:16]}",
                remedy="run the same release, with the same base model",
            )
        await trio.to_thread.run_sync(self.weights.put, data)
        await self._learner.load()

    def open(self) -> None:
        """Rebuild the state from the journal, to `run` from there: at first, and after a pause.

        Raises a `StarlingError` if that cannot be.
        """
        self.objects.sweep()
        self._make_workers()
        journal, members = self._around.journal, self.manifest.roster.members
        entries = journal.entries(self.job)
        head = known_head(journal, self.job)
        authors = [member.payment.hex() for member in members]
        slots = journal.slots(head, authors) if head else []
        state = core.restore(self.manifest, self.me, entries, [kept.confirmed for kept in slots])
        self.engine = Engine(state, journal, self._on_event)
        log.info("Roster", **roster_line(self.manifest))
        config = self._around.config.ledger
        ledger = make_ledger(
            HydraNode(config.url),
            self._around.keys.wallet,
            [member.payment for member in members],
            head,
            slots,
            recover=self._recover_order,
            others=lambda head: is_head_of_another(journal, self.job, head),
            parties=[bytes.fromhex(party) for party in config.parties],
            mainnet=config.mainnet,
            timing=Timing(confirm=config.confirm_seconds),
        )
        after = slots[-1].confirmed.slot if slots else 0
        funds, give = self._around.funds, self.engine.give
        self.anchors = Anchors(ledger, journal, self.job, self.me, authors, after, funds, give)
        self._rounds = RoundWork(
            self.manifest,
            self.me,
            self.objects,
            self.weights,
            self._learner,
            self._crypto,
            self._around.keys.journal + self.job,
            self.engine.give,
            self.bulletin.tell,
        )

    def _make_workers(self) -> None:
        config, show = self._around.config, self.bulletin.show
        nice, threads = config.learning.nice, config.learning.threads
        self._crypto = CryptoWorker(self.manifest, self.me, nice, threads, show)
        self._learner = Learner(learner_config(config, self.manifest.task, self.manifest.parameters), show)
        self._mailbox = Mailbox()
        self._gaps = Gaps(self.post.others, self.post.ask)

    async def run(self) -> None:
        """Take part until the job is settled, cancelled or paused; `open` comes first.

        A job that is settled costs a node no process and no connection: a node has many of them.
        """
        if self.settled:
            return
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._follow_head)
                    nursery.start_soon(self.bulletin.run)
                    nursery.start_soon(self.engine.run, self._perform)
                    nursery.start_soon(self._end_evaluations)
                    await self._evaluate_models()
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._crypto.aclose()
                await self._learner.aclose()
            self._ended.set()

    async def pause(self) -> None:
        """Stop taking part, also after a restart, until `unpause`: to the others as if the node were down.

        Nothing is given up: what this member has promised is in its journal. Raises `OperatorFault` where
        there is nothing to pause.
        """
        if self.paused:
            raise OperatorFault("the job is paused already", remedy="`starling job resume` goes on with it")
        if self.over:
            raise OperatorFault("the job is over", remedy="nothing is to be done")
        if self.phase is Phase.JOINING:
            raise OperatorFault(
                "the job has not begun",
                remedy="decline it, or wait until everyone has joined; `starling shutdown` pauses all jobs",
            )
        self._scope.cancel()
        await self._ended.wait()
        self.paused = True
        await trio.to_thread.run_sync(self._around.journal.set_fact, _pause_of(self.job), PAUSED)
        self.bulletin.tell("JobPaused", {})

    async def unpause(self) -> None:
        """Be ready to `run` again, from the journal. Raises `OperatorFault` where it is not paused."""
        if not self.paused:
            raise OperatorFault(
                "the job is not paused",
                remedy="a vote to end it stands in the order and cannot be taken back"
                if self.engine.state.life.stopped
                else "see what it waits for with `starling job show`",
            )
        self.open()
        await trio.to_thread.run_sync(self._around.journal.set_fact, _pause_of(self.job), b"")
        self.paused = False
        self.bulletin.tell("JobUnpaused", {})

    def give(self, given: Input) -> None:
        """Hand an input to the engine, if it can matter. Raises `OperatorFault` while the job is paused."""
        if self.paused:
            raise OperatorFault("the job is paused here", remedy="`starling job resume` goes on with it")
        if not self.settled:
            self.engine.give(given)

    async def decided(self) -> None:
        """Return when the job is accepted here, or declined by anyone."""
        await self.engine.wait_for(lambda state: not self.undecided)

    async def peer_up(self, contact: int) -> None:
        """A connection to a contact came up: tell it what it may have missed."""
        member = self.post.member_of(contact)
        if member is not None and not self.paused:
            self.give(PeerUp(member))
            await self._send_grant(member)

    async def deliver(self, contact: int, envelope: Envelope) -> None:
        """Take in a message from a contact. Raises `MemberFault` for one that is not allowed."""
        member = self.post.member_of(contact)
        if member is None or (self.paused and not isinstance(envelope.content, Grant)):
            return
        match envelope.content:
            case Core(data=data):
                await self._hear(Heard(member, data))
            case Grant(token=token):
                await trio.to_thread.run_sync(self._around.journal.keep_grant, self.job, member, token)
                self.objects.grants[member] = token
                log.info("GrantReceived", other=member)

    async def wanted(self, contact: int, what: KeyRound | OrderPart, size: int) -> Deliver:
        """Who takes a bulk message, once it is wanted. Raises a `StarlingError` if it never will be."""
        member = self.post.member_of(contact)
        if member is None:
            raise MemberFault("a bulk message for a job that it is no member of")
        match what:
            case KeyRound():
                if not self.takes_part:
                    raise OperatorFault("the job is not under way here")
                return await self._mailbox.wanted(member, what, size)
            case OrderPart():
                return self._gaps.wanted(member, what, size)

    async def tell_order(self, contact: int, question: OrderWanted) -> None:
        """Tell a member what its hydra-node has forgotten, as far as this one kept it, and it fits."""
        member = self.post.member_of(contact)
        if member is not None:
            order = await trio.to_thread.run_sync(self._order_after, question)
            await self.post.send(member, OrderPart(question.head, question.after), order)

    def _order_after(self, question: OrderWanted) -> bytes:
        authors = [each.payment.hex() for each in self.manifest.roster.members]
        records: list[tuple[int, bytes]] = []
        size = 0
        for slot in self._around.journal.slots(question.head, authors)[question.after :]:
            size += len(slot.confirmed.data) + RECORD_OVERHEAD
            if size > Order.LIMIT - RECORD_OVERHEAD or len(records) == Order.VALUES // 3 - 1:
                break
            records.append((slot.confirmed.author, slot.confirmed.data))
        return Order(tuple(records)).to_bytes()

    async def _hear(self, heard: Heard) -> None:
        """Hand over what a member says once little of it waits; `OperatorFault` if that takes long."""
        if self.paused or self.settled:
            return
        with trio.move_on_after(HEAR_SECONDS):
            await self.engine.hear(heard)
            return
        raise OperatorFault("the job takes nothing in at the moment", remedy="see its last log lines")

    async def _perform(self, effect: effects.Effect) -> None:
        """Carry out one effect of the core."""
        match effect:
            case effects.Submit(record=record):
                await self._submit(record)
            case effects.Say(members=members, message=message):
                await self.post.tell(members, Core(Message(message).to_bytes()))
            case effects.ProveMembership():
                proof = prove_membership(self.manifest, self.me, self._around.keys.job)
                self.give(MembershipProved(proof))
            case effects.OpenHead(again=again):
                await self.anchors.open_head(again=again)
            case effects.CloseHead():
                await self.anchors.close_head()
            case effects.MakeKey(attempt=attempt):
                self.give(
                    await make_key(attempt, self.post.others, self._crypto, self._mailbox, self.post.send)
                )
            case effects.CancelKey():
                self._mailbox.begin(effect.attempt + 1)
            case effects.UseKey(attempt=attempt):
                await self._use_key(attempt)
            case effects.CancelRound(round=number):
                await self._rounds.forget(number)
            case _:
                await self._perform_round(effect)

    async def _perform_round(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Contribute():
                await self._rounds.contribute(effect)
            case effects.CheckCommit():
                await self._rounds.check_commit(effect)
            case effects.SumSealed():
                await self._rounds.sum_sealed(effect)
            case effects.ReleaseShare():
                await self._rounds.release_share(effect)
            case effects.CheckShare():
                await self._rounds.check_share(effect)
            case effects.OpenSum():
                await self._rounds.open_sum(effect)
            case effects.FetchModel():
                await self._rounds.fetch_model(effect)

    async def _submit(self, record: Record) -> None:
        await self.anchors.submit(record)
        self.bulletin.tell("Submitted", {"kind": record.kind, "seq": record.seq})

    async def _recover_order(self, gap: HistoryGap) -> Sequence[Recovered]:
        return await self._gaps.fill(gap, self.anchors.status.head_id or "")

    async def _send_grant(self, member: int) -> None:
        try:
            token = await self.objects.grant_to(member, self.manifest.roster.member(member).peer)
            await self.post.say(member, Grant(token))
        except StarlingError as error:
            log.warning("GrantFailed", other=member, reason=str(error))

    async def _use_key(self, attempt: int) -> None:
        entries = await trio.to_thread.run_sync(self._around.journal.entries, self.job)
        held = [entry for entry in entries if isinstance(entry, HeldShare) and entry.secret]
        await self._load_share(attempt, held)
        await trio.to_thread.run_sync(self._around.journal.destroy_shares, self.job, attempt)

    async def _load_share(self, attempt: int, held: list[HeldShare]) -> None:
        for entry in held:
            if entry.attempt == attempt:
                await self._crypto.use_key(entry.secret)
                return
        log.error("KeyShareMissing", attempt=attempt)

    async def _follow_head(self) -> None:
        """Look at the head while this member takes part: before and after, it is another job's."""
        await self.engine.wait_for(lambda state: state.life.accepted or self.over)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.anchors.run)
            await self.engine.wait_for(lambda state: self.over and state.held_back is None)
            nursery.cancel_scope.cancel()
        if not self.settled:  # declined: nothing is left to evaluate either
            await self._learner.aclose()

    async def _end_evaluations(self) -> None:
        """No model comes after the settlement, which is in the journal when nothing is held back."""
        await self.engine.wait_for(lambda state: self.settled and state.held_back is None)
        self._evaluated[0].close()

    async def _evaluate_models(self) -> None:
        async for number, model in self._evaluated[1]:
            try:
                evaluation = await self._rounds.evaluate(number, model)
            except StarlingError as error:
                log.warning("EvaluationFailed", round=number, reason=str(error))
            else:
                metrics = {name: float(value) for name, value in evaluation.metrics.items()}
                self.bulletin.measured(number, metrics)

    def _on_event(self, event: effects.Emit) -> None:
        fields = dict(event.arguments)
        if event.event == "EndRound":
            model = bytes.fromhex(str(fields["model"]))
            if self.weights.has(model):
                self._evaluated[0].send_nowait((int(str(fields["round"])), model))
        self.bulletin.transition(event)

    @property
    def head_id(self) -> str | None:
        """The head that the job runs in, or ran in, once there is one."""
        return known_head(self._around.journal, self.job)

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, settlement included."""
        return over(self.engine.state)

    @property
    def undecided(self) -> bool:
        """Whether the job was neither accepted here nor declined by anyone."""
        life = self.engine.state.life
        return not life.accepted and life.declined is None

    @property
    def takes_part(self) -> bool:
        """Whether the job was accepted here, is not over, and not set aside."""
        return self.engine.state.life.accepted and not self.over and not self.paused

    @property
    def can_decline(self) -> bool:
        """Whether the operator can still say no, or take back a yes: not once there is a head for the job."""
        return can_decline(self.engine.state) and self.anchors.status.head_id is None

    @property
    def settled(self) -> bool:
        """Whether the job is over with a head that is gone: no input can change anything."""
        return self.over and self.engine.state.life.head is Head.SETTLED

    @property
    def phase(self) -> Phase:
        """Where the job is."""
        return self.engine.state.history.phase


def _pause_of(job: bytes) -> str:
    """The journal's fact that says whether the operator has paused the job."""
    return f"paused {job.hex()}"


def learner_config(config: Config, task: str, parameters: Mapping[str, object]) -> LearnerConfig:
    """How this node trains for a task; `OperatorFault` where it has no data for it."""
    data = config.learning.data.get(task)
    if data is None:
        raise OperatorFault(
            f"this node has no data for the task '{task}'",
            remedy=f"name a folder under [learning.data] {task} in its configuration",
        )
    return LearnerConfig(
        task=task,
        parameters=parameters,
        data=data,
        device=config.learning.device,
        threads=config.learning.threads,
        nice=config.learning.nice,
    )
