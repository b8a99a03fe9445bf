"""The roster: who takes part, under which keys, and how many it takes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from protocol.crypto.threshold import MAX_MEMBERS, MIN_MEMBERS
from protocol.errors import OperatorFault
from protocol.wire import ShortText, Wire


class Member(Wire, frozen=True):
    """One member: how to reach it, which payments are its records, which key it proves to hold.

    `peer` is its libp2p peer id, `payment` the hash of its Cardano payment key (28 bytes), `job_key` a
    ristretto255 point (32 bytes), `bucket` the name of the bucket it stores its blobs in.
    """

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    peer: Annotated[str, Meta(min_length=1, max_length=120)]
    payment: Annotated[bytes, Meta(min_length=28, max_length=28)]
    job_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    bucket: ShortText


class Roster(Wire, frozen=True):
    """All members in their fixed order: the first has index 1."""

    LIMIT: ClassVar[int] = 32 * 1024

    members: Annotated[tuple[Member, ...], Meta(min_length=MIN_MEMBERS, max_length=MAX_MEMBERS)]

    def __post_init__(self) -> None:
        for what in ("name", "peer", "payment", "job_key"):
            if len({getattr(member, what) for member in self.members}) != len(self.members):
                raise OperatorFault(
                    f"two members of the roster have the same {what}",
                    remedy="every member needs its own identity, payment key and job key",
                )

    @property
    def size(self) -> int:
        """N."""
        return len(self.members)

    @property
    def indices(self) -> range:
        """1 … N."""
        return range(1, len(self.members) + 1)

    def member(self, index: int) -> Member:
        """The member with `index` (1 … N)."""
        return self.members[index - 1]

    def index_of_peer(self, peer: str) -> int | None:
        """The index of the member with this peer id, None for a stranger."""
        return next((i for i in self.indices if self.member(i).peer == peer), None)
