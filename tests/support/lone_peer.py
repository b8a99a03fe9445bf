"""A member's identity on the network without its daemon: says what it likes to real daemons."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from node.demo.cohort import Plan
from node.envelope import Core, Envelope
from node.keys import load_keys
from node.network import Mesh
from node.peers import Card, PeerBook
from protocol.manifest import Manifest
from protocol.messages import Accept, Decline, Message, Propose
from protocol.roster import Roster
from protocol.thresholds import Thresholds
from support.manifests import manifest


class LonePeer:
    """Speaks for one member of a plan."""

    def __init__(self, plan: Plan, index: int) -> None:
        place = plan.members[index - 1]
        self.keys = load_keys(place.folder)
        self.cards = {card.name: card for card in PeerBook(place.folder / "peers.json").cards.values()}
        peer, wallet, job = self.keys.identity.peer_id, self.keys.wallet, self.keys.job
        own = Card(place.name, peer, wallet.key_hash.hex(), job.public().hex(), place.name, ())
        self.roster = Roster(tuple(self.cards.get(member.name, own).member() for member in plan.members))
        others = {
            member.index: self.cards[member.name].address()
            for member in plan.members
            if member.index != index
        }
        self.heard: list[Envelope] = []
        self.mesh = Mesh(self.keys.identity, ["/ip4/127.0.0.1/tcp/0"], others, take=self._hear)

    async def _hear(self, member: int, message: bytes) -> None:
        self.heard.append(Envelope.from_bytes(message))

    def manifest(self, **changes: object) -> Manifest:
        """A job of the plan's members that this machine could take part in, as far as the door looks."""
        size = self.roster.size
        return manifest(
            size,
            **{
                "nonce": secrets.token_bytes(16),
                "task": "mnist",
                "roster": self.roster,
                "thresholds": Thresholds.default(size),
            }
            | changes,
        )

    async def say(self, member: int, job: bytes, content: Propose | Accept | Decline) -> None:
        """Send one message of the protocol."""
        await self.mesh.send(member, Envelope(job, Core(Message(content).to_bytes())).to_bytes())

    async def until_told(self, job: bytes, content: type[Propose] | type[Accept] | type[Decline]) -> None:
        """Return when a member has said this of the job."""
        with trio.fail_after(60):
            while not any(self._says(each, job, content) for each in self.heard):
                await trio.sleep(0.05)

    def _says(self, envelope: Envelope, job: bytes, content: type) -> bool:
        said = envelope.content
        return (
            envelope.job == job
            and isinstance(said, Core)
            and isinstance(Message.from_bytes(said.data).content, content)
        )

    async def propose(self, member: int, proposed: Manifest) -> Manifest:
        """Propose a job."""
        await self.say(member, proposed.job, Propose(proposed))
        return proposed


@asynccontextmanager
async def lone_peer(plan: Plan, index: int, *members: int) -> AsyncIterator[LonePeer]:
    """The peer, connected to these members."""
    peer = LonePeer(plan, index)
    async with trio.open_nursery() as nursery:
        await nursery.start(peer.mesh.run)
        with trio.fail_after(60):
            while not {each.member for each in peer.mesh.peers() if each.connected_since} >= set(members):
                await trio.sleep(0.05)
        yield peer
        nursery.cancel_scope.cancel()
