"""API keys: macaroons whose caveats narrow what they allow, each bound to the one before by HMAC."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum

from support.storj.protobuf import Message, read_timestamp, read_varint, varint

_VERSION, _IDENTIFIER, _SIGNATURE, _LOCATION = 2, 2, 6, 1


class Action(Enum):
    """What is asked for; the value is the field of a caveat that disallows it (0: always allowed)."""

    READ = 1
    WRITE = 2
    LIST = 3
    DELETE = 4
    PROJECT = 0


@dataclass(frozen=True)
class ApiKey:
    """A parsed key."""

    head: bytes
    caveats: tuple[bytes, ...]
    tail: bytes

    @classmethod
    def unrestricted(cls, head: bytes, secret: bytes) -> ApiKey:
        """The root key of a project."""
        return cls(head, (), _sign(secret, head))

    @classmethod
    def parse(cls, raw: bytes) -> ApiKey:
        """Read the serialised form; IndexError or ValueError if it is not one."""
        if raw[0] != _VERSION:
            raise ValueError("unknown version")
        at, identifiers = 1, []
        while True:
            section, at = _section(raw, at)
            if not section:
                break
            identifiers.append(section[_IDENTIFIER])
        kind, at = read_varint(raw, at)
        size, at = read_varint(raw, at)
        if kind != _SIGNATURE or size != 32:
            raise ValueError("no signature")
        return cls(identifiers[0], tuple(identifiers[1:]), raw[at : at + size])

    def serialise(self) -> bytes:
        """The bytes that access grants carry."""
        identifiers = b"".join(_packet(_IDENTIFIER, each) + b"\0" for each in (self.head, *self.caveats))
        return bytes([_VERSION]) + identifiers + b"\0" + _packet(_SIGNATURE, self.tail)

    def tails(self, secret: bytes) -> list[bytes]:
        """The tails of this key and of all that it was derived from."""
        tails = [_sign(secret, self.head)]
        for caveat in self.caveats:
            tails.append(_sign(tails[-1], caveat))
        return tails

    def allows(self, action: Action, bucket: bytes, path: bytes, now: float) -> bool:
        """Whether every caveat allows the action."""
        return all(_allows(Message(caveat), action, bucket, path, now) for caveat in self.caveats)


def _allows(caveat: Message, action: Action, bucket: bytes, path: bytes, now: float) -> bool:
    after, before = read_timestamp(caveat.message(20)), read_timestamp(caveat.message(21))
    if (after is not None and now > after) or (before is not None and now < before):
        return False
    places = caveat.messages(10)
    if action is Action.PROJECT:
        return True
    if action is Action.READ and not path:  # a bucket's own metadata may always be read
        return not places or any(place.raw(1) == bucket for place in places)
    if caveat.integer(action.value):
        return False
    return not places or any(place.raw(1) == bucket and path.startswith(place.raw(2)) for place in places)


def _sign(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)


def _packet(kind: int, data: bytes) -> bytes:
    return varint(kind) + varint(len(data)) + data


def _section(raw: bytes, at: int) -> tuple[dict[int, bytes], int]:
    fields = {}
    while True:
        kind, at = read_varint(raw, at)
        if kind == 0:
            return fields, at
        size, at = read_varint(raw, at)
        fields[kind] = raw[at : at + size]
        at += size
