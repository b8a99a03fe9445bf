"""A joint key and a member's share of it as bytes: for the journal, which is encrypted, and backups."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gmpy2 import mpz
from msgspec import Meta

from protocol.crypto.paillier import public_key
from protocol.crypto.profiles import profile_named
from protocol.crypto.threshold import JointKey, KeyShare
from protocol.encoding.errors import Malformed
from protocol.wire import MemberIndex, ShortText, Wire

Number = Annotated[bytes, Meta(min_length=1, max_length=4096)]


class StoredKey(Wire, frozen=True):
    """The public part: everyone holds the same, and its digest names it."""

    LIMIT: ClassVar[int] = 256 * 1024

    profile: ShortText
    members: MemberIndex
    threshold: MemberIndex
    share_bits: Annotated[int, Meta(ge=1, le=2**20)]
    n: Number
    theta: Number
    additive_keys: tuple[Number, ...]
    verification_keys: tuple[Number, ...]

    @classmethod
    def of(cls, key: JointKey) -> StoredKey:
        """The stored form of `key`."""
        return cls(
            profile=key.public.profile.name,
            members=key.members,
            threshold=key.threshold,
            share_bits=key.share_bits,
            n=_bytes(key.public.n),
            theta=_bytes(key.theta),
            additive_keys=tuple(_bytes(value) for value in key.additive_keys),
            verification_keys=tuple(_bytes(value) for value in key.verification_keys),
        )

    def key(self) -> JointKey:
        """The key. Raises a `StarlingError` for one that cannot be."""
        profile = profile_named(self.profile, allow_insecure=True)
        return JointKey(
            public=public_key(_number(self.n), profile),
            members=self.members,
            threshold=self.threshold,
            theta=_number(self.theta),
            additive_keys=tuple(_number(value) for value in self.additive_keys),
            verification_keys=tuple(_number(value) for value in self.verification_keys),
            share_bits=self.share_bits,
        )


class StoredShare(Wire, frozen=True):
    """A member's secrets together with the key they belong to. Never logged or shown."""

    LIMIT: ClassVar[int] = 512 * 1024

    key: StoredKey
    member: MemberIndex
    additive: Number
    shamir: Number

    @classmethod
    def of(cls, key: JointKey, share: KeyShare) -> StoredShare:
        """The stored form of a key and a share."""
        return cls(StoredKey.of(key), share.member, _bytes(share.additive), _bytes(share.shamir))

    def share(self) -> KeyShare:
        """The share."""
        if self.member > self.key.members:
            raise Malformed("the key share belongs to no member of its key")
        return KeyShare(self.member, _number(self.additive), _number(self.shamir))

    def __repr__(self) -> str:
        return f"StoredShare(member={self.member}, …)"


def _bytes(value: int) -> bytes:
    number = int(value)
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def _number(data: bytes) -> mpz:
    return mpz(int.from_bytes(data, "big", signed=True))
