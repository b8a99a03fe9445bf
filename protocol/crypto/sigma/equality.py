"""One exponent under many bases: every image is its base raised to the same secret, in one short proof.

Groups of unknown order (mod n or n²), a signed integer witness s bounded by 2^witness_bits. With
weights tᵢ of 128 bits drawn after the images are fixed, h = ∏hᵢ^{2tᵢ} and b = ∏bᵢ^{2tᵢ}, the prover
announces u = g₀^{2r} and w = h^r, responds z = r − e·s over the integers, and the verifier checks
g₀^{2z}·V^{2e} = u and h^z·b^e = w (Tiresias, ePrint 2023/998, section 4.2). The squares are essential:
without them a share multiplied by −1 passes half of the time. The statement therefore is about squares.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gmpy2 import mpz

from protocol.crypto.integers import byte_width, decode_integer, encode_integer, require_count, require_units
from protocol.crypto.kernel import Modulus
from protocol.crypto.profiles import CHALLENGE_BITS
from protocol.crypto.sigma.protocol import Nonce, ProofRejected, Prover, Statement
from protocol.crypto.threshold import JointKey, KeyShare, Path, require_signless
from protocol.crypto.transcript import Transcript


@dataclass(frozen=True)
class SameExponent(Statement):
    """`image` = `generator`^s, and every image in `images` is its base in `bases` raised to `factor`·s.

    All are residues of `modulus`; |s| < 2^witness_bits; `factor` ≥ 1 is public.
    """

    name: ClassVar[str] = "equality of exponents"

    modulus: Modulus
    generator: mpz
    image: mpz
    bases: Sequence[mpz]
    images: Sequence[mpz]
    witness_bits: int
    factor: int = 1

    @property
    def batch(self) -> int:
        """One weight per base."""
        return len(self.bases)

    @property
    def announcement_size(self) -> int:
        """Two residues."""
        return 2 * self._width

    @property
    def response_size(self) -> int:
        """A signed integer a little longer than the nonce."""
        return (self.nonce_bits + 2) // 8 + 1

    @property
    def nonce_bits(self) -> int:
        """Length of r: hides e·s statistically."""
        return self.witness_bits + 2 * CHALLENGE_BITS

    @property
    def _width(self) -> int:
        return byte_width(self.modulus.value)

    def bind(self, transcript: Transcript) -> None:
        """Absorb modulus, generator, bases, images, factor and bound."""
        transcript.absorb("modulus", self.modulus.value)
        transcript.absorb("generator", self.generator, self.image)
        transcript.absorb("factor", self.factor, self.witness_bits)
        transcript.absorb_many("bases", self.bases, self._width)
        transcript.absorb_many("images", self.images, self._width)

    def folded_base(self, weights: Sequence[int]) -> mpz:
        """h = ∏ bases^{2·factor·t}."""
        product = self.modulus.multiexp(self.bases, weights)
        return self.modulus.powers([product], 2 * self.factor)[0]

    def check(self, weights: Sequence[int], announcement: bytes, challenge: int, response: bytes) -> None:
        """Accept iff both squared equations hold for units and a bounded response."""
        require_count(self.images, len(self.bases), "images")
        require_count(weights, len(self.bases), "weights")
        m, width = self.modulus, self._width
        u = decode_integer(announcement[:width], width=width, below=m.value, what="announcement")
        w = decode_integer(announcement[width:], width=width, below=m.value, what="announcement")
        for what, values in (("image", [self.image, *self.images]), ("announcement", [u, w])):
            require_units(values, m.value, what, below=m.value)
        z = int.from_bytes(response, "big", signed=True)
        if z.bit_length() > self.nonce_bits + 1:
            raise ProofRejected("the response of the equality proof is too long")
        base = self.folded_base(weights)
        image = m.multiply(*[[m.multiexp(self.images, weights)]] * 2)
        left = m.multiply(m.powers([self.generator], 2 * z), m.powers([self.image], 2 * challenge))
        right = m.multiply(m.powers([base], z), m.powers(image, challenge))
        if left != [u] or right != [w]:
            raise ProofRejected("the equations of the equality proof do not hold")


class SameExponentProver(Prover):
    """Proves `SameExponent` for its secret exponent."""

    def __init__(self, statement: SameExponent, secret: int) -> None:
        self._statement = statement
        self._secret = secret
        self._nonce: Nonce[int] = Nonce()

    def announce(self, weights: Sequence[int]) -> bytes:
        """u = g₀^{2r} and w = h^r for a fresh r of `nonce_bits` bits."""
        statement = self._statement
        nonce = 1 + secrets.randbits(statement.nonce_bits)
        self._nonce.put(nonce)
        u = statement.modulus.powers([statement.generator], 2 * nonce, secret=True)[0]
        w = statement.modulus.powers([statement.folded_base(weights)], nonce, secret=True)[0]
        width = byte_width(statement.modulus.value)
        return encode_integer(u, width) + encode_integer(w, width)

    def respond(self, challenge: int) -> bytes:
        """z = r − e·s as a signed integer of fixed width."""
        z = int(self._nonce.take() - challenge * self._secret)
        return z.to_bytes(self._statement.response_size, "big", signed=True)


def honest_decryption(
    key: JointKey, member: int, ciphertexts: Sequence[mpz], partials: Sequence[mpz], path: Path
) -> SameExponent:
    """The statement that `partials` are `member`'s partial decryptions of `ciphertexts` on `path`.

    Raises `MalformedInteger` for a partial decryption times −1, which no proof could tell.
    """
    require_signless(key.public, partials)
    return SameExponent(
        modulus=key.public.square,
        generator=key.public.generator,
        image=key.verification_key(member, path),
        bases=ciphertexts,
        images=partials,
        witness_bits=key.share_bits,
        factor=key.base_exponent(path),
    )


def decryption_prover(statement: SameExponent, share: KeyShare, path: Path) -> SameExponentProver:
    """The prover of `honest_decryption` for the holder of `share`."""
    return SameExponentProver(statement, int(share.secret(path)))
