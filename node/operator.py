"""What an operator asks of a running node, through the control socket: see `node.control`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
import trio

from node import VERSION
from node.confinement.policy import Confinement
from node.consent import Consent
from node.engine.job import JobNode, Surroundings, learner_config
from node.jobs import Jobs
from node.learning.learner import Learner
from node.logs import counted
from node.parties import own_hydra_key
from node.peers import Card, PeerBook
from node.proposal import build_manifest, parse_spec
from node.storage import collect
from node.views import head_view, job_summary, job_view, peer_view, round_views, storage_view, transfer_views
from node.warnings import Disk, warnings_of
from node.weights import encode_weights, weights_digest
from protocol.errors import OperatorFault
from protocol.inputs import JobDeclined, StopRequested
from protocol.manifest import Manifest, TensorSpec
from protocol.words import Reason

log = structlog.get_logger()


@dataclass(frozen=True)
class Operator:
    """Implements `node.control.api.Node`. `own` gives this member's card as it is now."""

    around: Surroundings
    running: Jobs
    book: PeerBook
    own: Callable[[], Card]
    addresses: Callable[[], Sequence[str]]
    stop_node: Callable[[], None]
    started: float

    def status(self) -> dict[str, Any]:
        """This node at a glance."""
        peers, head, config = self.peers(), self.head(), self.around.config
        return {
            "name": config.node.name,
            "version": VERSION,
            "peer": self.around.keys.identity.peer_id,
            "addresses": list(self.addresses()),
            "uptime_seconds": round(time.time() - self.started, 1),
            "peers_up": sum(bool(peer.get("connected")) for peer in peers),
            "peers": len(peers),
            "jobs": self.jobs(),
            "head": head,
            "learner": str(Confinement(off=not config.learning.confine).kept()),
            "transfers": transfer_views(self.running),
            "warnings": warnings_of(peers, head, Disk.at(config.node.state)),
            "events": dict(counted),
        }

    async def card(self) -> dict[str, Any]:
        """What this member tells others about itself; without a Hydra key where its hydra-node is away."""
        hydra = await own_hydra_key(self.around.config.ledger)
        return dict(msgspec.to_builtins(msgspec.structs.replace(self.own(), hydra=hydra)))

    def peers(self) -> list[dict[str, Any]]:
        """The peer book with where each peer stands."""
        standing = {peer.member: peer for peer in self.around.mesh.peers()}
        return [peer_view(card, standing.get(contact)) for contact, card in self.book.cards.items()]

    async def add_peer(self, card: Mapping[str, Any]) -> dict[str, Any]:
        """Put a card into the peer book and connect to it."""
        new = Card.of(card)
        if new.peer == self.around.keys.identity.peer_id:
            raise OperatorFault("this is this node's own card", remedy="add the cards of the others")
        known = self.book.contact(new.peer)
        if known is not None:
            await self.around.mesh.remove(known)
        contact = self.book.add(new)
        self.around.mesh.allow(contact, new.address())
        return {"contact": contact, "name": new.name}

    async def remove_peer(self, name: str) -> dict[str, Any]:
        """Take a peer out of the book and disconnect it."""
        contact = self.book.remove(name)
        await self.around.mesh.remove(contact)
        return {"contact": contact, "name": name}

    async def propose(self, spec: Mapping[str, Any], *, reuse_data: bool = False) -> dict[str, Any]:
        """Make a job from a specification, accept it here, and propose it to its members.

        Raises `NotConsented` where another job has, or had, the same data, unless `reuse_data` says so.
        """
        self.running.check_turn()
        manifest = await self._manifest(spec)
        manifest.check()
        if manifest.allow_insecure_key and not self.around.config.policy.insecure_keys:
            raise OperatorFault(
                "this node does not take part in jobs with insecure keys",
                remedy="set policy.insecure_keys for tests, or choose the key profile 'fast' or 'standard'",
            )
        me = manifest.roster.index_of_peer(self.around.keys.identity.peer_id) or 0
        return job_summary(await self.running.propose(manifest, me, Consent(again=reuse_data)))

    async def _manifest(self, spec: Mapping[str, Any]) -> Manifest:
        cards = self._cards_named(spec.get("members"))
        wanted = parse_spec(spec)
        async with Learner(learner_config(self.around.config, wanted.task, wanted.parameters)) as learner:
            description = await learner.describe()
            initial = await learner.initial_model()
        specs = tuple(TensorSpec(each.name, each.shape, each.clip or 1.0) for each in description.shared)
        named = {each.name: tensor for each, tensor in zip(specs, initial, strict=True)}
        model = weights_digest(encode_weights(specs, named))
        return build_manifest(spec, cards, description.shared, model, description.parameters)

    def _cards_named(self, names: object) -> list[Card]:
        """The cards of the named members in a fixed order, this node's included."""
        name = self.around.config.node.name
        known = {card.name: card for card in self.book.cards.values()} | {name: self.own()}
        wanted = list(known) if names is None else names
        if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
            raise OperatorFault("members is not a list of names", remedy="see config/job.example.toml")
        if missing := [each for each in wanted if each not in known]:
            raise OperatorFault(f"unknown members: {missing}", remedy="see `starling peers`")
        return [known[each] for each in sorted({name, *wanted})]

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, a few words each."""
        return [job_summary(job) for job in self.running]

    def job(self, prefix: str) -> dict[str, Any]:
        """One job in full."""
        return job_view(self.running.find(prefix))

    def rounds(self, prefix: str) -> list[dict[str, Any]]:
        """The rounds of a job so far."""
        return round_views(self.running.find(prefix))

    async def accept(
        self, prefix: str, *, acknowledge_leaks: bool = False, reuse_data: bool = False
    ) -> dict[str, Any]:
        """Accept a proposed job, after checking that this node can take part.

        Raises `NotConsented` for one that leaks unless that is acknowledged, and where another job has, or
        had, the same data, unless `reuse_data` says so.
        """
        job = self.running.find(prefix)
        await self.running.accept(job, Consent(leaks=acknowledge_leaks, again=reuse_data))
        return job_summary(job)

    def decline(self, prefix: str, reason: Reason, note: str) -> dict[str, Any]:
        """Decline a proposed job, or take back that it was accepted while there is no head for it.

        `note` stays in this node's log. Raises `OperatorFault` where it is too late for that.
        """
        job = self.running.find(prefix)
        if job.over:
            raise OperatorFault("the job is over, or declined already", remedy="nothing is to be done")
        if not job.can_decline:
            raise OperatorFault("the job has begun", remedy="vote to end it: `starling job stop`")
        _keep_note(job, note)
        job.give(JobDeclined(reason))
        return job_summary(job)

    async def pause(self, prefix: str) -> dict[str, Any]:
        """Stop taking part in a job until `resume`, also across restarts."""
        job = self.running.find(prefix)
        await job.pause()
        return job_summary(job)

    async def resume(self, prefix: str) -> dict[str, Any]:
        """Go on with a paused job."""
        job = self.running.find(prefix)
        await self.running.resume(job)
        return job_summary(job)

    def stop(self, prefix: str, reason: Reason, note: str) -> dict[str, Any]:
        """Vote to end a job; `note` stays in this node's log."""
        job = self.running.find(prefix)
        _keep_note(job, note)
        job.give(StopRequested(reason))
        return job_summary(job)

    async def export_model(self, prefix: str, path: str) -> dict[str, Any]:
        """Write the current global model as a NumPy archive of named tensors.

        Raises `OperatorFault` where it is not there yet, or where this process may not write.
        """
        job = self.running.find(prefix)
        model = job.engine.state.history.model
        if not job.weights.has(model):
            raise OperatorFault(
                "the current model is not at this node yet", remedy="wait for the round's end"
            )
        weights = await trio.to_thread.run_sync(job.weights.get, model)
        try:
            await trio.to_thread.run_sync(lambda: np.savez(Path(path), allow_pickle=False, **weights))
        except OSError as error:
            raise OperatorFault(
                f"the node cannot write {path}: {error.strerror}",
                remedy="name a place where its user and its unit let it write, such as "
                f"{self.around.config.node.state / 'model.npz'}",
            ) from error
        return {"path": path, "model": model.hex(), "tensors": len(weights)}

    def head(self, prefix: str | None = None) -> dict[str, Any]:
        """The Hydra head of a job, by default the foremost."""
        job = self.running.foremost if prefix is None else self.running.find(prefix)
        return head_view(job) if job is not None else {"state": "no job yet", "waits_for": ""}

    async def clean(self, prefix: str) -> dict[str, Any]:
        """Remove the objects of a job that is over: from the own bucket, with the credential that may delete,
        and from the node's state, all but the joint model.

        Raises `OperatorFault` while the job runs: members that are behind may still need them.
        """
        job = self.running.find(prefix)
        if not job.over:
            raise OperatorFault("the job is not settled yet", remedy="wait until it is over")
        found = await collect(self.around.bucket, job.job.hex())
        files, size = await trio.to_thread.run_sync(job.objects.discard, job.engine.state.history.model)
        return {
            "job": job.job.hex(),
            "removed": found.objects,
            "bytes": found.size,
            "left": found.left,
            "files": files,
            "file_bytes": size,
        }

    def storage(self) -> dict[str, Any]:
        """The own bucket, what is moving, and what was moved."""
        config = self.around.config
        return {
            "kind": config.storage.kind,
            "place": self.around.bucket.place,
            "transfers": transfer_views(self.running),
            "jobs": [storage_view(job) for job in self.running],
        }

    def subscribe(self, prefix: str | None) -> trio.MemoryReceiveChannel[dict[str, Any]]:
        """Events of one job, by default the foremost, from now on."""
        foremost = self.running.foremost
        job = foremost if prefix is None and foremost is not None else self.running.find(prefix or "")
        return job.bulletin.subscribe()

    def shutdown(self) -> None:
        """Stop all services; what is in flight is in the journal."""
        self.stop_node()


def _keep_note(job: JobNode, note: str) -> None:
    if note:
        log.info("OperatorNote", job=job.job.hex(), note=note)
