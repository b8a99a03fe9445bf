"""Schnorr's proof of knowing a discrete logarithm, in ristretto255 (paper, section 3.2).

The prover knows x with h = g^x. It announces t = g^r, is challenged with c, responds s = r + c·x, and
the verifier checks g^s = t·h^c. A member proves so that it holds its job key when it joins.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import rbcl

from protocol.crypto.sigma.protocol import Nonce, ProofRejected, Prover, Statement
from protocol.crypto.transcript import Transcript
from protocol.errors import OwnFault

ORDER = 2**252 + 27742317777372353535851937790883648493
"""The prime order of the group (RFC 9496)."""

POINT_SIZE = 32
SCALAR_SIZE = 32


@dataclass(frozen=True, repr=False)
class JobSecret:
    """A member's secret scalar x, 0 < x < ORDER."""

    scalar: int

    @classmethod
    def generate(cls) -> JobSecret:
        """A fresh uniform secret."""
        return cls(1 + secrets.randbelow(ORDER - 1))

    @classmethod
    def from_bytes(cls, data: bytes) -> JobSecret:
        """The secret that `to_bytes` wrote; `OwnFault` for anything else."""
        scalar = int.from_bytes(data, "little")
        if len(data) != SCALAR_SIZE or not 0 < scalar < ORDER:
            raise OwnFault("not a job key")
        return cls(scalar)

    def to_bytes(self) -> bytes:
        """32 bytes, little-endian: secret."""
        return self.scalar.to_bytes(SCALAR_SIZE, "little")

    def public(self) -> bytes:
        """h = g^x, 32 bytes."""
        return times_generator(self.scalar)

    def agree(self, point: bytes) -> bytes | None:
        """The Diffie-Hellman value with the owner of `point`; None if that is no point, or the identity."""
        if not rbcl.crypto_core_ristretto255_is_valid_point(point) or point == bytes(POINT_SIZE):
            return None
        return times(self.scalar, point)

    def __repr__(self) -> str:
        return "JobSecret(…)"


@dataclass(frozen=True)
class HoldsJobKey(Statement):
    """The sender knows x with `public` = g^x."""

    name: ClassVar[str] = "knowledge of a job key"

    public: bytes

    @property
    def batch(self) -> int:
        """None: it is a single claim."""
        return 0

    @property
    def announcement_size(self) -> int:
        """One point."""
        return POINT_SIZE

    @property
    def response_size(self) -> int:
        """One scalar."""
        return SCALAR_SIZE

    def bind(self, transcript: Transcript) -> None:
        """Absorb the group and the public key."""
        transcript.absorb("group", "ristretto255")
        transcript.absorb("public", self.public)

    def check(self, weights: Sequence[int], announcement: bytes, challenge: int, response: bytes) -> None:
        """Accept iff g^s = t·h^c with canonical points and scalar, h not the identity."""
        for name, point in (("public key", self.public), ("announcement", announcement)):
            if len(point) != POINT_SIZE or not rbcl.crypto_core_ristretto255_is_valid_point(point):
                raise ProofRejected(f"the {name} is not a point of ristretto255")
        if self.public == bytes(POINT_SIZE):
            raise ProofRejected("the public key is the identity")
        scalar = int.from_bytes(response, "little")
        if scalar >= ORDER:
            raise ProofRejected("the response is not a canonical scalar")
        right = rbcl.crypto_core_ristretto255_add(announcement, times(challenge, self.public))
        if times_generator(scalar) != right:
            raise ProofRejected("the equation of the Schnorr proof does not hold")


class JobKeyProver(Prover):
    """Proves `HoldsJobKey` for its secret."""

    def __init__(self, secret: JobSecret) -> None:
        self._secret = secret
        self._nonce: Nonce[int] = Nonce()

    def announce(self, weights: Sequence[int]) -> bytes:
        """t = g^r for a fresh uniform r."""
        nonce = 1 + secrets.randbelow(ORDER - 1)
        self._nonce.put(nonce)
        return times_generator(nonce)

    def respond(self, challenge: int) -> bytes:
        """s = r + c·x mod the group order."""
        scalar = (self._nonce.take() + challenge * self._secret.scalar) % ORDER
        return scalar.to_bytes(SCALAR_SIZE, "little")


def _scalar(value: int) -> bytes:
    return (value % ORDER).to_bytes(SCALAR_SIZE, "little")


def times_generator(scalar: int) -> bytes:
    """g^scalar, 32 bytes."""
    point: bytes = rbcl.crypto_scalarmult_ristretto255_base_allow_scalar_zero(_scalar(scalar))
    return point


def times(scalar: int, point: bytes) -> bytes:
    """point^scalar, 32 bytes, for a valid point."""
    product: bytes = rbcl.crypto_scalarmult_ristretto255_allow_scalar_zero(_scalar(scalar), point)
    return product
