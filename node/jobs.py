"""The jobs of a node: those in its journal, and those that peers propose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import structlog
import trio
from trio_typing import TaskStatus

from node.consent import Consent, NotConsented, check_consent, check_policy
from node.engine.answers import Answers
from node.engine.job import JobNode, Surroundings
from node.envelope import Core, Envelope, Label, OrderWanted
from node.network import Deliver
from node.peers import Card, PeerBook
from protocol.errors import MemberFault, OperatorFault, StarlingError
from protocol.inputs import JobAccepted, JobDeclined
from protocol.manifest import Manifest
from protocol.messages import Message, Propose
from protocol.words import Reason

log = structlog.get_logger()

TURN_SECONDS = 1.0
"""Between looks at whether the job before is over."""

MAX_OPEN_PROPOSALS = 16
"""Jobs that may wait for the operator at once: a peer cannot fill the disk with proposals."""


class NotItsTurn(OperatorFault):
    """The node takes part in another job."""


class Jobs:
    """Runs every job in a task of its own. `own` gives this member's card as it is now."""

    def __init__(self, around: Surroundings, book: PeerBook, own: Callable[[], Card]) -> None:
        self._around = around
        self._book = book
        self._own = own
        self._jobs: dict[bytes, JobNode] = {}
        self._nursery: trio.Nursery | None = None
        self._accepting = trio.Lock()
        self._answers = Answers()

    def __iter__(self) -> Iterator[JobNode]:
        return iter(list(self._jobs.values()))

    @property
    def current(self) -> JobNode | None:
        """The job that this node takes part in. It is one at a time, since its hydra-node has one head."""
        return next((job for job in self if job.takes_part), None)

    @property
    def foremost(self) -> JobNode | None:
        """The job that somebody who names none means: the current one, or else the one proposed last."""
        return self.current or next(reversed(self._jobs.values()), None)

    def check_turn(self, job: JobNode | None = None) -> None:
        """Raise `NotItsTurn` while another job than this one (or than a new one) runs."""
        busy = self.current
        if busy is not None and busy is not job:
            name = f"{busy.job.hex()[:16]} ({busy.manifest.name})"
            raise NotItsTurn(
                f"a node takes part in one job at a time, this one now in {name}",
                remedy="wait until it is over (`starling watch`); or end it with `starling job stop`, or "
                "`starling job decline` if it has not begun; `starling job pause` sets it aside",
            )

    def find(self, prefix: str) -> JobNode:
        """The job whose digest begins so. Raises `OperatorFault` where there is not just one."""
        found = [job for digest, job in self._jobs.items() if digest.hex().startswith(prefix.lower())]
        if len(found) != 1 or len(prefix) < 4:
            raise OperatorFault(
                f"{'no' if not found else 'more than one'} job begins with {prefix!r}",
                remedy="see `starling job list`",
            )
        return found[0]

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with every job in the journal, and with those that come; started when the old ones are open.

        A job that cannot go on is logged, and costs no other.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._answers.run)
            for stored in self._around.journal.jobs():
                try:
                    job = self.begin(stored.manifest, stored.me)
                except StarlingError as error:
                    log.error("JobNotResumed", job=stored.manifest.job.hex(), reason=str(error))
                else:
                    self._accept_by_policy(job)
            task_status.started()
            await trio.sleep_forever()

    async def propose(self, manifest: Manifest, me: int) -> JobNode:
        """Remember a job of this node's, accept it, and propose it to its members; raises as `accept`."""
        async with self._accepting:
            self.check_turn()
            job = await self._add(manifest, me, me)
            await self._accept(job, proposing=True)
            return job

    async def _add(self, manifest: Manifest, me: int, proposer: int) -> JobNode:
        """Remember a job that is new here, and run it."""
        await trio.to_thread.run_sync(self._around.journal.add_job, manifest, me)
        job = self.begin(manifest, me)
        log.info("JobProposed", job=manifest.job.hex(), name=manifest.name, proposer=proposer)
        return job

    def begin(self, manifest: Manifest, me: int) -> JobNode:
        """Open a job, and run it unless its operator has paused it."""
        contacts = self._book.roster_contacts(manifest.roster, self._around.keys.identity.peer_id)
        job = JobNode(self._around, manifest, me, contacts)
        job.open()
        self._jobs[manifest.job] = job
        if not job.paused:
            self._start(job)
        return job

    async def accept(self, job: JobNode, consent: Consent) -> None:
        """Check that this node can take part in a job, and accept it; declined, it raises what differs.

        Raises `NotConsented`, and changes nothing, where the operator's word does not cover what the job
        leaks, and `NotItsTurn` while this node takes part in another.
        """
        check_consent(job.manifest, consent)
        async with self._accepting:
            if job.engine.state.life.declined is not None:
                raise OperatorFault("the job was declined", remedy="it takes a new proposal")
            if job.undecided:
                self.check_turn(job)
                await self._accept(job, proposing=False)

    async def _accept(self, job: JobNode, *, proposing: bool) -> None:
        try:
            await job.prepare()
        except StarlingError as error:
            log.error("JobNotPossible", job=job.job.hex(), reason=str(error))
            job.give(JobDeclined(Reason.NOT_POSSIBLE))
            await job.decided()
            raise
        job.give(JobAccepted(proposing))
        await job.decided()

    async def resume(self, job: JobNode) -> None:
        """Go on with a paused job. Raises `OperatorFault` where it is not paused, or another runs."""
        async with self._accepting:
            self.check_turn(job)
            await job.unpause()
            self._start(job)

    async def peer_up(self, contact: int) -> None:
        """A connection to a contact came up."""
        for job in self:
            await job.peer_up(contact)

    async def take(self, contact: int, message: bytes) -> None:
        """Take in a contact's message. Raises a `StarlingError` for one that is not allowed."""
        envelope = await trio.to_thread.run_sync(Envelope.from_bytes, message)
        job = self._jobs.get(envelope.job)
        if job is not None and isinstance(envelope.content, OrderWanted):
            self._answers.ask(contact, partial(job.tell_order, contact, envelope.content))
        elif job is not None:
            await job.deliver(contact, envelope)
        elif isinstance(envelope.content, Core):
            await self._take_proposal(contact, Message.from_bytes(envelope.content.data))

    async def wanted(self, contact: int, label: bytes, size: int) -> Deliver:
        """Who takes a bulk message, once it is wanted. Raises a `StarlingError` for one that is not."""
        told = Label.from_bytes(label)
        job = self._jobs.get(told.job)
        if job is None:
            raise MemberFault("a bulk message for a job that is not known here")
        return await job.wanted(contact, told.content, size)

    async def blobs(self, contact: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
        """An object of a job that the contact is a member of, if it is here."""
        for job in self:
            member = job.post.member_of(contact)
            if member is not None:
                found = await job.objects.serve(member, digest, size)
                if found is not None:
                    return found
        return None

    def _start(self, job: JobNode) -> None:
        if self._nursery is None:
            raise OperatorFault("the daemon is not running")
        self._nursery.start_soon(self._run_job, job)

    async def _run_job(self, job: JobNode) -> None:
        """A job's core is told what peers are there."""
        for peer in self._around.mesh.peers():
            if peer.connected_since is not None:
                await job.peer_up(peer.member)
        await job.run()

    async def _take_proposal(self, contact: int, message: Message) -> None:
        """A peer proposes a job that is new here: remember it, and ask the operator or the policy."""
        if not isinstance(message.content, Propose):
            return
        manifest, policy = message.content.manifest, self._around.config.policy
        manifest.check()
        me = manifest.roster.index_of_peer(self._around.keys.identity.peer_id)
        proposer = manifest.roster.index_of_peer(self._book.cards[contact].peer)
        if me is None or proposer is None:
            raise MemberFault("a proposal whose roster lacks its sender or this node")
        if manifest.roster.member(me) != self._own().member():
            raise MemberFault("a proposal with other keys for this node", member=proposer)
        if manifest.allow_insecure_key and not policy.insecure_keys:
            raise MemberFault("a proposal with an insecure key", member=proposer)
        if sum(job.undecided for job in self) >= MAX_OPEN_PROPOSALS:
            raise MemberFault("too many proposals wait for the operator", member=proposer)
        job = await self._add(manifest, me, proposer)
        self._accept_by_policy(job)

    def _accept_by_policy(self, job: JobNode) -> None:
        """Whatever leaks waits for the operator: what a peer proposes is no consent to it."""
        if self._around.config.policy.accept != "known-peers" or self._nursery is None or not job.undecided:
            return
        try:
            check_policy(job.manifest)
        except NotConsented as error:
            log.warning("JobNeedsOperator", job=job.job.hex(), reason=str(error))
        else:
            self._nursery.start_soon(self._accept_in_turn, job)

    async def _accept_in_turn(self, job: JobNode) -> None:
        """Accept a job once no other runs here, unless it is decided meanwhile."""
        while job.undecided:
            try:
                await self.accept(job, Consent())
            except NotItsTurn:
                await trio.sleep(TURN_SECONDS)
            except StarlingError:
                return  # logged, and the job declined, where it was raised
