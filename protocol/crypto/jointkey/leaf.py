"""A leaf: the 32 random bytes from which a member draws everything it does for one candidate.

A member commits to its leaves before it deals. When a candidate has failed its leaf is opened, and everybody
recomputes every message that the member should have sent about it. The leaf of the winner stays closed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from gmpy2 import mpz

from protocol.crypto.integers import byte_width
from protocol.crypto.transcript import Context

LEAF_BYTES = 32
COMMITMENT_BYTES = 32

_EXTRA_BYTES = 16
"""Drawn beyond each modulus before reduction: within 2^-128 of uniform."""


def fresh_leaves(count: int) -> list[bytes]:
    """`count` leaves from the operating system's randomness."""
    return [secrets.token_bytes(LEAF_BYTES) for _ in range(count)]


def commit(leaf: bytes, context: Context, batch: int, candidate: int) -> bytes:
    """The commitment of `context.sender` to its leaf for one candidate (hiding: the leaf is random)."""
    fields = b"".join((*context.fields(), batch.to_bytes(4, "big"), candidate.to_bytes(4, "big"), leaf))
    return hashlib.sha256(b"starling/1 candidate leaf" + fields).digest()


def root(commitments: Sequence[bytes]) -> bytes:
    """One commitment to all leaves of a batch."""
    return hashlib.sha256(b"starling/1 candidate leaves" + b"".join(commitments)).digest()


class Layout:
    """A list of uniform residues drawn from a leaf, each with its own modulus (SHAKE128 as the generator)."""

    def __init__(self, purpose: str, moduli: Sequence[mpz]) -> None:
        self._label = b"starling/1 draw " + purpose.encode() + b"|"
        widths = [byte_width(modulus) + _EXTRA_BYTES for modulus in moduli]
        ends = [sum(widths[: i + 1]) for i in range(len(widths))]
        self._fields = [
            (end - width, end, modulus) for end, width, modulus in zip(ends, widths, moduli, strict=True)
        ]
        self._size = ends[-1]

    def draw(self, leaf: bytes) -> list[mpz]:
        """The residues; the same for the same leaf."""
        data = hashlib.shake_128(self._label + leaf).digest(self._size)
        return [mpz(int.from_bytes(data[start:end], "big")) % modulus for start, end, modulus in self._fields]
