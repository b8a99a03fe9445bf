"""Grants as they travel: a provider's credential in an envelope that says for whom and for what it is.

The provider enforces the caveats; the envelope repeats them, so that a peer refuses early what could
not work, and with the right words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec

from node.storage.errors import GrantRefused
from node.storage.limits import MAX_GRANT
from node.storage.store import Caveats
from protocol.errors import OwnFault

_VERSION: Final = 1


class _Envelope(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    version: int
    adapter: Annotated[str, msgspec.Meta(max_length=16)]
    prefix: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    peer: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    not_after: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    credential: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_GRANT)]


@dataclass(frozen=True)
class Grant:
    """Which adapter opens it, what it allows, and the credential, which never appears in `repr`."""

    adapter: str
    caveats: Caveats
    credential: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The token as it is sent to the peer; OwnFault if it is larger than MAX_GRANT. Secret."""
        caveats = self.caveats
        token = msgspec.msgpack.encode(
            _Envelope(
                _VERSION, self.adapter, caveats.prefix, caveats.peer, caveats.not_after, self.credential
            )
        )
        if len(token) > MAX_GRANT:
            raise OwnFault("the grant covers too much for one token", remedy="grant a smaller part")
        return token

    @classmethod
    def decode(cls, token: bytes) -> Grant:
        """Read a token; raises GrantRefused if it is not one."""
        if len(token) > MAX_GRANT:
            raise GrantRefused(f"a grant of {len(token)} bytes; at most {MAX_GRANT} are allowed")
        try:
            envelope = msgspec.msgpack.decode(token, type=_Envelope)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise GrantRefused("a grant that does not follow the format") from error
        if envelope.version != _VERSION:
            raise GrantRefused(f"a grant of version {envelope.version}; this node reads {_VERSION}")
        caveats = Caveats(envelope.prefix, envelope.peer, envelope.not_after)
        return cls(envelope.adapter, caveats, envelope.credential)
