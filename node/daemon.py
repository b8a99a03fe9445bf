"""starlingd: starts and supervises a member's services in one nursery, and answers its operator.

starlingd --config node.toml
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
import trio
from trio_typing import TaskStatus

from node import VERSION
from node.bucket import admission, own_bucket
from node.card import own_card
from node.config import Config, load_config
from node.control.server import ControlServer
from node.engine.job import JobNode, Surroundings, learner_config
from node.envelope import Core, Envelope
from node.files import private_directory
from node.funds import Funds
from node.journal import Journal
from node.keys import NodeKeys, load_keys
from node.learning.learner import Learner
from node.logs import counted, setup_logs
from node.network import DiscoverySettings, Mesh, PeerAddress, PeerDown, PeerUp
from node.notify import keep_watchdog, notify
from node.peers import Card, PeerBook
from node.proposal import build_manifest, parse_spec
from node.storage import collect
from node.views import job_summary, job_view, peer_view, round_views
from node.weights import encode_weights, weights_digest
from protocol.errors import MemberFault, OperatorFault, StarlingError
from protocol.inputs import JobAccepted, JobDeclined, StopRequested
from protocol.manifest import Manifest, TensorSpec
from protocol.messages import Message, Propose

log = structlog.get_logger()

MAX_OPEN_PROPOSALS = 16
"""Jobs that may wait for the operator at once: a peer cannot fill the disk with proposals."""


class Daemon:
    """One member's node. `run` until `shutdown`, a signal, or a fault that needs the operator."""

    def __init__(self, config: Config) -> None:
        """Open everything that may be wrong in configuration or on disk; `OperatorFault` says what is."""
        self.config = config
        self._keys: NodeKeys = load_keys(config.node.state)
        private_directory(config.node.state)
        self._journal = Journal(config.node.state / "journal.sqlite", self._keys.journal)
        self._book = PeerBook(config.node.state / "peers.json")
        self._mesh = self._make_mesh()
        self._around = Surroundings(
            config=config,
            keys=self._keys,
            journal=self._journal,
            mesh=self._mesh,
            bucket=own_bucket(config),
            admission=admission(config),
            funds=Funds(config.ledger, self._keys.wallet),
        )
        self._jobs: dict[bytes, JobNode] = {}
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._started = time.time()
        self._addresses: tuple[str, ...] = config.network.listen

    def _make_mesh(self) -> Mesh:
        network = self.config.network
        roster = {contact: card.address() for contact, card in self._book.cards.items()}
        bootstrap = tuple(PeerAddress(text.rpartition("/p2p/")[2], (text,)) for text in network.bootstrap)
        settings = DiscoverySettings(mdns=network.mdns, dht=network.dht, bootstrap=bootstrap)

        async def blobs(member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
            for job in self._jobs.values():
                if job.has_contact(member):
                    found = await job.objects.serve(digest, size)
                    if found is not None:
                        return found
            return None

        return Mesh(self._keys.identity, network.listen, roster, blobs=blobs, discovery=settings)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until shut down. Raises `OperatorFault` for what only an operator can mend."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    addresses = await nursery.start(self._mesh.run)
                    self._addresses = tuple(str(address) for address in addresses)
                    nursery.start_soon(self._pump_messages)
                    nursery.start_soon(self._pump_peers)
                    await nursery.start(ControlServer(self, self.config.socket).run)
                    self._resume_jobs()
                    nursery.start_soon(keep_watchdog)
                    notify("READY=1")
                    log.info("DaemonReady", peer=self._keys.identity.peer_id, socket=str(self.config.socket))
                    task_status.started()
        finally:
            notify("STOPPING=1")
            self._journal.close()
            log.info("DaemonStopped")

    def shutdown(self) -> None:
        """Stop all services; what is in flight is in the journal."""
        self._scope.cancel()

    # Jobs

    def _resume_jobs(self) -> None:
        """Go on with every job in the journal; one that cannot go on is logged, and costs no other."""
        for stored in self._journal.jobs():
            try:
                self._begin(stored.manifest, stored.me)
            except StarlingError as error:
                log.error("JobNotResumed", job=stored.manifest.job.hex(), reason=str(error))

    def _begin(self, manifest: Manifest, me: int) -> JobNode:
        """Run a job's engine. Its core is told what peers are there."""
        if self._nursery is None:
            raise OperatorFault("the daemon is not running")
        contacts = self._book.roster_contacts(manifest.roster, self._keys.identity.peer_id)
        job = JobNode(self._around, manifest, me, contacts)
        job.open()
        self._jobs[manifest.job] = job
        self._nursery.start_soon(self._run_job, job)
        return job

    async def _run_job(self, job: JobNode) -> None:
        for peer in self._mesh.peers():
            if peer.connected_since is not None:
                await job.peer_up(peer.member)
        await job.run()

    async def _pump_messages(self) -> None:
        async for received in self._mesh.messages:
            try:
                await self._take(received.member, received.message)
            except StarlingError as error:
                log.warning("MessageRefused", contact=received.member, reason=str(error)[:500])

    async def _take(self, contact: int, message: bytes) -> None:
        envelope = await trio.to_thread.run_sync(Envelope.from_bytes, message)
        job = self._jobs.get(envelope.job)
        if job is not None:
            await job.deliver(contact, envelope)
        elif isinstance(envelope.content, Core):
            await self._take_proposal(contact, Message.from_bytes(envelope.content.data))

    async def _take_proposal(self, contact: int, message: Message) -> None:
        """A peer proposes a job that is new here: remember it, and ask the operator or the policy."""
        if not isinstance(message.content, Propose):
            return
        manifest = message.content.manifest
        manifest.check()
        me = manifest.roster.index_of_peer(self._keys.identity.peer_id)
        proposer = manifest.roster.index_of_peer(self._book.cards[contact].peer)
        if me is None or proposer is None:
            raise MemberFault("a proposal whose roster lacks its sender or this node")
        if manifest.roster.member(me) != self._own_card().member():
            raise MemberFault("a proposal with other keys for this node", member=proposer)
        if manifest.allow_insecure_key and not self.config.policy.insecure_keys:
            raise MemberFault("a proposal with an insecure key", member=proposer)
        if sum(not job.engine.state.life.accepted for job in self._jobs.values()) >= MAX_OPEN_PROPOSALS:
            raise MemberFault("too many proposals wait for the operator", member=proposer)
        await trio.to_thread.run_sync(self._journal.add_job, manifest, me)
        job = self._begin(manifest, me)
        log.info("JobProposed", job=manifest.job.hex(), name=manifest.name, proposer=proposer)
        if self.config.policy.accept == "known-peers" and self._nursery is not None:
            self._nursery.start_soon(self._accept_by_policy, job)

    async def _accept_by_policy(self, job: JobNode) -> None:
        with contextlib.suppress(StarlingError):  # logged, and the job declined, where it was raised
            await self._accept(job)

    async def _accept(self, job: JobNode, *, proposing: bool = False) -> None:
        try:
            await job.prepare()
        except StarlingError as error:
            log.error("JobNotPossible", job=job.job.hex(), reason=str(error))
            job.give(JobDeclined(str(error)[:200]))
            raise
        job.give(JobAccepted(proposing))

    # What operators ask for; see `node.control`

    def status(self) -> dict[str, Any]:
        """This node at a glance."""
        up = [peer for peer in self._mesh.peers() if peer.connected_since is not None]
        return {
            "name": self.config.node.name,
            "version": VERSION,
            "peer": self._keys.identity.peer_id,
            "addresses": list(self._addresses),
            "uptime_seconds": round(time.time() - self._started, 1),
            "peers_up": len(up),
            "peers": len(self._book.cards),
            "jobs": self.jobs(),
            "head": self.head(),
            "events": dict(counted),
        }

    def card(self) -> dict[str, Any]:
        """What this member tells others about itself."""
        return dict(vars_of(self._own_card()))

    def _own_card(self) -> Card:
        return own_card(self.config, self._keys, self._addresses)

    def peers(self) -> list[dict[str, Any]]:
        """The peer book with where each peer stands."""
        standing = {peer.member: peer for peer in self._mesh.peers()}
        return [peer_view(card, standing.get(contact)) for contact, card in self._book.cards.items()]

    async def add_peer(self, card: Mapping[str, Any]) -> dict[str, Any]:
        """Put a card into the peer book and connect to it."""
        new = Card.of(card)
        if new.peer == self._keys.identity.peer_id:
            raise OperatorFault("this is this node's own card", remedy="add the cards of the others")
        known = self._book.contact(new.peer)
        if known is not None:
            await self._mesh.remove(known)
        contact = self._book.add(new)
        self._mesh.allow(contact, new.address())
        return {"contact": contact, "name": new.name}

    async def remove_peer(self, name: str) -> dict[str, Any]:
        """Take a peer out of the book and disconnect it."""
        contact = self._book.remove(name)
        await self._mesh.remove(contact)
        return {"contact": contact, "name": name}

    async def propose(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Make a job from a specification, accept it here, and propose it to its members."""
        cards = self._cards_named(spec.get("members"))
        wanted = parse_spec(spec)
        async with Learner(learner_config(self.config, wanted.task, wanted.parameters)) as learner:
            description = await learner.describe()
            initial = await learner.initial_model()
        specs = tuple(TensorSpec(each.name, each.shape, each.clip or 1.0) for each in description.shared)
        named = {each.name: tensor for each, tensor in zip(specs, initial, strict=True)}
        model = weights_digest(encode_weights(specs, named))
        manifest = build_manifest(spec, cards, description.shared, model, description.parameters)
        manifest.check()
        if manifest.allow_insecure_key and not self.config.policy.insecure_keys:
            raise OperatorFault(
                "this node does not take part in jobs with insecure keys",
                remedy="set policy.insecure_keys for tests, or choose the key profile 'fast' or 'standard'",
            )
        me = manifest.roster.index_of_peer(self._keys.identity.peer_id) or 0
        await trio.to_thread.run_sync(self._journal.add_job, manifest, me)
        job = self._begin(manifest, me)
        log.info("JobProposed", job=manifest.job.hex(), name=manifest.name, proposer=me)
        await self._accept(job, proposing=True)
        return job_summary(job)

    def _cards_named(self, names: object) -> list[Card]:
        """The cards of the named members in a fixed order, this node's included."""
        known = {card.name: card for card in self._book.cards.values()}
        known[self.config.node.name] = self._own_card()
        wanted = list(known) if names is None else names
        if not isinstance(wanted, list) or not all(name in known for name in wanted):
            missing = [name for name in wanted if name not in known] if isinstance(wanted, list) else names
            raise OperatorFault(f"unknown members: {missing}", remedy="see `starling peers`")
        if self.config.node.name not in wanted:
            wanted = [self.config.node.name, *wanted]
        return [known[name] for name in sorted(wanted)]

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, a few words each."""
        return [job_summary(job) for job in self._jobs.values()]

    def job(self, prefix: str) -> dict[str, Any]:
        """One job in full."""
        return job_view(self._find(prefix))

    def rounds(self, prefix: str) -> list[dict[str, Any]]:
        """The rounds of a job so far."""
        return round_views(self._find(prefix))

    async def accept(self, prefix: str) -> dict[str, Any]:
        """Accept a proposed job, after checking that this node can take part."""
        job = self._find(prefix)
        await self._accept(job)
        return job_summary(job)

    def decline(self, prefix: str, reason: str) -> dict[str, Any]:
        """Decline a proposed job."""
        job = self._find(prefix)
        job.give(JobDeclined(reason))
        return job_summary(job)

    def stop(self, prefix: str, reason: str) -> dict[str, Any]:
        """Vote to end a job."""
        job = self._find(prefix)
        job.give(StopRequested(reason))
        return job_summary(job)

    async def export_model(self, prefix: str, path: str) -> dict[str, Any]:
        """Write the current global model as a NumPy archive of named tensors."""
        return await self._find(prefix).export(Path(path))

    def head(self) -> dict[str, Any]:
        """The Hydra head of the newest job."""
        newest = next(reversed(self._jobs.values()), None)
        return newest.head_view() if newest is not None else {"state": "no job yet", "waits_for": ""}

    async def clean(self, prefix: str) -> dict[str, Any]:
        """Remove the objects of a job that is over from the own bucket, with the credential that may delete.

        Raises `OperatorFault` while the job runs: members that are behind may still need them.
        """
        job = self._find(prefix)
        if not job.over:
            raise OperatorFault("the job is not settled yet", remedy="wait until it is over")
        found = await collect(self._around.bucket, job.job.hex())
        return {"job": job.job.hex(), "removed": found.objects, "bytes": found.size, "left": found.left}

    def storage(self) -> dict[str, Any]:
        """The own bucket and what was moved."""
        return {
            "kind": self.config.storage.kind,
            "path": str(self.config.bucket_path),
            "jobs": [
                {
                    "job": job.job.hex(),
                    "fetched_bytes": job.objects.moved_in,
                    "sent_bytes": job.objects.moved_out,
                    "grants": sorted(job.objects.grants),
                }
                for job in self._jobs.values()
            ],
        }

    def subscribe(self, prefix: str | None) -> trio.MemoryReceiveChannel[dict[str, Any]]:
        """Events of one job, by default the newest, from now on."""
        if prefix is None and self._jobs:
            return next(reversed(self._jobs.values())).subscribe()
        return self._find(prefix or "").subscribe()

    def _find(self, prefix: str) -> JobNode:
        found = [job for digest, job in self._jobs.items() if digest.hex().startswith(prefix.lower())]
        if len(found) != 1 or len(prefix) < 4:
            raise OperatorFault(
                f"{'no' if not found else 'more than one'} job begins with {prefix!r}",
                remedy="see `starling job list`",
            )
        return found[0]

    async def _pump_peers(self) -> None:
        async for event in self._mesh.events:
            match event:
                case PeerUp(member=contact):
                    for job in list(self._jobs.values()):
                        await job.peer_up(contact)
                case PeerDown():
                    continue  # the mesh has logged it, and redials


def vars_of(card: Card) -> dict[str, Any]:
    """A card as plain values."""
    return {name: getattr(card, name) for name in card.__struct_fields__} | {
        "addresses": list(card.addresses)
    }


async def serve(config: Config) -> None:
    """Run a daemon until SIGTERM or SIGINT."""
    daemon = Daemon(config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, daemon.shutdown, nursery.cancel_scope)
        await daemon.run()
        nursery.cancel_scope.cancel()


async def _stop_on_signal(stop: Callable[[], None], scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for number in received:
            log.info("DaemonStopping", signal=signal.Signals(number).name)
            stop()


def main() -> int:
    """The command `starlingd`. Exit code 1: the operator has to mend something, which is said."""
    parser = argparse.ArgumentParser(prog="starlingd", description="The daemon of one Starling member.")
    parser.add_argument("--config", type=Path, default=Path("/etc/starling/node.toml"))
    parser.add_argument("--check", action="store_true", help="check configuration and keys, then exit")
    arguments = parser.parse_args()
    try:
        config = load_config(arguments.config)
        if arguments.check:
            load_keys(config.node.state)
            return 0
        setup_logs(config.log.file, config.log.level, node=config.node.name)
        trio.run(serve, config)
    except StarlingError as error:
        return _complain(error)
    except BaseExceptionGroup as group:
        found = _first_of(group)
        if found is None:
            raise
        return _complain(found)
    return 0


def _first_of(group: BaseExceptionGroup[BaseException]) -> StarlingError | None:
    """The deliberate error in a group, if all that is in it is deliberate."""
    known, other = group.split(StarlingError)
    if other is not None or known is None:
        return None
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, StarlingError) else None


def _complain(error: StarlingError) -> int:
    if structlog.is_configured():
        log.error("DaemonFailed", reason=str(error))
    sys.stderr.write(f"starlingd: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
