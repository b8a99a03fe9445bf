"""What each member proves about a finalist, since a winner's leaf is never opened.

The owner: its summands p and q are short and n is their product with the other's. The answerer: a ciphertext
of its own p + q, which is short. Where the owner's p + q is needed, both multiply its ciphertexts of p and q.
"""

from __future__ import annotations

from dataclasses import dataclass

from gmpy2 import mpz

from protocol.crypto.jointkey.pair.bounded import Bounded, BoundedProver
from protocol.crypto.jointkey.pair.candidate import Summands
from protocol.crypto.jointkey.pair.keys import MemberKey, OwnKey
from protocol.crypto.jointkey.pair.opening import OpensProduct, OpensProductProver
from protocol.crypto.jointkey.pair.plan import Plan
from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.protocol import Statement
from protocol.crypto.transcript import Context


def _size(statement: Statement) -> int:
    return statement.announcement_size + statement.response_size


@dataclass(frozen=True)
class OwnerEvidence:
    """`n` = p·q of the plaintexts of `factors`, plus that of `answer`, under the owner's `key`."""

    plan: Plan
    key: MemberKey
    factors: tuple[mpz, mpz]
    answer: mpz
    n: mpz

    @property
    def short(self) -> Bounded:
        """The statement about p; the other one includes the same about q."""
        return Bounded(self.key, self.factors[0], self.plan.factor_bits, self.plan.exponent_bits)

    @property
    def product(self) -> OpensProduct:
        """The statement about n."""
        bounds = self.plan.factor_bits, self.plan.exponent_bits
        return OpensProduct(self.key, *self.factors, self.answer, self.n, *bounds)

    @property
    def size(self) -> int:
        """Bytes of both proofs."""
        return _size(self.short) + _size(self.product)

    @property
    def total(self) -> mpz:
        """The ciphertext of p + q."""
        first, second = self.factors
        return self.key.square.multiply([first], [second])[0]

    def prove(self, own: OwnKey, summands: Summands, exponents: Summands, context: Context) -> bytes:
        """Both proofs, from the plaintexts of `factors` and their encryption exponents."""
        (p, q), (at_p, at_q) = summands, exponents
        short, product = self.short, self.product
        proof = prove(short, BoundedProver(short, p, at_p), context)
        return proof + prove(product, OpensProductProver(product, own, q, at_q), context)

    def verify(self, proofs: bytes, context: Context) -> None:
        """Raises a `MemberFault` unless both hold."""
        split = _size(self.short)
        verify(self.short, proofs[:split], context)
        verify(self.product, proofs[split:], context)


@dataclass(frozen=True)
class AnswererEvidence:
    """A ciphertext of the answerer's p + q under its own `key`, and the proof that it is short."""

    plan: Plan
    key: MemberKey

    def _short(self, ciphertext: mpz) -> Bounded:
        return Bounded(self.key, ciphertext, self.plan.factor_bits, self.plan.exponent_bits)

    @property
    def size(self) -> int:
        """Bytes of ciphertext and proof."""
        return self.key.width + _size(self._short(mpz(1)))

    def prove(self, total: mpz, exponent: mpz, context: Context) -> bytes:
        """A ciphertext of p + q = `total` with its proof."""
        ciphertexts = self.key.encrypt([total], [exponent])
        claim = self._short(ciphertexts[0])
        return self.key.write(ciphertexts) + prove(claim, BoundedProver(claim, total, exponent), context)

    def verify(self, data: bytes, context: Context) -> mpz:
        """The ciphertext. Raises a `MemberFault` unless the proof holds."""
        (ciphertext,) = self.key.read(data[: self.key.width])
        verify(self._short(ciphertext), data[self.key.width :], context)
        return ciphertext
