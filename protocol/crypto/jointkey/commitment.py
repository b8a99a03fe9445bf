"""Commit, then open: whatever is combined is fixed by everybody before anybody hears any of it.

A member that sends last could otherwise choose its part of a sum or a product after the others' parts, and
so make the result what it likes. Everybody first broadcasts SHA-256 of session, round, author, 32 random
bytes and the body, and the body one round later (Blum 1983; with the hash as a random oracle this hides and
binds). Who opens anything else is named. Commitments that differ between recipients show in the echo that
comes with the first opening, see `party`, and end the attempt before an opened value is used.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from protocol.crypto.jointkey.errors import Cheater
from protocol.crypto.jointkey.leaf import COMMITMENT_BYTES
from protocol.crypto.jointkey.party import ROUND_BYTES, Party, Received, Round, Setup, Shape

NONCE_BYTES = 32
"""Without them a body that can be guessed would show before it is opened."""


def commit(setup: Setup, number: int, author: int, opening: bytes) -> bytes:
    """The commitment that `author` broadcasts in round `number` to `opening`, which begins with the nonce."""
    place = setup.digest + number.to_bytes(ROUND_BYTES, "big") + bytes([author])
    return hashlib.sha256(b"starling/1 commitment" + place + opening).digest()


@dataclass(frozen=True, repr=False)
class Promise:
    """This member's commitment to `body`, to be broadcast in round `number`."""

    setup: Setup
    author: int
    number: int
    body: bytes
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(NONCE_BYTES))

    @staticmethod
    def of(party: Party, body: bytes) -> Promise:
        """A commitment for the next round that `party` sends."""
        return Promise(party.setup, party.me, party.round_number + 1, body)

    @property
    def commitment(self) -> bytes:
        """`COMMITMENT_BYTES` for the round of the commitment."""
        return commit(self.setup, self.number, self.author, self.opening)

    @property
    def opening(self) -> bytes:
        """`NONCE_BYTES` more than the body, for the round of the opening."""
        return self.nonce + self.body

    def kept(self, commitments: Mapping[int, bytes], openings: Mapping[int, bytes]) -> dict[int, bytes]:
        """Everybody's body. Raises `Cheater` for a member whose opening is not what it committed to."""
        for author, opening in openings.items():
            if commit(self.setup, self.number, author, opening) != commitments[author]:
                raise Cheater("opened something else than it had committed to", member=author)
        return {author: opening[NONCE_BYTES:] for author, opening in openings.items()}


def opened(party: Party, body: bytes) -> Generator[Round, Received, dict[int, bytes]]:
    """Two rounds, after which everybody has everybody's body; all bodies are as long as this one."""
    promise = Promise.of(party, body)
    committed = yield Round(Shape.exactly(COMMITMENT_BYTES), promise.commitment)
    received = yield Round(Shape.exactly(len(promise.opening)), promise.opening)
    return promise.kept(committed.bodies, received.bodies)
