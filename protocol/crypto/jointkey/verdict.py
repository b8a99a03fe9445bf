"""The round in which members accuse: a recipient shows a private message its dealer should not have sent.

A dealer announced the digest of every private message in its broadcast, so the evidence convinces everyone:
either the shown part is what the dealer committed to and is wrong (the dealer cheated), or the accusation is
false (the accuser cheated). Every honest member reaches the same verdict from the same broadcasts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from protocol.crypto.jointkey.errors import Cheater
from protocol.crypto.jointkey.party import (
    DIGEST_BYTES,
    Received,
    Round,
    Shape,
    part_digest,
    parts_digest,
)

_HEADER_BYTES = 6
"""Accused (1), exchange (1), part (4)."""


@dataclass(frozen=True)
class Exchange:
    """A past round of private messages of `shape`, and what this member received in it."""

    name: str
    shape: Shape
    received: Received


@dataclass(frozen=True)
class Accusation:
    """Member `accused` sent a wrong `part` (by position) in exchange number `exchange`."""

    accused: int
    exchange: int
    part: int


IsRight = Callable[[int, int, int, int, bytes], bool]
"""(exchange, dealer, recipient, part number, part) → whether the dealer should have sent that part."""


def settle(
    me: int, exchanges: Sequence[Exchange], accusation: Accusation | None, is_right: IsRight
) -> Generator[Round, Received, None]:
    """One round in which every member broadcasts nothing, or one accusation with its evidence.

    `accusation` concerns the earliest exchange in which this member received something wrong. Returns when
    nobody accuses; raises `Cheater` otherwise, naming accused or accuser.
    """
    longest = max(_length(exchange) for exchange in exchanges)
    body = b"" if accusation is None else _encode(me, exchanges, accusation)
    received = yield Round(Shape(range(longest + 1)), body)
    accusers = [accuser for accuser, body in received.bodies.items() if body]
    # Who received wrong parts sends wrong ones later, so the earliest exchange is judged first.
    for accuser in sorted(accusers, key=lambda accuser: (received.bodies[accuser][1:2], accuser)):
        raise _judge(accuser, received.bodies[accuser], exchanges, is_right)


def _length(exchange: Exchange) -> int:
    return _HEADER_BYTES + exchange.shape.parts * DIGEST_BYTES + exchange.shape.part_bytes


def _encode(me: int, exchanges: Sequence[Exchange], accusation: Accusation) -> bytes:
    parts = exchanges[accusation.exchange].received.private[accusation.accused]
    header = bytes([accusation.accused, accusation.exchange]) + accusation.part.to_bytes(4, "big")
    return header + b"".join(part_digest(part) for part in parts) + parts[accusation.part]


def _judge(accuser: int, body: bytes, exchanges: Sequence[Exchange], is_right: IsRight) -> Cheater:
    false = Cheater("accuses another member without evidence", member=accuser)
    if len(body) < _HEADER_BYTES:
        return false
    accused, number, position = body[0], body[1], int.from_bytes(body[2:_HEADER_BYTES], "big")
    if number >= len(exchanges) or len(body) != _length(exchanges[number]):
        return false
    exchange = exchanges[number]
    end = _HEADER_BYTES + exchange.shape.parts * DIGEST_BYTES
    digests = [body[at : at + DIGEST_BYTES] for at in range(_HEADER_BYTES, end, DIGEST_BYTES)]
    part = body[end:]
    announced = exchange.received.digests.get(accused, {}).get(accuser)
    if position >= len(digests) or part_digest(part) != digests[position]:
        return false
    if parts_digest(digests) != announced or is_right(number, accused, accuser, position, part):
        return false
    return Cheater(f"sent member {accuser} a wrong {exchange.name}", member=accused)
