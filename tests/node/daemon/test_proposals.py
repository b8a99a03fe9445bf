"""Real daemons and a peer that proposes without measure: what is kept of it is bounded, and nobody ends."""

import sqlite3

import pytest
from support.lone_peer import lone_peer
from support.small_cohort import small_cohort, spec

from node.envelope import Core, Envelope
from node.jobs import MAX_DECLINED, MAX_OPEN_BY_PEER, PROPOSALS
from node.network import limits
from protocol.manifest import Manifest
from protocol.messages import Decline, Message, Propose
from protocol.words import Reason

pytestmark = pytest.mark.xdist_group("cohort")


def padded(peer, size):
    """A job whose manifest has just so many bytes."""
    short = peer.manifest(parameters={"x": "a" * 70_000})
    fat = 70_000 + size - len(short.to_bytes())
    return peer.manifest(nonce=short.nonce, parameters={"x": "a" * fat})


def as_message(manifest):
    return Envelope(manifest.job, Core(Message(Propose(manifest)).to_bytes())).to_bytes()


def kept(running, index):
    """Bytes of a member's journal."""
    return sum(path.stat().st_size for path in running.plan.members[index - 1].folder.glob("journal.sqlite*"))


def stored(running, index):
    """The jobs in the journal of a member that is stopped."""
    with sqlite3.connect(running.plan.members[index - 1].folder / "journal.sqlite") as database:
        return [job for (job,) in database.execute("SELECT job FROM jobs")]


async def until_taken(peer):
    """Return when member 1 has dealt with all that the peer has sent: it answers this last message."""
    unknown = await peer.propose(1, peer.manifest(task="no-such-task"))
    await peer.until_told(unknown.job, Decline)


async def test_the_largest_proposal_can_be_said_back_and_a_larger_one_is_not_taken_in(tmp_path):
    async with small_cohort(tmp_path, members=2, away=(2,), accept="ask") as running:
        async with lone_peer(running.plan, 2, 1) as peer:
            largest, larger = padded(peer, Manifest.LIMIT), padded(peer, Manifest.LIMIT + 1)
            assert len(largest.to_bytes()) == Manifest.LIMIT
            assert len(as_message(largest)) <= limits.MAX_MESSAGE
            await peer.mesh.send(1, as_message(larger))
            await running.until_logged(1, "PeerBarred")
        async with lone_peer(running.plan, 2, 1) as peer:
            await peer.mesh.send(1, as_message(largest))
            await running.until_logged(1, "JobProposed", job=largest.job.hex())
        # it is said back when the proposer comes up again, also after a restart
        await running.restart(1)
        await running.until_answering(1)
        async with lone_peer(running.plan, 2, 1) as peer:
            await peer.until_told(largest.job, Propose)
            with running.client(1) as client:
                assert [job["job"] for job in client.call("jobs")] == [largest.job.hex()]
                client.call("decline", job=largest.job.hex())
            await peer.until_told(largest.job, Decline)


async def test_what_cannot_be_accepted_is_refused_before_anything_of_it_is_kept(tmp_path):
    async with (
        small_cohort(tmp_path, members=2, away=(2,), accept="ask") as running,
        lone_peer(running.plan, 2, 1) as peer,
    ):
        before = kept(running, 1)
        for _ in range(40):
            await peer.propose(1, peer.manifest(task="no-such-task", parameters={"x": "a" * 100_000}))
        strangers = peer.manifest()
        odd = strangers.roster.members[1]
        for change in ({"job_key": b"k" * 32}, {"peer": "12D3KooWNobody"}, {"payment": b"p" * 28}):
            other = type(odd)(**{name: getattr(odd, name) for name in odd.__struct_fields__} | change)
            members = (strangers.roster.members[0], other)
            await peer.propose(1, peer.manifest(roster=type(strangers.roster)(members)))
        await until_taken(peer)
        with running.client(1) as client:
            assert client.call("jobs") == []
        assert kept(running, 1) - before < 100_000
        folder = running.plan.members[0].folder / "jobs"
        assert not folder.exists() or list(folder.iterdir()) == []


async def test_open_proposals_are_bounded_also_when_their_proposer_takes_them_back(tmp_path):
    async with (
        small_cohort(tmp_path, members=2, away=(2,), accept="ask") as running,
        lone_peer(running.plan, 2, 1) as peer,
    ):
        for _ in range(MAX_OPEN_BY_PEER + 2):
            await peer.propose(1, peer.manifest())
        await until_taken(peer)
        with running.client(1) as client:
            shown = client.call("jobs")
        assert len(shown) == MAX_OPEN_BY_PEER
        for job in shown:
            await peer.say(1, bytes.fromhex(job["job"]), Decline(bytes.fromhex(job["job"]), Reason.LATER))
            await running.until_logged(1, "JobDeclined", job=job["job"])
        for _ in range(50):
            taken = await peer.propose(1, peer.manifest())
            await peer.say(1, taken.job, Decline(taken.job, Reason.LATER))
        # within a minute no more than so many of one peer, however often it declines its own
        await until_taken(peer)
        with running.client(1) as client:
            assert len(client.call("jobs")) == PROPOSALS


@pytest.mark.slow
async def test_of_jobs_that_were_declined_long_ago_only_the_digest_is_known(tmp_path):
    async with small_cohort(tmp_path, members=2) as running:
        first = ""
        with running.client(1) as client:
            for number in range(MAX_DECLINED + 2):
                job = await running.propose_only(spec(1, name=f"job {number}"))
                first = first or job
                client.call("decline", job=job)
                await running.until_logged(1, "DeclineJob", job=job)
            jobs = client.call("jobs")
            assert len(jobs) == MAX_DECLINED + 1
            assert first not in [job["job"] for job in jobs]
        folders = running.plan.members[0].folder / "jobs"
        assert len(list(folders.iterdir())) == len(jobs)
        await running.processes.kill_member(1)
        assert bytes.fromhex(first) not in stored(running, 1)
