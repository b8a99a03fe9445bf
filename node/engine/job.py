"""One job at one node: the engine with everything it needs to carry out its effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import trio

from node.config import Config
from node.crypto.service import CryptoWorker
from node.engine.anchors import Anchors, known_head, make_ledger
from node.engine.engine import Engine
from node.engine.gaps import Gaps
from node.engine.keymaking import Mailbox, make_key
from node.engine.objects import Objects
from node.engine.rounds import RoundWork
from node.envelope import Core, Envelope, Grant, KeyRound, OrderPart, OrderWanted
from node.files import private_directory
from node.journal import Journal
from node.keys import NodeKeys
from node.learning.learner import Learner, LearnerConfig
from node.ledger.client.node import HydraNode
from node.ledger.client.order import Recovered
from node.ledger.client.session import Timing
from node.ledger.errors import HistoryGap
from node.ledger.transaction import UTxO
from node.logs import EVENT_VERSION
from node.network import Mesh, NotConnected
from node.storage import Admission, Bucket
from node.weights import WeightStore, encode_weights, weights_digest
from node.workers.wire import Progress
from protocol import core, effects
from protocol.errors import OperatorFault, StarlingError
from protocol.history import Phase
from protocol.inputs import Heard, Input, MembershipProved, PeerUp
from protocol.journal import HeldShare
from protocol.manifest import Manifest
from protocol.membership import prove_membership
from protocol.messages import Message
from protocol.records import Record
from protocol.state import Head

BULK_BYTES = 512 * 1024
"""Envelopes larger than this go as bulk transfers, beside the stream that carries the small ones."""

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


@dataclass
class Shown:
    """What people may want to know of a job, as it comes in: progress, metrics per round, bytes."""

    progress: dict[str, Progress] = field(default_factory=dict)
    rounds: dict[int, dict[str, float]] = field(default_factory=dict)


class JobNode:
    """A job that runs here. `run` it in the daemon's nursery; messages come in through `deliver`."""

    def __init__(
        self, surroundings: Surroundings, manifest: Manifest, me: int, contacts: Mapping[int, int]
    ) -> None:
        self.manifest = manifest
        self.me = me
        self.shown = Shown()
        self._around = surroundings
        self._contacts = dict(contacts)
        self._listeners: set[trio.MemorySendChannel[dict[str, Any]]] = set()
        self.job = manifest.job
        folder = private_directory(surroundings.config.node.state / "jobs" / self.job.hex()[:16])
        self.folder = folder
        self.objects = Objects(
            self.job,
            private_directory(folder / "objects"),
            surroundings.bucket,
            surroundings.mesh,
            self._contacts,
            surroundings.keys.identity.peer_id,
            surroundings.admission,
            surroundings.journal.grants(self.job),
            surroundings.config.storage.retention_days,
        )
        self.weights = WeightStore(folder / "objects", manifest.encoding.tensors)
        learning = surroundings.config.learning
        self._crypto = CryptoWorker(manifest, me, learning.nice, learning.threads, self._on_progress)
        self._mailbox = Mailbox()
        self._gaps = Gaps(sorted(self._contacts), self._say_or_fail)
        self.engine: Engine
        self.anchors: Anchors
        self._rounds: RoundWork
        self._learner = Learner(
            learner_config(surroundings.config, manifest.task, manifest.parameters), self._on_progress
        )
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
        """Rebuild the state from the journal. Raises a `StarlingError` if that cannot be."""
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
            parties=[bytes.fromhex(party) for party in config.parties],
            mainnet=config.mainnet,
            timing=Timing(confirm=config.confirm_seconds),
        )
        after = slots[-1].confirmed.slot if slots else 0
        funds, give = self._around.funds, self.engine.give
        self.anchors = Anchors(ledger, journal, self.job, authors, after, funds, give)
        self._rounds = RoundWork(
            self.manifest,
            self.me,
            self.objects,
            self.weights,
            self._learner,
            self._crypto,
            self._around.keys.journal + self.job,
            self.engine.give,
            self._tell,
        )

    async def run(self) -> None:
        """Take part until cancelled; `open` comes first."""
        history = self.engine.state.history
        try:
            if history.key is not None:
                await self._use_key(history.attempt)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.anchors.run)
                nursery.start_soon(self._evaluate_models)
                nursery.start_soon(self.engine.run, self._perform)
        finally:
            with trio.CancelScope(shield=True):
                await self._crypto.aclose()
                await self._learner.aclose()

    def give(self, given: Input) -> None:
        """Hand an input to the engine."""
        self.engine.give(given)

    async def peer_up(self, contact: int) -> None:
        """A connection to a contact came up: tell it what it may have missed."""
        member = self._member_of(contact)
        if member is not None:
            self.give(PeerUp(member))
            await self._send_grant(member)

    async def deliver(self, contact: int, envelope: Envelope) -> None:
        """Take in a message from a contact. Raises `MemberFault` for one that is not allowed."""
        member = self._member_of(contact)
        if member is None:
            return
        match envelope.content:
            case Core(data=data):
                self.give(Heard(member, data))
            case KeyRound():
                self._mailbox.put(member, envelope.content)
            case OrderWanted(head=head, after=after):
                await self._send_order(member, head, after)
            case OrderPart():
                self._gaps.answered(envelope.content)
            case Grant(token=token):
                await trio.to_thread.run_sync(self._around.journal.keep_grant, self.job, member, token)
                self.objects.grants[member] = token
                log.info("GrantReceived", other=member)

    def subscribe(self) -> trio.MemoryReceiveChannel[dict[str, Any]]:
        """All that is told about the job from now on; a listener that is too slow misses some."""
        send, receive = trio.open_memory_channel[dict[str, Any]](1000)
        self._listeners.add(send)
        return receive

    def _member_of(self, contact: int) -> int | None:
        return next((member for member, number in self._contacts.items() if number == contact), None)

    async def _perform(self, effect: effects.Effect) -> None:
        """Carry out one effect of the core."""
        match effect:
            case effects.Submit(record=record):
                await self._submit(record)
            case effects.Say(members=members, message=message):
                data = Message(message).to_bytes()
                for member in members:
                    await self._say(member, Core(data))
            case effects.ProveMembership():
                proof = prove_membership(self.manifest, self.me, self._around.keys.job)
                self.give(MembershipProved(proof))
            case effects.OpenHead():
                await self.anchors.open_head()
            case effects.CloseHead():
                await self.anchors.close_head()
            case effects.MakeKey(attempt=attempt):
                others = sorted(self._contacts)
                self.give(await make_key(attempt, others, self._crypto, self._mailbox, self._send))
            case effects.CancelKey():
                self._mailbox.forget_before(effect.attempt + 1)
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
        self._tell("Submitted", {"kind": record.kind, "seq": record.seq})

    async def _say(self, member: int, content: Core | Grant) -> None:
        """Send once; a member that is away hears it again when it is up."""
        envelope = Envelope(self.job, content).to_bytes()
        try:
            await self._around.mesh.send(self._contacts[member], envelope)
        except NotConnected:
            log.debug("PeerAway", other=member)

    async def _say_or_fail(self, member: int, content: OrderWanted) -> None:
        await self._around.mesh.send(self._contacts[member], Envelope(self.job, content).to_bytes())

    async def _recover_order(self, gap: HistoryGap) -> Sequence[Recovered]:
        return await self._gaps.fill(gap, self.anchors.status.head_id or "")

    async def _send_order(self, member: int, head: str, after: int) -> None:
        """Tell a member what its hydra-node has forgotten, as far as this one kept it."""
        authors = [each.payment.hex() for each in self.manifest.roster.members]
        kept = await trio.to_thread.run_sync(self._around.journal.slots, head, authors)
        records = tuple((slot.confirmed.author, slot.confirmed.data) for slot in kept[after:])
        await self._send(member, OrderPart(head, after, records))

    async def _send(self, member: int, message: KeyRound | OrderPart) -> None:
        envelope = await trio.to_thread.run_sync(Envelope(self.job, message).to_bytes)
        await self._around.mesh.send_bulk(self._contacts[member], envelope)

    async def _send_grant(self, member: int) -> None:
        try:
            token = await self.objects.grant_to(member, self.manifest.roster.member(member).peer)
            await self._say(member, Grant(token))
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

    async def _evaluate_models(self) -> None:
        async for number, model in self._evaluated[1]:
            try:
                evaluation = await self._rounds.evaluate(number, model)
            except StarlingError as error:
                log.warning("EvaluationFailed", round=number, reason=str(error))
            else:
                metrics = {name: float(value) for name, value in evaluation.metrics.items()}
                self.shown.rounds.setdefault(number, {}).update(metrics)

    def _on_event(self, event: effects.Emit) -> None:
        fields = dict(event.arguments)
        if event.event == "EndRound":
            model = bytes.fromhex(str(fields["model"]))
            if self.weights.has(model):
                self._evaluated[0].send_nowait((int(str(fields["round"])), model))
        self._broadcast({"event": event.event, "slot": event.slot, **fields})

    def _on_progress(self, progress: Progress) -> None:
        self.shown.progress[progress.stage] = progress
        self._broadcast(
            {
                "event": "Progress",
                "stage": progress.stage,
                "done": progress.done,
                "total": progress.total,
                "metrics": dict(progress.metrics),
            }
        )

    def _tell(self, event: str, fields: dict[str, Any]) -> None:
        log.info(event, job=self.job.hex(), member=self.me, **fields)
        self._broadcast({"event": event, **fields})

    def _broadcast(self, message: dict[str, Any]) -> None:
        for listener in list(self._listeners):
            try:
                listener.send_nowait(message)
            except trio.WouldBlock:
                continue
            except trio.BrokenResourceError:
                self._listeners.discard(listener)

    def has_contact(self, contact: int) -> bool:
        """Whether a contact is a member of this job."""
        return self._member_of(contact) is not None

    async def export(self, path: Path) -> dict[str, Any]:
        """Write the current global model as a NumPy archive of named tensors."""
        model = self.engine.state.history.model
        if not self.weights.has(model):
            raise OperatorFault(
                "the current model is not at this node yet", remedy="wait for the round's end"
            )
        weights = await trio.to_thread.run_sync(self.weights.get, model)
        await trio.to_thread.run_sync(lambda: np.savez(path, allow_pickle=False, **weights))
        return {"path": str(path), "model": model.hex(), "tensors": len(weights)}

    def head_view(self) -> dict[str, Any]:
        """The head as operators see it."""
        status = self.anchors.status
        return {
            "state": status.state.value,
            "waits_for": status.waits_for,
            "since": status.since,
            "head_id": status.head_id,
            "slot": status.slot,
            "snapshot": status.snapshot,
            "unsent": status.unsent,
            "submitted": self.anchors.submitted,
        }

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, settlement included."""
        state = self.engine.state
        return bool(state.life.declined) or (state.life.ended and state.life.head is Head.SETTLED)

    @property
    def phase(self) -> Phase:
        """Where the job is."""
        return self.engine.state.history.phase


def roster_line(manifest: Manifest) -> dict[str, object]:
    """What trace checking has to know of the job, as a log line's fields."""
    return {
        "v": EVENT_VERSION,
        "job": manifest.job.hex(),
        "members": manifest.roster.size,
        "threshold": manifest.thresholds.shares,
        "quorum": manifest.thresholds.quorum,
        "rounds": manifest.rounds,
        "round_limit": manifest.round_limit,
        "key_attempts": manifest.key_attempts,
        "byzantine": [],
    }


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
