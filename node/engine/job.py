"""One job at one node: the engine with everything it needs to carry out its effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog
import trio

from node.config import Config
from node.consent import others_with
from node.crypto.service import CryptoWorker
from node.engine.anchors import Anchors, is_head_of_another, known_deposit, known_head, make_ledger
from node.engine.background import Background
from node.engine.bulletin import Bulletin
from node.engine.compartment import Compartment, EndedEarly, endless
from node.engine.durable import until_done
from node.engine.engine import Engine
from node.engine.flood import FloodWatch
from node.engine.gaps import Gaps
from node.engine.keymaking import make_key
from node.engine.mailbox import Mailbox
from node.engine.objects import Objects
from node.engine.post import Post
from node.engine.rounds import RoundWork
from node.envelope import Core, Envelope, Grant, KeyRound, Order, OrderPart, OrderWanted
from node.faults import in_words
from node.files import private_directory
from node.journal import Journal
from node.keys import NodeKeys
from node.learning.learner import Learner, LearnerConfig
from node.ledger.client.node import HydraNode
from node.ledger.client.order import Recovered
from node.ledger.client.session import Judge
from node.ledger.errors import HistoryGap
from node.ledger.interface import LedgerStatus
from node.ledger.transaction import UTxO
from node.logs import roster_line
from node.network import Deliver, Mesh
from node.storage import Admission, Bucket
from node.weights import WeightStore, encode_weights, weights_digest
from protocol import core, effects
from protocol.errors import MemberFault, OperatorFault, StarlingError
from protocol.history import History, Phase
from protocol.inputs import ContributionFailed, Heard, Input, MembershipProved, PeerUp
from protocol.journal import HeldShare
from protocol.lifecycle import can_decline, over
from protocol.manifest import Manifest
from protocol.membership import prove_membership
from protocol.messages import Message
from protocol.records import Record
from protocol.state import Head, State

PAUSED = b"paused"

HEAR_SECONDS = 20.0
"""How long a member's message may wait for the engine before it is dropped; its sender says it again."""

RECORD_OVERHEAD = 16
"""Bytes at most that a record in an `Order` takes besides its own."""
GRANT_SECONDS = 120.0
"""For a bucket to make a grant, and for the member to be told."""

MAX_EVALUATIONS = 8
"""Models that wait for their evaluation; a member that catches up skips some rather than fall behind."""

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
    background: Background


