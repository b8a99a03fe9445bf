"""Members that know no address of each other find one another on the loopback interface."""

import pytest
import trio
from support.meshes import Cohort

from node.network import DiscoverySettings, Identity, PeerAddress


@pytest.mark.slow
async def test_multicast_dns_finds_members():
    settings = DiscoverySettings(mdns=True, interfaces=("127.0.0.1",))
    async with trio.open_nursery() as nursery:
        cohort = Cohort(nursery)
        for member in (1, 2):
            await cohort.start(member, discovery=settings)
        for member, other in ((1, 2), (2, 1)):
            cohort.meshes[member].allow(other, PeerAddress(cohort.identities[other].peer_id))
        with trio.fail_after(60):
            await cohort.connected()
        nursery.cancel_scope.cancel()


async def test_the_dht_finds_a_member_through_another():
    """1 and 3 know only 2; the DHT tells them of each other."""
    settings = DiscoverySettings(dht=True)
    async with trio.open_nursery() as nursery:
        cohort = Cohort(nursery)
        for member in (1, 2, 3):
            await cohort.start(member, discovery=settings)
        for member, mesh in cohort.meshes.items():
            for other, address in cohort.roster.items():
                if other != member:
                    known = address if 2 in (member, other) else PeerAddress(address.peer_id)
                    mesh.allow(other, known)
        with trio.fail_after(60):
            await cohort.connected()
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_bootstrap_peers_hold_the_dht_together_and_get_nothing_else():
    """1 and 2 know only a peer outside their roster, which knows both."""
    keys = {member: Identity.generate() for member in (1, 2)}
    async with trio.open_nursery() as nursery:
        outside, cohort = Cohort(nursery), Cohort(nursery, identities=dict(keys))
        roster = {member: PeerAddress(key.peer_id) for member, key in keys.items()}
        post = await outside.start(9, roster, discovery=DiscoverySettings(dht=True))
        settings = DiscoverySettings(dht=True, bootstrap=(outside.roster[9],))
        for member in keys:
            await cohort.start(member, roster, discovery=settings)
        with trio.fail_after(90):
            await cohort.connected()
        assert all(status.connected_since is None for status in post.peers())
        nursery.cancel_scope.cancel()
