"""Reading a member's S3 bucket with an access key that its operator made for readers.

Such a key covers what will be stored later, too. It is the server that bounds it: to reading, to one
bucket, for as long as the operator keeps it; the grant's expiry binds honest readers only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from node.storage.calls import Call
from node.storage.errors import AccessRefused
from node.storage.store import Readable, Sink

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


@dataclass(frozen=True)
class S3Key:
    """An S3 access key."""

    identifier: str
    secret: str = field(repr=False)


class KeyedCredential(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Where a bucket is, and the key to read it. Secret."""

    endpoint: _Text
    bucket: _Text
    region: _Text
    identifier: _Text
    secret: _Text

    @classmethod
    def decode(cls, credential: bytes, endpoints: tuple[str, ...]) -> KeyedCredential:
        """Read what a peer's `share` returned; AccessRefused if malformed or not for one of `endpoints`."""
        try:
            told = msgspec.msgpack.decode(credential, type=cls)
            parts = urlsplit(told.endpoint)
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
            raise AccessRefused("an S3 grant that does not follow the format") from error
        if f"{parts.scheme}://{parts.netloc}" not in endpoints:
            raise AccessRefused(
                "an S3 grant for a server that is not an allowed one",
                remedy="add the member's endpoint to the allowed ones",
            )
        return told


class UntilThen:
    """A bucket that is read until its grant's expiry, in Unix seconds by `clock`."""

    def __init__(self, store: Readable, not_after: int, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._not_after = not_after
        self._clock = clock

    @property
    def place(self) -> str:
        """Where the bucket is."""
        return self._store.place

    def get(self, call: Call, path: str, sink: Sink) -> None:
        """See `Readable.get`."""
        if self._clock() > self._not_after:
            raise AccessRefused("the grant has expired")
        self._store.get(call, path, sink)
