"""What counts as a peer's address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiaddr import Multiaddr

from node.network.addresses import AddressBook, PeerAddress, parse_address, parse_peer_id, reachable
from node.network.limits import MAX_ADDRESSES
from protocol.errors import OperatorFault

PEER = "12D3KooWKSA6F9XX68tu56131vVRS9UdTbSa8mEBj5anA4vF5bCq"
OTHER = "12D3KooWQfrbyoh6Uxayh7kLMaGbky9SsPRpXSBvQRBjW2CY4u5i"


@pytest.mark.parametrize(
    "text", ["/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001", "/dns4/node.example/tcp/4001"]
)
def test_tcp_addresses_with_and_without_the_peer(text):
    assert str(parse_address(text)) == text
    assert str(parse_address(f"{text}/p2p/{PEER}", PEER)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.1:4001",
        "/ip4/192.0.2.1",
        "/ip4/192.0.2.1/udp/4001/quic-v1",
        "/ip4/192.0.2.1/tcp/4001/ws",
        "/unix/run/socket",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{OTHER}",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{OTHER}/p2p-circuit",
        "/dns4/" + "a" * 300 + "/tcp/1",
    ],
)
def test_other_addresses_are_refused(text):
    with pytest.raises(ValueError, match=r"address|peer|long"):
        parse_address(text, PEER)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_value_error(text):
    try:
        parse_address(text)
    except ValueError:
        return
    assert text.startswith("/")


@pytest.mark.parametrize("text", ["", "peer", PEER[:-1], PEER + "x", "Qm" + PEER[2:]])
def test_peer_ids_are_validated(text):
    with pytest.raises(OperatorFault, match="not a peer id"):
        parse_peer_id(text)


def test_roster_entry_with_a_bad_address_says_which():
    with pytest.raises(OperatorFault, match=r"192\.0\.2\.1:4001"):
        PeerAddress(PEER, ("192.0.2.1:4001",))


def test_discovered_addresses_are_bounded_and_never_displace_published_ones():
    published = "/ip4/192.0.2.1/tcp/1"
    book = AddressBook(PeerAddress(PEER, (published,)))
    for port in range(1000, 1100):
        book.learn([Multiaddr(f"/ip4/192.0.2.2/tcp/{port}")])
    candidates = [str(address) for address in book.candidates()]
    assert candidates[0] == published
    assert len(candidates) == 1 + MAX_ADDRESSES
    assert "/ip4/192.0.2.2/tcp/1099" in candidates


def test_the_address_that_worked_is_tried_first():
    book = AddressBook(PeerAddress(PEER, ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/2")))
    book.succeeded(Multiaddr("/ip4/192.0.2.1/tcp/2"))
    assert [str(address) for address in book.candidates()] == ["/ip4/192.0.2.1/tcp/2", "/ip4/192.0.2.1/tcp/1"]


@pytest.mark.parametrize(
    ("announced", "remote", "expected"),
    [
        ("/ip4/0.0.0.0/tcp/5", "198.51.100.7", "/ip4/198.51.100.7/tcp/5"),
        ("/ip4/0.0.0.0/tcp/5", None, None),
        ("/ip4/127.0.0.1/tcp/5", "198.51.100.7", None),
        ("/ip4/127.0.0.1/tcp/5", "127.0.0.1", "/ip4/127.0.0.1/tcp/5"),
        ("/ip4/192.0.2.9/tcp/5", "198.51.100.7", "/ip4/192.0.2.9/tcp/5"),
    ],
)
def test_announced_addresses_as_seen_from_here(announced, remote, expected):
    address = reachable(Multiaddr(announced), remote)
    assert (None if address is None else str(address)) == expected
