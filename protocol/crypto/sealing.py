"""Encryption to a cohort: every member opens what is sealed, nobody else does, and all of them or none.

A hybrid scheme over ristretto255 with one slot for each reader: a fresh content key k; an ephemeral scalar
e = H(context, k); the point g^e; for reader j with the public key y_j a slot that holds k under a key from
the Diffie-Hellman value y_j^e; then the content in chunks. Deriving e from k (the transform of Fujisaki and
Okamoto, CRYPTO 1999) makes the head a function of k: who opens its own slot makes the whole head again and
compares. So no sender can let one member read what another cannot, and members that judge an object judge
alike. The chunks are Hoang, Reyhanitabar, Rogaway and Vizár's STREAM (CRYPTO 2015) with NaCl's secret box.

The context (job, round, sender, roster, joint key) is in every hash: an object of another round or sender
does not open.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

from protocol.crypto.sigma.schnorr import ORDER, POINT_SIZE, JobSecret, times, times_generator
from protocol.crypto.transcript import Context, Transcript
from protocol.errors import MemberFault

KEY_SIZE, TAG_SIZE, NONCE_SIZE = 32, 16, 24
SLOT_SIZE = KEY_SIZE + TAG_SIZE
CHUNK = 64 * 1024


class Unsealable(MemberFault):
    """What should be sealed to the members is not, or is not of this round and sender."""


@dataclass(frozen=True)
class Addressees:
    """The public keys (32 bytes each) of all who may open it, and what it is part of."""

    keys: Sequence[bytes]
    context: Context

    @property
    def head_size(self) -> int:
        """Bytes before the content."""
        return POINT_SIZE + SLOT_SIZE * len(self.keys)

    def head(self, content_key: bytes) -> bytes:
        """The ephemeral point, then the content key for each reader."""
        scalar = int.from_bytes(self._derive("ephemeral", 64, content_key), "big") % ORDER
        point = times_generator(scalar)
        shared = [times(scalar, key) for key in self.keys]
        return point + b"".join(
            crypto_secretbox(content_key, bytes(NONCE_SIZE), self._slot_key(place, point, value))
            for place, value in enumerate(shared)
        )

    def content_key(self, head: bytes, place: int, secret: JobSecret) -> bytes:
        """The content key from the slot at `place`, counted from 0; `Unsealable` unless all slots hold it."""
        point, start = head[:POINT_SIZE], POINT_SIZE + SLOT_SIZE * place
        shared = secret.agree(point)
        if shared is None:
            raise Unsealable("it is sealed under something that is no point of ristretto255")
        key = self._slot_key(place, point, shared)
        try:
            found: bytes = crypto_secretbox_open(head[start : start + SLOT_SIZE], bytes(NONCE_SIZE), key)
        except CryptoError:
            raise Unsealable("it is not sealed to this member, or is of another round or sender") from None
        if self.head(found) != head:
            raise Unsealable("it is not sealed to all members alike")
        return found

    def body_key(self, content_key: bytes, head: bytes) -> bytes:
        """What the content's chunks are encrypted under."""
        return self._derive("body", KEY_SIZE, content_key, head)

    def _slot_key(self, place: int, point: bytes, shared: bytes) -> bytes:
        return self._derive("slot", KEY_SIZE, place.to_bytes(2, "big"), point, self.keys[place], shared)

    def _derive(self, what: str, size: int, *values: bytes) -> bytes:
        transcript = Transcript("sealed to the members", self.context)
        transcript.absorb("readers", *self.keys)
        transcript.absorb(what, *values)
        return transcript.stream(what, size)


def seal(to: Addressees, content: bytes) -> bytes:
    """`content` for the addressees alone: `head_size` bytes, and 16 for every 64 KiB, more."""
    content_key = secrets.token_bytes(KEY_SIZE)
    head = to.head(content_key)
    key = to.body_key(content_key, head)
    starts = range(0, max(len(content), 1), CHUNK)
    return head + b"".join(
        crypto_secretbox(content[at : at + CHUNK], _nonce(place, last=at == starts[-1]), key)
        for place, at in enumerate(starts)
    )


def sealed_size(readers: int, size: int) -> int:
    """Bytes of a content of `size` bytes that is sealed to so many."""
    return POINT_SIZE + SLOT_SIZE * readers + size + TAG_SIZE * max(-(-size // CHUNK), 1)


def unseal(to: Addressees, place: int, secret: JobSecret, sealed: bytes) -> bytes:
    """The content, with the secret of the addressee at `place`, counted from 0.

    Raises `Unsealable` for anything that `seal` did not make for all of these addressees and this context.
    """
    head, body = sealed[: to.head_size], memoryview(sealed)[to.head_size :]
    if len(head) < to.head_size:
        raise Unsealable("it is shorter than what is sealed to so many members")
    key = to.body_key(to.content_key(head, place, secret), head)
    try:
        return b"".join(_opened(key, body))
    except CryptoError:
        raise Unsealable("its content was changed after it was sealed") from None


def _opened(key: bytes, body: memoryview) -> Iterator[bytes]:
    starts = range(0, max(len(body), 1), CHUNK + TAG_SIZE)
    for place, at in enumerate(starts):
        chunk = bytes(body[at : at + CHUNK + TAG_SIZE])
        if len(chunk) < TAG_SIZE:
            raise CryptoError("a chunk without a tag")
        yield crypto_secretbox_open(chunk, _nonce(place, last=at == starts[-1]), key)


def _nonce(place: int, *, last: bool) -> bytes:
    return place.to_bytes(8, "big") + bytes([last]) + bytes(NONCE_SIZE - 9)
