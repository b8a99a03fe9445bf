"""A joint key in a moment, for measurements only: its modulus is made by one process that knows the factors.

Everything after the modulus is the real thing: the members derive their shares from it as after a key
generation, so that exponents and shares have the lengths that they have in a job.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from protocol.crypto.jointkey.derive import derive
from protocol.crypto.jointkey.fields import exponent_field
from protocol.crypto.jointkey.party import Finished, Incoming, Outgoing, Party, Setup, Steps
from protocol.crypto.paillier import PublicKey, public_key
from protocol.crypto.profiles import Profile
from protocol.crypto.threshold import JointKey, KeyShare
from protocol.errors import OwnFault


@dataclass(frozen=True, repr=False)
class Dealt:
    """A joint key with everyone's share, and the factors for whoever is compared with."""

    key: JointKey
    shares: dict[int, KeyShare]
    p: int
    q: int


class _Deriver(Party):
    """A party that begins where the search for a modulus ends."""

    def __init__(self, setup: Setup, me: int, public: PublicKey, share: mpz) -> None:
        super().__init__(setup, me)
        self._public, self._share = public, share

    def _steps(self) -> Steps:
        return derive(self, self._public, self._share, exponent_field(self._public.profile.modulus_bits))


def deal(profile: Profile, members: int, threshold: int) -> Dealt:
    """A key of `profile` for `members` members of whom any `threshold` decrypt."""
    p, q = _factors(profile.modulus_bits)
    public = public_key(p * q, profile)
    field = exponent_field(profile.modulus_bits)
    multiple = (p - 1) * (q - 1) * sum(secrets.randbelow(int(public.n)) for _ in range(members))
    shares = [mpz(secrets.randbelow(int(field))) for _ in range(members - 1)]
    shares.append((multiple - sum(shares)) % field)
    setup = Setup(secrets.token_bytes(32), secrets.token_bytes(32), members, threshold, profile)
    finished = _run([_Deriver(setup, me, public, share) for me, share in enumerate(shares, start=1)])
    return Dealt(finished[1].key, {me: each.share for me, each in finished.items()}, int(p), int(q))


def _run(parties: list[_Deriver]) -> dict[int, Finished]:
    sent = {party.me: party.start() for party in parties}
    while True:
        outcomes = {party.me: party.advance(_inbox(sent, party.me)) for party in parties}
        finished = {me: outcome for me, outcome in outcomes.items() if isinstance(outcome, Finished)}
        if finished:
            return finished
        sent = {me: outcome for me, outcome in outcomes.items() if isinstance(outcome, Outgoing)}


def _inbox(sent: dict[int, Outgoing], me: int) -> dict[int, Incoming]:
    return {i: Incoming(o.broadcast, o.private[me]) for i, o in sent.items() if i != me}


def _factors(bits: int) -> tuple[mpz, mpz]:
    for _ in range(1000):
        p, q = (_prime(bits // 2) for _ in range(2))
        if p != q and gmpy2.gcd(p - 1, q - 1) == 2:
            return p, q
    raise OwnFault(f"no two fitting primes of {bits // 2} bits were found")


def _prime(bits: int) -> mpz:
    """A prime with p ≡ 3 mod 4 and its two highest bits set."""
    fixed = mpz(3) << (bits - 2) | 3
    while not gmpy2.is_prime(candidate := mpz(secrets.randbits(bits)) | fixed):
        continue
    return candidate