class JobNode:
    """A job that runs here. `run` it in the daemon's nursery; messages come in through `deliver`.

    One can be made of any manifest. What may fail is `open`: until that has worked there is nothing to see of
    the job but its manifest. `live` says whether it takes anything in: from `open` until its run ends.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        manifest: Manifest,
        me: int,
        proposer: int,
        find_contacts: Callable[[], Mapping[int, int]],
        find_parties: Callable[[], Sequence[bytes]],
    ) -> None:
        self.manifest = manifest
        self.me = me
        self.proposer = proposer
        self.job = manifest.job
        self.bulletin = Bulletin(manifest.job, me, surroundings.journal)
        self.paused = False
        self.aside = ""
        self.live = False
        self._around = surroundings
        self._find_contacts = find_contacts
        self._find_parties = find_parties
        self._contacts: dict[int, int] = {}
        self.post = Post(self.job, surroundings.mesh, self._contacts)
        self.folder = surroundings.config.node.state / "jobs" / self.job.hex()[:16]
        self.objects = Objects(
            self.job,
            self.folder / "objects",
            surroundings.bucket,
            surroundings.mesh,
            self._contacts,
            surroundings.keys.identity.peer_id,
            surroundings.admission,
            {},
            surroundings.config.storage.retention_days,
        )
        self.weights = WeightStore(self.folder / "objects", manifest.encoding.tensors)
        unread = State(me, manifest, History.empty(manifest), models=(manifest.model,))
        self.engine = Engine(unread, surroundings.journal, self._on_event)
        self._compartment = Compartment(self.job, self._take_part, self._set_aside)
        self._anchors: Anchors | None = None
        self._floods = FloodWatch()
        self._crypto: CryptoWorker
        self._learner: Learner
        self._mailbox: Mailbox
        self._gaps: Gaps
        self._rounds: RoundWork
        self._evaluated = trio.open_memory_channel[tuple[int, bytes]](MAX_EVALUATIONS)

    async def prepare(self) -> None:
        """Check that this node can take part: the parties of the head are known, the task, its data, and the
        same initial model as everyone.

        Raises `OperatorFault` saying what differs.
        """
        self._find_parties()
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
        """Rebuild the state from the journal, to `run` from there: at first, after a pause or a failure.

        Raises a `StarlingError` if that cannot be.
        """
        journal, members = self._around.journal, self.manifest.roster.members
        self._contacts.update(self._find_contacts())
        private_directory(self.folder)
        private_directory(self.folder / "objects")
        self.objects.sweep()
        self.objects.grants.update(journal.grants(self.job))
        self.bulletin.recall()
        self.paused = journal.fact(_pause_of(self.job)) == PAUSED
        self.aside = (journal.fact(_aside_of(self.job)) or b"").decode()
        self._evaluated = trio.open_memory_channel[tuple[int, bytes]](MAX_EVALUATIONS)
        self._make_workers()
        entries = journal.entries(self.job)
        head = known_head(journal, self.job)
        authors = [member.payment.hex() for member in members]
        slots = journal.slots(head, authors) if head else []
        state = core.restore(self.manifest, self.me, entries, [kept.confirmed for kept in slots])
        trusting = self._around.config.ledger.trust_own_node and not any(kept.recovered for kept in slots)
        self.engine = Engine(state, journal, self._on_event, trusting=trusting)
        if state.life.accepted:
            self.use_data(again=False)
        log.info("Roster", **roster_line(self.manifest))
        config = self._around.config.ledger
        ledger = make_ledger(
            HydraNode(config.url),
            self._around.keys.wallet,
            [member.payment for member in members],
            head,
            slots,
            deposit=known_deposit(journal, self.job),
            recover=self._recover_order,
            others=lambda head: is_head_of_another(journal, self.job, head),
            config=config,
        )
        after = slots[-1].confirmed.slot if slots else 0
        funds, give = self._around.funds, self.engine.give
        self._anchors = Anchors(ledger, journal, self.job, self.me, authors, after, funds, give)
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
        self.live = True

    def use_data(self, *, again: bool) -> None:
        """Remember which data the job uses, and whether it may use `again` what another job used."""
        data = data_of(self._around.config, self.manifest.task)
        self._around.journal.use_data(self.job, str(data), again=again)

    def _make_workers(self) -> None:
        config, show = self._around.config, self.bulletin.show
        nice, threads = config.learning.nice, config.learning.threads
        self._crypto = CryptoWorker(
            self.manifest, self.me, self._around.keys.job, nice, threads, show, self.folder / "objects"
        )
        learning = learner_config(config, self.manifest.task, self.manifest.parameters)
        memory = private_directory(self.folder / "memory")
        self._learner = Learner(replace(learning, memory=memory), show)
        self._mailbox = Mailbox()
        self._gaps = Gaps(self.post.others, self.post.ask, self.manifest.thresholds.colluders + 1)

    async def run(self) -> None:
        """Take part until the job is settled, paused or cancelled, whatever fails in it: see `Compartment`.

        A job that is settled costs a node no process and no connection: a node has many of them.
        """
        await self._compartment.run()

    async def leave(self) -> None:
        """Take part no more, until the daemon starts again."""
        self.paused = True
        await self._compartment.halt()

    async def _take_part(self) -> None:
        if not self.live:
            self.open()
        try:
            if self.settled or self.paused or self.aside:
                return
            async with trio.open_nursery() as nursery:
                for peer in self._around.mesh.peers():
                    if peer.connected_since is not None:
                        self.peer_up(peer.member)
                nursery.start_soon(self._follow_head, self._ledger_port)
                nursery.start_soon(endless, self.bulletin.run)
                nursery.start_soon(endless, partial(self.engine.run, self._perform))
                nursery.start_soon(self._end_evaluations)
                await self._evaluate_models()
                nursery.cancel_scope.cancel()
            if not self.settled:
                raise EndedEarly("the work for the job has ended before the job")
        finally:
            self.live = False
            with trio.CancelScope(shield=True):
                await self._crypto.aclose()
                await self._learner.aclose()

    async def _set_aside(self, why: str) -> None:
        """Run no more, also after a restart, until the operator says so."""
        self.aside = why
        await until_done(self._around.journal.set_fact, _aside_of(self.job), why.encode())

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
        await self._compartment.halt()
        self.paused = True
        await trio.to_thread.run_sync(self._around.journal.set_fact, _pause_of(self.job), PAUSED)
        self.bulletin.tell("JobPaused", {})

    async def unpause(self) -> None:
        """Be ready to `run` again, from the journal.

        Raises `OperatorFault` where it is neither paused nor set aside, or cannot be opened.
        """
        if not self.paused and not self.aside:
            raise OperatorFault(
                "the job is not paused",
                remedy="a vote to end it stands in the order and cannot be taken back"
                if self.engine.state.life.stopped
                else "see what it waits for with `starling job show`",
            )
        self.open()
        for fact in (_pause_of(self.job), _aside_of(self.job)):
            await trio.to_thread.run_sync(self._around.journal.set_fact, fact, b"")
        self.paused, self.aside = False, ""
        self.bulletin.tell("JobUnpaused", {})

    def give(self, given: Input) -> None:
        """Hand an input to the engine, if it can matter. Raises `OperatorFault` while the job is not run."""
        if self.paused or self.aside:
            standing = "set aside" if self.aside else "paused"
            raise OperatorFault(f"the job is {standing} here", remedy="`starling job resume` goes on with it")
        if self.settled:
            return
        if not self.live:
            raise OperatorFault(f"the job failed here: {self.trouble}", remedy="wait: it is tried again")
        self.engine.give(given)

    async def decided(self) -> None:
        """Return when the job is accepted here, or declined by anyone. Raises `OperatorFault` if it fails."""
        engine = self.engine
        while self.undecided:
            if engine.stopped:
                raise OperatorFault(
                    "the job failed meanwhile", remedy="see `starling job show`, and try again"
                )
            await engine.changed()

    def peer_up(self, contact: int) -> None:
        """A connection to a contact came up: tell it what it may have missed."""
        member = self.post.member_of(contact)
        if member is not None and self.live and not self.paused and not self.settled:
            self.engine.give(PeerUp(member))
            name = ("grant", (self.job, member))
            self._around.background.start(name, GRANT_SECONDS, lambda: self._send_grant(member))

    async def deliver(self, contact: int, envelope: Envelope) -> None:
        """Take in a message from a contact, at once: what takes time is done beside.

        Raises `MemberFault` for one that is not allowed.
        """
        member = self.post.member_of(contact)
        awake = self.live and not self.paused
        if member is None or (not awake and not isinstance(envelope.content, Grant)):
            return
        match envelope.content:
            case Core(data=data):
                await self._hear(Heard(member, data))
            case Grant(token=token):
                self.objects.grants[member] = token
                log.info("GrantReceived", other=member)
                await trio.to_thread.run_sync(self._around.journal.keep_grant, self.job, member, token)

    async def wanted(self, contact: int, what: KeyRound | OrderPart, size: int) -> Deliver:
        """Who takes a bulk message, once it is wanted. Raises a `StarlingError` if it never will be."""
        member = self.post.member_of(contact)
        if member is None:
            raise MemberFault("a bulk message for a job that it is no member of")
        if not self.live:
            raise OperatorFault("the job is not under way here")
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
        status = self.head_status
        records: list[tuple[int, bytes]] = []
        size, until = 0, 0 if status is None else status.snapshot
        for slot in self._around.journal.slots(question.head, authors)[question.after :]:
            size += len(slot.transaction) + RECORD_OVERHEAD
            if size > Order.LIMIT - RECORD_OVERHEAD or len(records) == Order.MAX_RECORDS:
                break
            records.append((slot.snapshot, slot.transaction))
        if status is not None and question.after + len(records) < status.slot:
            until = records[-1][0] - 1 if records else 0
        return Order(until, tuple(records)).to_bytes()

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
                await self._ledger_port.open_head(again=again)
            case effects.CloseHead():
                await self._ledger_port.close_head()
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
                await self._contribute(effect)
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

    async def _contribute(self, effect: effects.Contribute) -> None:
        """Contribute, unless another job has summed an update from the same data and model meanwhile."""
        journal = self._around.journal
        spent = await until_done(journal.spent, effect.model)
        data = data_of(self._around.config, self.manifest.task)
        others = others_with(data, self.job, spent)
        if others and not await until_done(journal.may_use_again, self.job):
            why = f"job {others[0].hex()[:16]} has summed an update from the same data and model"
            log.error("ContributionFailed", round=effect.round, reason=why)
            self.give(ContributionFailed(effect.round, why))
        else:
            await self._rounds.contribute(effect)

    async def _submit(self, record: Record) -> None:
        await self._ledger_port.submit(record)
        self.bulletin.tell("Submitted", {"kind": record.kind, "seq": record.seq})

    async def _recover_order(self, gap: HistoryGap, judge: Judge) -> tuple[Sequence[Recovered], bool]:
        before = gap.from_slot - 1
        await self.engine.wait_for(lambda state: state.history.slots >= before)
        digest = self.engine.state.history.order_at(before)
        if digest is None:
            raise gap
        return await self._gaps.fill(gap, self._ledger_port.status.head_id or "", digest, judge)

    async def _send_grant(self, member: int) -> None:
        try:
            token = await self.objects.grant_to(member, self.manifest.roster.member(member).peer)
            await self.post.say(member, Grant(token))
        except StarlingError as error:
            log.warning("GrantFailed", other=member, reason=str(error))

    async def _use_key(self, attempt: int) -> None:
        entries = await until_done(self._around.journal.entries, self.job)
        held = [entry for entry in entries if isinstance(entry, HeldShare) and entry.secret]
        await self._load_share(attempt, held)
        await until_done(self._around.journal.destroy_shares, self.job, attempt)

    async def _load_share(self, attempt: int, held: list[HeldShare]) -> None:
        for entry in held:
            if entry.attempt == attempt:
                await self._crypto.use_key(entry.secret)
                return
        log.error("KeyShareMissing", attempt=attempt)

    async def _follow_head(self, ledger: Anchors) -> None:
        """Look at the head while this member takes part: before and after, it is another job's."""
        await self.engine.wait_for(lambda state: state.life.accepted or self.over)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endless, partial(ledger.run, self._find_parties()))
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
            except Exception as error:  # a figure for people: no job ends for it
                log.warning("EvaluationFailed", round=number, reason=in_words(error))
            else:
                metrics = {name: float(value) for name, value in evaluation.metrics.items()}
                self.bulletin.measured(number, metrics)

    def _on_event(self, event: effects.Emit) -> None:
        fields = dict(event.arguments)
        if event.event == "EndRound":
            model = bytes.fromhex(str(fields["model"]))
            if self.weights.has(model):
                self._to_evaluate(int(str(fields["round"])), model)
        if event.event == "Observe" and fields.get("ignored"):
            self._floods.ignored(int(str(fields["author"])))
        self.bulletin.transition(event)

    def _to_evaluate(self, number: int, model: bytes) -> None:
        try:
            self._evaluated[0].send_nowait((number, model))
        except trio.WouldBlock:
            log.info("EvaluationSkipped", round=number)

    @property
    def _ledger_port(self) -> Anchors:
        assert self._anchors is not None, "the job was not opened"  # noqa: S101
        return self._anchors

    @property
    def head_status(self) -> LedgerStatus | None:
        """Where the head is; None of a job that could not be opened."""
        return None if self._anchors is None else self._anchors.status

    @property
    def submitted(self) -> int:
        """Records that went to the ledger since the job was opened."""
        return 0 if self._anchors is None else self._anchors.submitted

    @property
    def trouble(self) -> str:
        """What the job failed by, while it is tried again; why it was set aside, where it was."""
        return self.aside or self._compartment.trouble

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
        """Whether the job was accepted here, is not over, and neither paused nor set aside."""
        return self.engine.state.life.accepted and not self.over and not self.paused and not self.aside

    @property
    def live_here(self) -> bool:
        """Whether the job was accepted here, as far as is known, and is not over, whether it runs or not."""
        return self._anchors is None or not (self.over or self.undecided)

    @property
    def can_decline(self) -> bool:
        """Whether the operator can still say no, or take back a yes: not once there is a head for the job."""
        status = self.head_status
        return can_decline(self.engine.state) and (status is None or status.head_id is None)

    @property
    def never_began(self) -> bool:
        """Whether somebody declined the job while there was no head for it: it leaves nothing behind."""
        life = self.engine.state.life
        return life.declined is not None and life.head is Head.NONE and self.engine.state.held_back is None

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


def _aside_of(job: bytes) -> str:
    """The journal's fact that says why the job was set aside; empty where it is not."""
    return f"aside {job.hex()}"


def data_of(config: Config, task: str) -> Path:
    """The folder with this node's data for a task; `OperatorFault` where it has none."""
    data = config.learning.data.get(task)
    if data is None:
        raise OperatorFault(
            f"this node has no data for the task '{task}'",
            remedy=f"name a folder under [learning.data] {task} in its configuration",
        )
    return data.resolve()


def learner_config(config: Config, task: str, parameters: Mapping[str, object]) -> LearnerConfig:
    """How this node trains for a task; `OperatorFault` where it has no data for it."""
    data_of(config, task)
    return LearnerConfig(
        task=task,
        parameters=parameters,
        data=config.learning.data[task],
        device=config.learning.device,
        threads=config.learning.threads,
        nice=config.learning.nice,
        also_read=config.learning.also_read,
        confine=config.learning.confine,
    )
