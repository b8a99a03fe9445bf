"""A range proof's parts, and their one encoding."""

from __future__ import annotations

from dataclasses import dataclass

from gmpy2 import mpz

from protocol.crypto.integers import decode_integer, encode_integer, require_units
from protocol.crypto.paillier import PublicKey
from protocol.crypto.ranges.shape import Sizes
from protocol.crypto.sigma import ProofRejected


@dataclass(frozen=True)
class Parts:
    """K, D, T₁ and T₀ mod n; A mod n²; the responses of the hiding exponents and of each value.

    The names are those of `digits`: what each is stands there.
    """

    committed: mpz
    mask: mpz
    linear: mpz
    constant: mpz
    folded: mpz
    hiding: mpz
    hiding_rest: mpz
    exponent: mpz
    responses: list[mpz]

    def to_bytes(self, sizes: Sizes) -> bytes:
        """Every part in its fixed width."""
        numbers = [self.committed, self.mask, self.linear, self.constant, self.folded]
        numbers += [self.hiding, self.hiding_rest, self.exponent, *self.responses]
        return b"".join(encode_integer(x, width) for x, width in zip(numbers, sizes.fields, strict=True))

    @classmethod
    def from_bytes(cls, proof: bytes, key: PublicKey, sizes: Sizes) -> Parts:
        """The parts; `ProofRejected` for another length, `MalformedInteger` for what is no unit."""
        if len(proof) != sizes.proof:
            raise ProofRejected(f"a range proof has {sizes.proof} bytes, not {len(proof)}")
        numbers, at = [], 0
        for width in sizes.fields:
            piece = proof[at : at + width]
            numbers.append(decode_integer(piece, width=width, below=1 << 8 * width, what="part of the proof"))
            at += width
        require_units(numbers[:4], key.n, "commitment", below=key.n)
        require_units(numbers[4:5], key.n, "announcement")
        committed, mask, linear, constant, folded, hiding, rest, exponent, *responses = numbers
        return cls(committed, mask, linear, constant, folded, hiding, rest, exponent, responses)
