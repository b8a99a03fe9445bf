"""The jobs of a node: those in its journal, and those that peers propose."""

from __future__ import annotations

import contextlib
import shutil
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import structlog
import trio
from trio_typing import TaskStatus

from node.consent import Consent, NotConsented, check_consent, check_data, check_policy, others_with
from node.engine.answers import Answers
from node.engine.job import JobNode, Surroundings, data_of, learner_config
from node.envelope import Core, Envelope, Label, OrderWanted
from node.faults import kinds, places
from node.network import Allowance, Deliver, NotConnected, TokenBucket
from node.parties import parties_of
from node.peers import Card, PeerBook
from protocol.errors import MemberFault, OperatorFault, StarlingError
from protocol.inputs import JobAccepted, JobDeclined
from protocol.manifest import Manifest
from protocol.messages import Decline, Message, Propose
from protocol.words import Reason

log = structlog.get_logger()

TURN_SECONDS = 1.0
"""Between looks at whether the job before is over."""

MAX_OPEN_PROPOSALS, MAX_OPEN_BY_PEER = 16, 4
"""Jobs that may wait for the operator at once, in all and of one proposer: each is up to 1 MiB of journal."""

MAX_DECLINED = 16
"""Declined jobs that are still shown; of older ones only the digest is kept."""

PROPOSALS, PROPOSAL_SECONDS = 6, 60.0
"""New jobs of one peer within so many seconds: each costs some writes, and by policy a learner."""

DECLINE_SECONDS = 30.0
"""For a proposer to be told no."""


WORDS, WORDS_AT_ONCE = 5.0, 100.0
"""Messages a second of one peer that are taken in: each may cost a write, or the reading of a manifest."""

WORD_BYTES, WORD_BYTES_AT_ONCE = 256.0 * 1024, 8.0 * 2**20
"""Bytes of them: a peer that comes back tells of every job that has not begun, which takes 1 MiB at most."""


def _words_of_a_peer() -> Allowance:
    return Allowance(TokenBucket(WORDS, WORDS_AT_ONCE), TokenBucket(WORD_BYTES, WORD_BYTES_AT_ONCE))


class NotItsTurn(OperatorFault):
    """The node takes part in another job."""


