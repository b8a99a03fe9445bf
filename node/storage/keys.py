"""Names of objects: by job, round and content, so that what a name stands for never changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from protocol.errors import OwnFault

DIGEST_SIZE: Final = 32  # SHA-256
_JOB: Final = re.compile(r"[0-9a-f]{16,128}")  # a digest, or enough of one to be unique
_MAX_ROUND: Final = 1_000_000
_KEY: Final = re.compile(r"([0-9a-f]{16,128})/(0|[1-9][0-9]{0,6})/([0-9a-f]{64})")
_SCOPE: Final = re.compile(r"[0-9a-f]{16,128}/((0|[1-9][0-9]{0,6})/([0-9a-f]{64})?)?")


@dataclass(frozen=True)
class ObjectKey:
    """`<job in hex>/<round>/<SHA-256 of the object in hex>`; round 0 is what precedes the rounds.

    Raises OwnFault if a part has the wrong form.
    """

    job: str
    round: int
    digest: bytes

    def __post_init__(self) -> None:
        scope_of(self.job, self.round)
        if len(self.digest) != DIGEST_SIZE:
            raise OwnFault(f"an object's digest has {DIGEST_SIZE} bytes, not {len(self.digest)}")

    @property
    def path(self) -> str:
        """The key as every provider stores it."""
        return f"{scope_of(self.job, self.round)}{self.digest.hex()}"

    @classmethod
    def parse(cls, path: str) -> ObjectKey | None:
        """The key behind a listed path, or None for something that is not ours."""
        parts = _KEY.fullmatch(path)
        if parts is None or int(parts[2]) > _MAX_ROUND:
            return None
        return cls(parts[1], int(parts[2]), bytes.fromhex(parts[3]))

    def __str__(self) -> str:
        return self.path


def scope_of(job: str, round: int | None = None) -> str:
    """The prefix that the objects of a job, or of one of its rounds, share; it ends with a slash.

    Raises OwnFault if `job` is not hexadecimal of 16 to 128 digits or `round` out of range.
    """
    if not _JOB.fullmatch(job):
        raise OwnFault("a job is named by 16 to 128 lower-case hexadecimal digits")
    if round is None:
        return f"{job}/"
    if not 0 <= round <= _MAX_ROUND:
        raise OwnFault(f"round {round} is not in 0…{_MAX_ROUND}")
    return f"{job}/{round}/"


def check_scope(prefix: str) -> None:
    """Raise OwnFault unless the prefix is one of `scope_of` or the path of one object."""
    if not _SCOPE.fullmatch(prefix):
        raise OwnFault("a scope is <job>/, <job>/<round>/ or an object's whole key")
