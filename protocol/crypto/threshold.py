"""Decryption by any T of N members, and by all N on a faster path.

The secret d (a multiple of φ(n) with d ≡ θ mod n) exists only as shares: dᵢ with Σdᵢ = d, and their
integer Shamir sharing sₖ of Δ·d with Δ = N! (Damgård–Jurik 2001 after Shoup 2000; facts as derived in
`jointkey`). A partial decryption is a ciphertext raised to a share, with a proof against the share's
verification key; combining is public. *Never decrypt anything but an agreed aggregate*: a partial
decryption of a chosen ciphertext is an oracle.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import gmpy2
from gmpy2 import mpz

from protocol.crypto.integers import MalformedInteger, byte_width, require_count, require_units
from protocol.crypto.paillier import PublicKey
from protocol.errors import MemberFault, OwnFault

MIN_MEMBERS, MAX_MEMBERS = 2, 32


class BadIndex(MemberFault):
    """A member index is zero, above N, or given twice."""


class NotEnoughShares(OwnFault):
    """Fewer shares than the threshold: wait for more members."""


class DecryptionFailed(MemberFault):
    """The combined value is not an encryption of anything: a share is wrong, though its proof passed."""


class Path(Enum):
    """Which sharing of d a partial decryption uses: all N additive shares, or any T Shamir shares."""

    ALL = "all"
    THRESHOLD = "threshold"


@dataclass(frozen=True)
class JointKey:
    """The public part of a joint key: everyone in the roster holds the same.

    `theta` = d mod n; `additive_keys[i−1]` = g₀^{Δ·dᵢ} and `verification_keys[i−1]` = g₀^{sᵢ} mod n²;
    `share_bits` bounds |Δ·dᵢ| and |sᵢ|.
    """

    public: PublicKey
    members: int
    threshold: int
    theta: mpz
    additive_keys: tuple[mpz, ...]
    verification_keys: tuple[mpz, ...]
    share_bits: int

    def __post_init__(self) -> None:
        if not MIN_MEMBERS <= self.members <= MAX_MEMBERS:
            raise OwnFault(f"a joint key has {MIN_MEMBERS} to {MAX_MEMBERS} members, not {self.members}")
        if not 2 <= self.threshold <= self.members:
            raise OwnFault(f"a threshold of {self.threshold} does not fit {self.members} members")
        require_count(self.additive_keys, self.members, "additive verification keys")
        require_count(self.verification_keys, self.members, "verification keys")
        n = self.public.n
        require_units([self.theta], n, "theta", below=n)
        require_units(self.additive_keys + self.verification_keys, n, "verification key")

    @cached_property
    def delta(self) -> mpz:
        """Δ = N!, which clears the denominators of Lagrange coefficients."""
        return gmpy2.fac(self.members)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that name this key and its sharing; every member must report the same."""
        width = self.public.width
        parts = [
            self.public.digest,
            self.members.to_bytes(2, "big"),
            self.threshold.to_bytes(2, "big"),
            self.share_bits.to_bytes(4, "big"),
            int(self.theta).to_bytes(byte_width(self.public.n), "big"),
            *(int(key).to_bytes(width, "big") for key in self.additive_keys + self.verification_keys),
        ]
        return hashlib.sha256(b"starling/1 joint key" + b"".join(parts)).digest()

    def verification_key(self, member: int, path: Path) -> mpz:
        """g₀ raised to the secret that `member` uses on `path`."""
        require_indices([member], self.members)
        keys = self.additive_keys if path is Path.ALL else self.verification_keys
        return keys[member - 1]

    def base_exponent(self, path: Path) -> int:
        """What ciphertexts are raised to before the member's secret: 2 or 2Δ (a square either way)."""
        return 2 if path is Path.ALL else int(2 * self.delta)


@dataclass(frozen=True, repr=False)
class KeyShare:
    """One member's secrets: `additive` = Δ·dᵢ and `shamir` = sᵢ (signed integers). Never logged."""

    member: int
    additive: mpz
    shamir: mpz

    def secret(self, path: Path) -> mpz:
        """The exponent that this member contributes on `path`."""
        return self.additive if path is Path.ALL else self.shamir

    def __repr__(self) -> str:
        return f"KeyShare(member={self.member}, …)"


def require_indices(members: Sequence[int], count: int) -> None:
    """Raise `BadIndex` unless all are distinct and in 1 … count."""
    for member in members:
        if not 1 <= member <= count:
            raise BadIndex(f"there is no member {member} among {count}")
    if len(set(members)) != len(members):
        raise BadIndex("a member index appears twice")


