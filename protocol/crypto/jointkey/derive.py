"""From additive shares of β·φ(n) to the T-of-N threshold key. The last part of every key generation.

Each member holds an integer dᵢ in 0 … P − 1 with Σdᵢ = β·φ(n) + k·P, where 0 ≤ k < N is not yet known, and:

1. commits to Bᵢ = g₀^{dᵢ}, g₀ = (1+n)·ρⁿ, and opens it (`commitment`);
   k is the one value with ∏Bᵢ = g₀^{kP}·(1 + θn), since φ(n) is a multiple of the order of ρⁿ, and shows θ;
   member 1 takes kP off its share, and d = Σdᵢ = β·φ(n) with d ≡ θ mod n;
2. reshares Δ·dᵢ over the integers with Feldman's commitments, whose constant terms are the Bᵢ^Δ;
3. accuses whoever sent it a share off the commitments;
4. decrypts a public test ciphertext on both paths, with proofs.

A wrong Bᵢ leaves no k (nobody is named: `GenerationFailed`); a wrong share, commitment or partial decryption
names its author. Damgård–Jurik 2001 and Shoup 2000 for the sharing; that θ is public is Nishide–Sakurai 2010.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping

import gmpy2
from gmpy2 import mpz

from protocol.crypto.integers import byte_width, decode_integer, encode_integer, require_units
from protocol.crypto.jointkey.commitment import opened
from protocol.crypto.jointkey.errors import GenerationFailed
from protocol.crypto.jointkey.party import Finished, Party, Received, Round, Shape, Steps
from protocol.crypto.jointkey.verdict import Accusation, Exchange, settle
from protocol.crypto.jointkey.wire import Residues, blaming
from protocol.crypto.paillier import PublicKey
from protocol.crypto.sharing import integer
from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.equality import decryption_prover, honest_decryption
from protocol.crypto.threshold import (
    DecryptionFailed,
    JointKey,
    KeyShare,
    Path,
    combine,
    partially_decrypt,
)
from protocol.errors import MemberFault

_START = "start again; if it happens twice, one of the members cheats"


def derive(
    party: Party, public: PublicKey, mine: mpz, field: mpz, *, surplus: bool = False
) -> Generator[Round, Received, Finished]:
    """Run steps 1–4 for `party`, whose additive share modulo `field` (P > N·n²·2^80) is `mine`.

    Every member enters with the same `public` and `field`; with `surplus` the shares are λᵢ·f(i) for an f of
    a degree for which N − 1 of them would do, which is then checked. Six rounds. Raises `Cheater` and other
    `MemberFault`s with a name, or `GenerationFailed` without one.
    """
    return (yield from _Derivation(party, public, field, surplus).run(mine))


class _Derivation:
    def __init__(self, party: Party, public: PublicKey, field: mpz, surplus: bool) -> None:
        self.party = party
        self.setup = party.setup
        self.me = party.me
        self.public = public
        self.field = field
        self.surplus = surplus
        self.scheme = integer.Scheme(
            self.setup.members, self.setup.threshold, (field * self.setup.members).bit_length()
        )
        self.base = public.generator

    def run(self, mine: mpz) -> Steps:
        self.party.report("finding theta")
        commitments = yield from self._commit(mine)
        if self.surplus:
            self._check_degree(commitments)
        wraps, theta = self._unwrap(commitments)
        if self.me == 1:
            mine -= wraps * self.field
        correction = self.public.square.powers([self.base], -wraps * self.field)
        commitments[1] = self.public.square.multiply([commitments[1]], correction)[0]
        self.party.report("resharing", 0.4)
        share, key = yield from self._reshare(mine, commitments, theta)
        self.party.report("test decryption", 0.8)
        yield from self._test(key, share)
        self.party.report("finished", 1.0)
        return Finished(key, share)

    def _commit(self, mine: mpz) -> Generator[Round, Received, dict[int, mpz]]:
        """Step 1: everybody's Bᵢ."""
        commitment = self.public.square.powers([self.base], mine, secret=True)[0]
        bodies = yield from opened(self.party, encode_integer(commitment, self.public.width))
        return {sender: self._units(sender, body, 1)[0] for sender, body in bodies.items()}

    def _units(self, sender: int, body: bytes, count: int) -> list[mpz]:
        square = self.public.n**2
        with blaming(sender):
            values = Residues([square] * count).unpack(body)
            require_units(values, self.public.n, "commitment")
        return values

    def _check_degree(self, commitments: Mapping[int, mpz]) -> None:
        """That Σ i·dᵢ = 0 mod P, see `shamir.has_spare_value`: for some k, ∏Bᵢ^i = g₀^{kP}.

        If not, somebody dealt values of a higher degree, and the Bᵢ together may tell φ(n).
        """
        square = self.public.square
        total = square.product(square.powers_each(list(commitments.values()), list(commitments)))
        step = square.powers([self.base], -self.field)
        for _ in range(sum(commitments)):
            if total == 1:
                return
            total = square.multiply([total], step)[0]
        raise GenerationFailed(
            "the shares of the decryption exponent are of too high a degree", remedy=_START
        )

    def _unwrap(self, commitments: Mapping[int, mpz]) -> tuple[int, mpz]:
        """k and θ: the one pair with ∏Bᵢ = g₀^{kP}·(1 + θn)."""
        n, square = self.public.n, self.public.square
        total = square.product(list(commitments.values()))
        step = square.powers([self.base], -self.field)
        for wraps in range(self.setup.members):
            if total % n == 1:
                theta = total // n
                if gmpy2.gcd(theta, n) != 1:
                    raise GenerationFailed("theta is not invertible", remedy="start again")
                return wraps, theta
            total = square.multiply([total], step)[0]
        raise GenerationFailed("the shares of the decryption exponent do not fit the modulus", remedy=_START)

    def _reshare(
        self, mine: mpz, commitments: Mapping[int, mpz], theta: mpz
    ) -> Generator[Round, Received, tuple[KeyShare, JointKey]]:
        """Steps 2 and 3: this member's share of Δ·d and everybody's verification keys."""
        square, threshold = self.public.square, self.setup.threshold
        coefficients = integer.polynomial(mine, self.scheme)
        bound = mpz(1) << self.scheme.share_bits
        shape = Shape.exactly((threshold - 1) * self.public.width, 1, byte_width(bound))
        received = yield Round(
            shape,
            Residues([square.value] * (threshold - 1)).pack(
                integer.commit(coefficients[1:], self.base, square)
            ),
            {
                member: [encode_integer(integer.evaluate(coefficients, member), byte_width(bound))]
                for member in self.setup.indices
            },
        )
        constants = square.powers([commitments[i] for i in self.setup.indices], int(self.scheme.delta))
        committed = {
            sender: [constants[sender - 1], *self._units(sender, received.bodies[sender], threshold - 1)]
            for sender in self.setup.indices
        }

        def is_right(_exchange: int, dealer: int, recipient: int, _position: int, part: bytes) -> bool:
            try:
                share = decode_integer(part, width=byte_width(bound), below=bound)
                integer.verify(share, recipient, committed[dealer], self.base, square)
            except MemberFault:
                return False
            return True

        wrong = [
            other
            for other in self.party.others
            if not is_right(0, other, self.me, 0, received.private[other][0])
        ]
        exchange = Exchange("share of the decryption exponent", shape, received)
        yield from settle(self.me, [exchange], Accusation(wrong[0], 0, 0) if wrong else None, is_right)
        shares = [mpz(int.from_bytes(received.private[i][0], "big")) for i in self.setup.indices]
        joint = square.columns([committed[dealer] for dealer in self.setup.indices])
        key = JointKey(
            public=self.public,
            members=self.setup.members,
            threshold=threshold,
            theta=theta,
            additive_keys=tuple(constants),
            verification_keys=tuple(integer.expected(joint, i, square) for i in self.setup.indices),
            share_bits=self.scheme.share_bits + self.setup.members.bit_length(),
        )
        return KeyShare(self.me, self.scheme.delta * mine, sum(shares, mpz(0))), key

    def _test(self, key: JointKey, share: KeyShare) -> Generator[Round, Received, None]:
        """Step 4: everybody decrypts E(m) for a hashed m on both paths and proves it."""
        n, width = self.public.n, self.public.width
        message = mpz(int.from_bytes(hashlib.shake_256(key.digest).digest(byte_width(n) + 16), "big")) % n
        mask = self.public.hashed_residue("test decryption")
        ciphertexts = self.public.square.multiply([1 + message * n], [mask])
        body, sizes = b"", {}
        for path in Path:
            partials = partially_decrypt(key, share, ciphertexts, path)
            statement = honest_decryption(key, self.me, ciphertexts, partials, path)
            context = self.setup.context(self.me, key.digest)
            proof = prove(statement, decryption_prover(statement, share, path), context)
            sizes[path] = len(proof)
            body += encode_integer(partials[0], width) + proof
        bodies = yield from opened(self.party, body)
        partials_by_path: dict[Path, dict[int, list[mpz]]] = {path: {} for path in Path}
        for sender in self.setup.indices:
            at = 0
            for path in Path:
                end = at + width + sizes[path]
                with blaming(sender):
                    partial = decode_integer(bodies[sender][at : at + width], width=width, below=n * n)
                    statement = honest_decryption(key, sender, ciphertexts, [partial], path)
                    proof = bodies[sender][at + width : end]
                    verify(statement, proof, self.setup.context(sender, key.digest))
                partials_by_path[path][sender] = [partial]
                at = end
        for path, partials_of in partials_by_path.items():
            if self._combine(key, partials_of, path) != message:
                raise GenerationFailed("the joint key does not decrypt", remedy=_START)

    def _combine(self, key: JointKey, partials: Mapping[int, list[mpz]], path: Path) -> mpz | None:
        try:
            return combine(key, partials, path)[0]
        except DecryptionFailed:
            return None