class Jobs:
    """Runs every job in a task of its own. `own` gives this member's card as it is now."""

    def __init__(self, around: Surroundings, book: PeerBook, own: Callable[[], Card]) -> None:
        self._around = around
        self._book = book
        self._own = own
        self._jobs: dict[bytes, JobNode] = {}
        self._proposed: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=PROPOSALS))
        self._nursery: trio.Nursery | None = None
        self._accepting = trio.Lock()
        self._answers = Answers()
        self._allowed: defaultdict[int, Allowance] = defaultdict(_words_of_a_peer)
        self._adding = trio.Lock()

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

        One that cannot be opened is tried again, then set aside, and costs no other: see `Compartment`.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._answers.run)
            for stored in self._around.journal.jobs():
                job = self._job(stored.manifest, stored.me, stored.proposer)
                try:
                    job.open()
                except Exception as error:
                    log.error("JobNotOpened", job=job.job.hex(), error=kinds(error), at=places(error))
                self._start(job)
                self._accept_by_policy(job)
            task_status.started()
            await trio.sleep_forever()

    async def propose(self, manifest: Manifest, me: int, consent: Consent) -> JobNode:
        """Remember a job of this node's, accept it, and propose it to its members; raises as `accept`."""
        async with self._accepting:
            self.check_turn()
            await self._check_data(manifest, consent)
            async with self._adding:
                job = await self._add(manifest, me, me)
            await self._accept(job, consent, proposing=True)
            return job

    async def _add(self, manifest: Manifest, me: int, proposer: int) -> JobNode:
        """Remember a job that is new here, and run it; what fails before leaves nothing behind."""
        job = self._job(manifest, me, proposer)
        job.open()
        await self._forget_declined()
        await trio.to_thread.run_sync(self._around.journal.add_job, manifest, me, proposer)
        log.info("JobProposed", job=manifest.job.hex(), name=manifest.name, proposer=proposer)
        self._start(job)
        return job

    def _job(self, manifest: Manifest, me: int, proposer: int) -> JobNode:
        def contacts() -> dict[int, int]:
            return self._book.roster_contacts(manifest.roster, self._around.keys.identity.peer_id)

        def parties() -> tuple[bytes, ...]:
            roster = manifest.roster
            return parties_of(roster, me, self._book.hydra_keys(roster), self._around.config.ledger)

        return JobNode(self._around, manifest, me, proposer, contacts, parties)

    async def _forget_declined(self) -> None:
        """Keep the last jobs that were declined before they began, and of older ones the digest alone."""
        for job in [job for job in self if job.never_began][:-MAX_DECLINED]:
            await job.leave()
            await trio.to_thread.run_sync(self._around.journal.refuse_job, job.job)
            del self._jobs[job.job]
            await trio.to_thread.run_sync(shutil.rmtree, job.folder, True)

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
                await self._check_data(job.manifest, consent)
                await self._accept(job, consent, proposing=False)

    async def _check_data(self, manifest: Manifest, consent: Consent) -> None:
        """Raise `NotConsented` where another job has, or had, these data, and the operator did not say so."""
        journal, job = self._around.journal, manifest.job
        data = data_of(self._around.config, manifest.task)
        uses = await trio.to_thread.run_sync(journal.uses)
        spent = await trio.to_thread.run_sync(journal.spent, manifest.model)
        live = [use for use in uses if (known := self._jobs.get(use.job)) is not None and known.live_here]
        check_data(others_with(data, job, live), others_with(data, job, spent), consent)

    async def _accept(self, job: JobNode, consent: Consent, *, proposing: bool) -> None:
        try:
            await job.prepare()
        except StarlingError as error:
            log.error("JobNotPossible", job=job.job.hex(), reason=str(error))
            job.give(JobDeclined(Reason.NOT_POSSIBLE))
            await job.decided()
            raise
        await trio.to_thread.run_sync(partial(job.use_data, again=consent.again))
        job.give(JobAccepted(proposing))
        await job.decided()

    async def resume(self, job: JobNode) -> None:
        """Go on with a paused job. Raises `OperatorFault` where it is not paused, or another runs."""
        async with self._accepting:
            self.check_turn(job)
            await job.unpause()
            self._start(job)

    def peer_up(self, contact: int) -> None:
        """A connection to a contact came up."""
        for job in self:
            job.peer_up(contact)

    async def take(self, contact: int, message: bytes) -> None:
        """Take in a contact's message. Raises a `StarlingError` for one that is not allowed."""
        envelope = await trio.to_thread.run_sync(Envelope.from_bytes, message)
        await self._allowed[contact].take(len(message))
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
        self._jobs[job.job] = job
        self._nursery.start_soon(job.run)

    async def _take_proposal(self, contact: int, message: Message) -> None:
        """A peer proposes a job that is new here: remember it, and ask the operator or the policy.

        Whatever this node cannot take part in, or has no room for, is refused before anything is stored.
        """
        if not isinstance(message.content, Propose):
            return
        manifest = message.content.manifest
        if await trio.to_thread.run_sync(self._around.journal.is_refused, manifest.job):
            self._say_no(contact, manifest.job, Reason.OPERATOR)
            return
        me, proposer = self._check_proposal(contact, manifest)
        try:
            learner_config(self._around.config, manifest.task, manifest.parameters)
        except OperatorFault:
            self._say_no(contact, manifest.job, Reason.NOT_POSSIBLE)
            raise
        async with self._adding:
            if manifest.job not in self._jobs:
                self._check_room(contact, proposer, manifest)
                self._accept_by_policy(await self._add(manifest, me, proposer))

    def _check_proposal(self, contact: int, manifest: Manifest) -> tuple[int, int]:
        """This node's index in the roster, and the proposer's. Raises `MemberFault` for a false proposal."""
        manifest.check()
        me = manifest.roster.index_of_peer(self._around.keys.identity.peer_id)
        proposer = manifest.roster.index_of_peer(self._book.cards[contact].peer)
        if me is None or proposer is None:
            raise MemberFault("a proposal whose roster lacks its sender or this node")
        if manifest.roster.member(me) != self._own().member():
            raise MemberFault("a proposal with other keys for this node", member=proposer)
        if manifest.allow_insecure_key and not self._around.config.policy.insecure_keys:
            raise MemberFault("a proposal with an insecure key", member=proposer)
        return me, proposer

    def _check_room(self, contact: int, proposer: int, manifest: Manifest) -> None:
        """Raise `MemberFault` where more wait for the operator, or come at once, than one can look at."""
        peer = manifest.roster.member(proposer).peer
        waiting = [job.manifest.roster.member(job.proposer).peer for job in self if job.undecided]
        if len(waiting) >= MAX_OPEN_PROPOSALS or waiting.count(peer) >= MAX_OPEN_BY_PEER:
            raise MemberFault("too many proposals wait for the operator", member=proposer)
        times, now = self._proposed[contact], trio.current_time()
        if len(times) == PROPOSALS and now - times[0] < PROPOSAL_SECONDS:
            raise MemberFault("too many proposals within a minute", member=proposer)
        times.append(now)

    def _say_no(self, contact: int, job: bytes, reason: Reason) -> None:
        """Tell a proposer, beside everything else, that its job does not take place here."""

        async def tell() -> None:
            envelope = Envelope(job, Core(Message(Decline(job, reason)).to_bytes()))
            with contextlib.suppress(NotConnected):
                await self._around.mesh.send(contact, envelope.to_bytes())

        self._around.background.start(("decline", contact), DECLINE_SECONDS, tell)

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
            except NotConsented as error:
                log.warning("JobNeedsOperator", job=job.job.hex(), reason=str(error))
                return
            except StarlingError:
                return  # logged, and the job declined, where it was raised
            except Exception as error:
                log.error("JobNotAccepted", job=job.job.hex(), error=kinds(error), at=places(error))
                return