def partially_decrypt(
    key: JointKey, share: KeyShare, ciphertexts: Sequence[mpz], path: Path = Path.THRESHOLD
) -> list[mpz]:
    """One partial decryption per ciphertext (residues mod n²): ±c^{2Δ·sₖ}, or ±c^{2·Δdₖ} on the path ALL.

    Of a number and its negative the smaller is meant, see `require_signless`. The caller has journalled that
    exactly this aggregate is released, and holds that it is one.
    """
    exponent = key.base_exponent(path) * share.secret(path)
    square = key.public.square
    return [min(x, square.value - x) for x in square.powers(ciphertexts, exponent, secret=True)]


def require_signless(public: PublicKey, partials: Sequence[mpz]) -> None:
    """Raise `MalformedInteger` unless every partial decryption is the smaller of itself and its negative.

    Without the factors nobody can tell x from −x by a proof, and the sum does not depend on it (`combine`
    squares). That only one of them is allowed leaves a share one form, like every other number on the wire.
    """
    for position, value in enumerate(partials):
        if 2 * value > public.square.value:
            raise MalformedInteger(
                f"partial decryption {position} is the negative of the one form it may have"
            )


def combine(key: JointKey, partials: Mapping[int, Sequence[mpz]], path: Path = Path.THRESHOLD) -> list[mpz]:
    """The plaintexts (0 … n−1) from verified partial decryptions by member index.

    On THRESHOLD any T or more members (the lowest T indices are used), on ALL everyone. Raises
    `NotEnoughShares`, `BadIndex`, `WrongCount`, or `DecryptionFailed` when the product is not of the form
    1 + n·x (then some partial is wrong: check the proofs).
    """
    members = sorted(partials)
    require_indices(members, key.members)
    needed = key.members if path is Path.ALL else key.threshold
    if len(members) < needed:
        raise NotEnoughShares(f"{len(members)} shares of the {needed} needed")
    quorum = members[:needed]
    count = len(partials[quorum[0]])
    for member in quorum:
        require_count(partials[member], count, f"partial decryptions of member {member}")
    return _decode(key, _product(key, partials, quorum, path), _scale(key, path))


def _product(
    key: JointKey, partials: Mapping[int, Sequence[mpz]], quorum: Sequence[int], path: Path
) -> list[mpz]:
    """c to a multiple of d, on both paths an even one: the sign of a partial has no effect."""
    square = key.public.square
    if path is Path.ALL:
        return square.powers(square.columns([partials[member] for member in quorum]), 2)
    rows = []
    for member in quorum:
        coefficient = lagrange_at_zero(member, quorum, key.delta)
        rows.append(square.powers(partials[member], 2 * coefficient))
    return square.columns(rows)


def lagrange_at_zero(member: int, quorum: Sequence[int], delta: int) -> int:
    """λ = Δ·∏ (−j)/(i−j) over j ≠ i in the quorum: an integer, since Δ = N!."""
    others = [other for other in quorum if other != member]
    numerator = math.prod(-other for other in others) * int(delta)
    denominator = math.prod(member - other for other in others)
    return numerator // denominator


def _scale(key: JointKey, path: Path) -> mpz:
    factor = 4 * key.delta if path is Path.ALL else 4 * key.delta**3
    return gmpy2.invert(factor * key.theta, key.public.n)


def _decode(key: JointKey, values: Sequence[mpz], scale: mpz) -> list[mpz]:
    n = key.public.n
    for position, value in enumerate(values):
        if value % n != 1:
            raise DecryptionFailed(
                f"the combined value of ciphertext {position} is not a decryption",
                remedy="verify the proofs of all partial decryptions and leave the false ones out",
            )
    return [(value - 1) // n * scale % n for value in values]


@dataclass(frozen=True)
class Assignment:
    """Ciphertexts `start` … `stop`−1 are decrypted by the members of `quorum`."""

    quorum: tuple[int, ...]
    start: int
    stop: int


def rotating_quorums(count: int, alive: Sequence[int], threshold: int) -> list[Assignment]:
    """Split `count` ciphertexts over overlapping quorums, so that each member does T/|alive| of the work.

    Block b goes to the T members that follow the b-th one round the circle of those alive.
    """
    members = sorted(alive)
    require_indices(members, MAX_MEMBERS)
    if len(members) < threshold:
        raise NotEnoughShares(f"{len(members)} members of the {threshold} needed")
    edges = [count * block // len(members) for block in range(len(members) + 1)]
    return [
        Assignment(
            tuple(sorted(members[(block + step) % len(members)] for step in range(threshold))),
            edges[block],
            edges[block + 1],
        )
        for block in range(len(members))
        if edges[block] < edges[block + 1]
    ]
