"""A mesh of real hosts on loopback: messages, membership, reconnection."""

import socket

import pytest
import trio
from support.meshes import (
    BRISK,
    LOOPBACK,
    SIGCONT,
    SIGKILL,
    SIGSTOP,
    Cohort,
    all_up,
    member_process,
    running_cohort,
    wait_for_event,
    wire_id,
)

from node.network import Identity, Mesh, NotConnected, PeerAddress, PeerDown, PeerUp
from node.network.limits import MAX_BULK, MAX_MESSAGE
from protocol.errors import OperatorFault, OwnFault


async def test_messages_arrive_whole_in_order_and_with_their_sender():
    async with running_cohort(3) as cohort:
        messages = [bytes([n]) * size for n, size in enumerate([1, 100, 70_000, MAX_MESSAGE, 5])]

        async def send(sender):
            for message in messages:
                await cohort.meshes[sender].send(1, message)

        cohort.nursery.start_soon(send, 2)
        cohort.nursery.start_soon(send, 3)
        got = {2: [], 3: []}
        with trio.fail_after(20):
            for _ in range(2 * len(messages)):
                received = await cohort.meshes[1].messages.receive()
                got[received.member].append(received.message)
        assert got == {2: messages, 3: messages}


async def test_bulk_messages_arrive_whole_beside_small_ones():
    async with running_cohort(2) as cohort:
        payload = bytes(range(256)) * 40_000  # 10 MB
        cohort.nursery.start_soon(cohort.meshes[1].send_bulk, 2, b"label", payload)
        cohort.nursery.start_soon(cohort.meshes[1].send, 2, b"small")
        with trio.fail_after(20):
            received = [(await cohort.meshes[2].messages.receive()).message for _ in range(2)]
        assert received == [b"small", payload]
        status = cohort.meshes[2].peers()[0]
        assert status.bytes_in >= len(payload)
        assert status.round_trip is not None


async def test_what_cannot_be_sent_is_the_callers_fault():
    async with running_cohort(2) as cohort:
        mesh = cohort.meshes[1]
        with pytest.raises(OwnFault, match="send_bulk"):
            await mesh.send(2, bytes(MAX_MESSAGE + 1))
        with pytest.raises(OwnFault):
            await mesh.send(2, b"")
        with pytest.raises(OwnFault):
            await mesh.send_bulk(2, b"", bytes(MAX_BULK + 1))
        with pytest.raises(OwnFault, match="not in the roster"):
            await mesh.send(7, b"x")


async def test_a_member_that_was_never_there_is_not_connected(log):
    async with trio.open_nursery() as nursery:
        cohort = Cohort(nursery)
        absent = PeerAddress(Identity.generate().peer_id, ("/ip4/127.0.0.1/tcp/1",))
        mesh = await cohort.start(1, {2: absent})
        with pytest.raises(NotConnected):
            await mesh.send(2, b"x")
        with pytest.raises(NotConnected):
            await mesh.send_bulk(2, b"", b"x")
        await wait_for_event(log, "DialFailed", member=2)
        assert "tcp/1" in mesh.peers()[0].last_error
        nursery.cancel_scope.cancel()


async def test_members_can_be_removed_and_admitted_while_running(log):
    async with running_cohort(2) as cohort:
        first, second = cohort.meshes[1], cohort.meshes[2]
        await first.remove(2)
        with trio.fail_after(10):
            while not isinstance(await second.events.receive(), PeerDown):
                pass
        with pytest.raises(OwnFault):
            await first.send(2, b"x")
        await wait_for_event(log, "PeerRefused", peer_id=cohort.identities[2].peer_id)
        first.allow(2, cohort.roster[2])
        with trio.fail_after(20):
            while await second.events.receive() != PeerUp(1):
                pass
            await second.send(1, b"again")
            assert (await first.messages.receive()).message == b"again"


@pytest.mark.parametrize("who", ["twice", "myself"])
async def test_a_roster_that_contradicts_itself_is_refused(who):
    me, other = Identity.generate(), Identity.generate()
    mesh = Mesh(me, [LOOPBACK], {1: PeerAddress(me.peer_id), 2: PeerAddress(other.peer_id)})
    with pytest.raises(OperatorFault, match="twice"):
        mesh.allow(3, PeerAddress(me.peer_id if who == "myself" else other.peer_id))


