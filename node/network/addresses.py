"""Peers and where they can be reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from libp2p.peer.id import ID
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.network.limits import MAX_ADDRESS_LENGTH, MAX_ADDRESSES
from protocol.errors import OperatorFault

_HOST_PROTOCOLS = ("ip4", "ip6", "dns", "dns4", "dns6")
# length and multihash prefix: an Ed25519 key itself, or the SHA-256 of another key (bootstrap peers)
_PEER_ID_FORMS = {(38, bytes.fromhex("002408011220")), (34, bytes.fromhex("1220"))}


@dataclass(frozen=True)
class PeerAddress:
    """A peer's libp2p id (base58) and the TCP multiaddresses its operator published for it."""

    peer_id: str
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parse_peer_id(self.peer_id)
        if len(self.addresses) > MAX_ADDRESSES:
            raise OperatorFault(
                f"{len(self.addresses)} addresses for peer {self.peer_id}",
                remedy=f"name at most {MAX_ADDRESSES}",
            )
        for address in self.addresses:
            try:
                parse_address(address, self.peer_id)
            except ValueError as error:
                raise OperatorFault(
                    f"address of peer {self.peer_id}: {error}",
                    remedy="write it as /ip4/203.0.113.7/tcp/4001 or /dns4/host.example/tcp/4001",
                ) from error


def parse_peer_id(text: str) -> ID:
    """The libp2p id that `text` (base58 of a multihash) names; OperatorFault if it names none."""
    try:
        peer_id = ID.from_string(text)
        raw = peer_id.to_bytes()
        if peer_id.to_string() != text or (len(raw), raw[: len(raw) - 32]) not in _PEER_ID_FORMS:
            raise ValueError("not a canonical peer id")
    except Exception as error:  # base58 and multihash raise their own types
        raise OperatorFault(
            f"{text[:80]!r} is not a peer id", remedy="copy it from `starling status` on the peer's machine"
        ) from error
    return peer_id


def parse_address(text: str, peer_id: str | None = None) -> Multiaddr:
    """The TCP multiaddress in `text`, without its /p2p part.

    Raises ValueError if it is not of the form host/tcp/port[/p2p/id], or if its id is not `peer_id`.
    """
    if len(text) > MAX_ADDRESS_LENGTH:
        raise ValueError("too long")
    try:
        address = Multiaddr(text)
        protocols = [protocol.name for protocol in address.protocols()]
        named = address.value_for_protocol("p2p") if "p2p" in protocols else None
    except (MultiaddrError, ValueError, LookupError) as error:
        raise ValueError(f"{text!r} is not a multiaddress") from error
    if named is not None:
        if peer_id is not None and named != peer_id:
            raise ValueError(f"{text!r} belongs to another peer")
        address, protocols = address.decapsulate(Multiaddr(f"/p2p/{named}")), protocols[:-1]
    if len(protocols) != 2 or protocols[0] not in _HOST_PROTOCOLS or protocols[1] != "tcp":
        raise ValueError(f"{text!r} is not a TCP address")
    return address


def reachable(address: Multiaddr, remote_host: str | None) -> Multiaddr | None:
    """`address` as a peer at `remote_host` announced it, as we can dial it; None if we cannot.

    An unspecified host (0.0.0.0) stands for the host we see; a loopback address counts only from here.
    """
    protocol = next(iter(address.protocols())).name
    if protocol not in ("ip4", "ip6"):
        return address
    announced = ip_address(address.value_for_protocol(protocol) or "")
    if announced.is_loopback and (remote_host is None or not ip_address(remote_host).is_loopback):
        return None
    if not announced.is_unspecified:
        return address
    if remote_host is None:
        return None
    family = "ip6" if ip_address(remote_host).version == 6 else "ip4"
    return Multiaddr(f"/{family}/{remote_host}/tcp/{address.value_for_protocol('tcp')}")


class AddressBook:
    """Where one peer may be dialled: what its operator published first, then what was discovered."""

    def __init__(self, peer: PeerAddress) -> None:
        self._peer_id = peer.peer_id
        self._published = [parse_address(address, peer.peer_id) for address in peer.addresses]
        self._discovered: list[Multiaddr] = []
        self._last_good: Multiaddr | None = None

    def learn(self, addresses: Iterable[Multiaddr]) -> list[Multiaddr]:
        """Remember discovered addresses, newest first, at most MAX_ADDRESSES; returns the new ones."""
        fresh = []
        for address in list(addresses)[:MAX_ADDRESSES]:
            if address in self._published or address in self._discovered:
                continue
            fresh.append(address)
            self._discovered.insert(0, address)
        del self._discovered[MAX_ADDRESSES:]
        return fresh

    def succeeded(self, address: Multiaddr) -> None:
        """Dial this one first the next time."""
        self._last_good = address

    def candidates(self) -> list[Multiaddr]:
        """All known addresses in the order to try them."""
        ordered = [*self._published, *self._discovered]
        if self._last_good in ordered:
            ordered.remove(self._last_good)
            ordered.insert(0, self._last_good)
        return ordered
