"""The peers that this operator knows: cards they exchanged, and the addresses to reach them at.

A card is what a member publishes about itself. A node only ever connects to peers in its book, and only
their proposals are shown to its operator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from node.files import write_whole
from node.network import PeerAddress
from protocol.errors import OperatorFault
from protocol.roster import Member, Roster

MAX_PEERS = 31
MAX_CARD_BYTES = 8 * 1024


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a member tells others about itself, as JSON: its roster entry, the Hydra verification key of its
    hydra-node, and where it listens.

    Keys are in hexadecimal. Nothing in it is secret. A card of an older release has no Hydra key.
    """

    LIMIT: ClassVar[int] = MAX_CARD_BYTES

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    peer: Annotated[str, Meta(min_length=1, max_length=120)]
    payment: Annotated[str, Meta(pattern="^[0-9a-f]{56}$")]
    job_key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    bucket: Annotated[str, Meta(max_length=200)]
    addresses: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    hydra: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Card:
        """The card with these fields; `OperatorFault` saying what is wrong with them."""
        try:
            return msgspec.convert(fields, cls)
        except msgspec.ValidationError as error:
            raise OperatorFault(
                f"this is not a member's card: {error}", remedy="use the output of `starling card`"
            ) from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Card:
        """The card in a JSON text; `OperatorFault` saying what is wrong with it."""
        if len(text) > cls.LIMIT:
            raise OperatorFault("this is too large for a card", remedy="use the output of `starling card`")
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise OperatorFault(
                f"this is not a member's card: {error}", remedy="use the output of `starling card`"
            ) from error

    def to_json(self) -> str:
        """The card as people send it to each other."""
        return json.dumps(msgspec.to_builtins(self), indent=2, ensure_ascii=False)

    def member(self) -> Member:
        """The card's roster entry."""
        payment, job_key = bytes.fromhex(self.payment), bytes.fromhex(self.job_key)
        return Member(self.name, self.peer, payment, job_key, self.bucket)

    def address(self) -> PeerAddress:
        """Where to reach the peer."""
        return PeerAddress(self.peer, self.addresses)


class PeerBook:
    """The cards in a file. Each has a contact number, by which the network knows it: stable while known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cards: dict[int, Card] = {}
        if path.exists():
            try:
                self._cards = msgspec.json.decode(path.read_bytes(), type=dict[int, Card])
            except (OSError, msgspec.DecodeError) as error:
                raise OperatorFault(f"{path} is not a peer book: {error}", remedy="restore it") from error

    @property
    def cards(self) -> dict[int, Card]:
        """All cards by contact number."""
        return dict(self._cards)

    def add(self, card: Card) -> int:
        """Remember a card, or its new version if the peer id is known; its contact number."""
        card.address()
        known = self.contact(card.peer)
        free = next((n for n in range(1, MAX_PEERS + 1) if n not in self._cards), None)
        number = known if known is not None else free
        if number is None:
            raise OperatorFault(f"a node knows at most {MAX_PEERS} peers", remedy="remove one first")
        self._cards[number] = card
        self._save()
        return number

    def remove(self, name: str) -> int:
        """Forget the peer of this name or peer id; its contact number."""
        for number, card in self._cards.items():
            if name in (card.name, card.peer):
                del self._cards[number]
                self._save()
                return number
        raise OperatorFault(f"no peer is called {name!r}", remedy="see `starling peers`")

    def contact(self, peer: str) -> int | None:
        """The contact number of a peer id."""
        return next((number for number, card in self._cards.items() if card.peer == peer), None)

    def roster_contacts(self, roster: Roster, own_peer: str) -> dict[int, int]:
        """Contact number by roster index, for all members but this node.

        Raises `OperatorFault` naming members whose cards are missing or differ from the roster.
        """
        contacts: dict[int, int] = {}
        for index in roster.indices:
            member = roster.member(index)
            if member.peer == own_peer:
                continue
            number = self.contact(member.peer)
            if number is None or self._cards[number].member() != member:
                raise OperatorFault(
                    f"member {index} ({member.name}) of the roster is not in the peer book as it is there",
                    remedy="exchange cards again with `starling card` and `starling peers add`",
                )
            contacts[index] = number
        return contacts

    def hydra_keys(self, roster: Roster) -> dict[int, bytes]:
        """The Hydra verification keys of the roster's members, by index, as far as their cards have them."""
        keys = {card.peer: bytes.fromhex(card.hydra) for card in self._cards.values() if card.hydra}
        return {i: keys[roster.member(i).peer] for i in roster.indices if roster.member(i).peer in keys}

    def _save(self) -> None:
        write_whole(self._path, json.dumps(msgspec.to_builtins(self._cards, str_keys=True)).encode())
