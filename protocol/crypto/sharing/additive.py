"""Additive sharing modulo m: x = Σ xᵢ, and masks that sum to zero.

All shares are needed and any fewer are uniform, whatever x is. The paper's first scheme (section 3.4).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping

from gmpy2 import mpz

from protocol.crypto.sharing.errors import BadShareIndex
from protocol.errors import OwnFault

SEED_BYTES = 32
"""Pairwise seeds: 256 bits."""

EXTRA_BYTES = 16
"""Bits beyond the modulus before reduction, so that a hashed mask is within 2^-128 of uniform."""


def deal(secret: int, count: int, modulus: int) -> list[mpz]:
    """`count` ≥ 1 shares modulo `modulus` ≥ 2 that sum to `secret`; raises `OwnFault` otherwise."""
    if count < 1 or modulus < 2:
        raise OwnFault(f"cannot split into {count} shares modulo {modulus}")
    shares = [mpz(secrets.randbelow(int(modulus))) for _ in range(count - 1)]
    return [(secret - sum(shares)) % mpz(modulus), *shares]


def reconstruct(shares: Iterable[int], modulus: int) -> mpz:
    """The secret: the sum of all shares modulo `modulus`."""
    return sum(shares, mpz(0)) % modulus


def zero_mask(
    me: int, sent: Mapping[int, bytes], received: Mapping[int, bytes], label: bytes, modulus: int
) -> mpz:
    """Member `me`'s mask modulo `modulus`; the masks of all members sum to zero.

    `sent[j]` is the fresh `SEED_BYTES`-byte seed that `me` gave member j, `received[j]` the one that j gave
    `me`. `label` names the use: one mask per label and set of seeds. Any coalition that leaves out two
    members sees masks of those two that are uniform subject to their sum. Raises `BadShareIndex` unless
    both maps name the same other members.
    """
    if me in sent or sent.keys() != received.keys():
        raise BadShareIndex("a zero mask takes one seed to and one seed from every other member")
    given = sum((_expand(sent[other], me, other, label, modulus) for other in sent), mpz(0))
    taken = sum((_expand(received[other], other, me, label, modulus) for other in received), mpz(0))
    return (given - taken) % modulus


def _expand(seed: bytes, giver: int, taker: int, label: bytes, modulus: int) -> mpz:
    if len(seed) != SEED_BYTES:
        raise OwnFault(f"a mask seed has {SEED_BYTES} bytes, not {len(seed)}")
    statement = b"starling/1 zero mask|%d|%d|%d|" % (giver, taker, len(label)) + label + seed
    size = int(modulus).bit_length() // 8 + 1 + EXTRA_BYTES
    return mpz(int.from_bytes(hashlib.shake_256(statement).digest(size), "big")) % modulus