async def test_a_taken_port_is_named():
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as another node would
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OperatorFault, match=f"port {port}") as caught:
            await Mesh(Identity.generate(), [f"/ip4/127.0.0.1/tcp/{port}"], {}).run()
    assert "another" in caught.value.remedy


async def test_a_port_that_was_just_closed_can_be_used_again():
    async with running_cohort(2) as cohort:
        address = cohort.roster[1].addresses[0]
    async with trio.open_nursery() as nursery:
        await nursery.start(Mesh(cohort.identities[1], [address], {}, timing=BRISK).run)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["/ip4/127.0.0.1/udp/4001", "127.0.0.1:4001", "/dns4/localhost/tcp/4001"])
async def test_a_listen_address_that_is_none(address):
    with pytest.raises(OperatorFault, match="listen"):
        await Mesh(Identity.generate(), [address], {}).run()


async def test_killed_member_is_missed_and_found_again(log):
    """Member 2 dies with SIGKILL and comes back on the same port; both directions of dialling."""
    identity = Identity.generate()
    async with trio.open_nursery() as nursery:
        cohort = Cohort(nursery)
        mesh = await cohort.start(1)
        async with member_process(2, identity, LOOPBACK, {1: cohort.roster[1]}) as child:
            addresses = (await child.answer())["addresses"]
            mesh.allow(2, PeerAddress(identity.peer_id, tuple(addresses)))
            with trio.fail_after(20):
                await all_up(mesh, 1)
            child.signal(SIGKILL)
            with trio.fail_after(20):
                assert isinstance(await mesh.events.receive(), PeerDown)
        async with member_process(2, identity, addresses[0], {1: cohort.roster[1]}) as child:
            await child.answer()
            with trio.fail_after(20):
                assert await mesh.events.receive() == PeerUp(2)
                await mesh.send(2, b"back?")
                assert (await mesh.messages.receive()).message == b"back?"
        nursery.cancel_scope.cancel()


async def test_stopped_member_is_noticed_and_taken_back(log):
    identity = Identity.generate()
    async with trio.open_nursery() as nursery:
        cohort = Cohort(nursery)
        mesh = await cohort.start(1)
        async with member_process(2, identity, LOOPBACK, {1: cohort.roster[1]}) as child:
            mesh.allow(2, PeerAddress(identity.peer_id, tuple((await child.answer())["addresses"])))
            with trio.fail_after(20):
                await all_up(mesh, 1)
            child.signal(SIGSTOP)
            with trio.fail_after(20):
                event = await mesh.events.receive()
            assert isinstance(event, PeerDown)
            assert "silent" in event.why
            child.signal(SIGCONT)
            with trio.fail_after(30):
                await all_up(mesh, 1)
        nursery.cancel_scope.cancel()


async def test_member_that_moved_is_found_when_it_dials(log):
    """Its published address is wrong; it reaches us, and what it says of itself serves us to redial."""
    async with trio.open_nursery() as nursery:
        cohort = Cohort(nursery)
        first, second = await cohort.start(1), await cohort.start(2)
        first.allow(2, PeerAddress(cohort.identities[2].peer_id, ("/ip4/127.0.0.1/tcp/1",)))
        second.allow(1, cohort.roster[1])
        with trio.fail_after(20):
            await cohort.connected()
        assert cohort.roster[2].addresses[0] in first.peers()[0].addresses
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ours_first", [True, False])
async def test_two_processes_with_one_identity_are_reported(log, ours_first):
    """Whichever of the two peers opens the streams."""
    identities = sorted((Identity.generate(), Identity.generate()), key=wire_id, reverse=not ours_first)
    async with trio.open_nursery() as nursery:
        cohort, impostor = Cohort(nursery), Cohort(nursery)
        cohort.identities.update(enumerate(identities, start=1))
        mesh = await cohort.start(1)
        mesh.allow(2, PeerAddress(identities[1].peer_id))
        await cohort.start(2, {1: cohort.roster[1]})
        with trio.fail_after(20):
            await all_up(mesh, 1)
        impostor.identities[2] = identities[1]
        await impostor.start(2, {1: cohort.roster[1]})
        await wait_for_event(log, "IdentityShared", member=2, timeout=30)
        nursery.cancel_scope.cancel()
