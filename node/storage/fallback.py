"""Fetching an object from wherever it can be had: its owner's bucket first, then whoever keeps a copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from node.storage.errors import DestinationFault, StorageUnavailable
from node.storage.keys import ObjectKey
from protocol.errors import StarlingError

_log = structlog.get_logger()


class Fetch(Protocol):
    """What `GrantedBucket.fetch` does; for a peer, what the engine makes of a bulk transfer."""

    async def __call__(self, key: ObjectKey, destination: Path, *, size: int) -> None:
        """Deliver the whole object, verified, or raise a StarlingError."""


class NowhereAvailable(StorageUnavailable):
    """No source could deliver the object; `failures` says why, in the order of the sources."""

    def __init__(self, key: ObjectKey, failures: Sequence[StarlingError]) -> None:
        reasons = "; ".join(str(failure) for failure in failures) or "nobody has it"
        super().__init__(f"{key} cannot be had: {reasons}", remedy="wait until a member that has it is back")
        self.failures = tuple(failures)


async def fetch_from_any(
    key: ObjectKey, destination: Path, *, size: int, sources: Sequence[Fetch]
) -> tuple[StarlingError, ...]:
    """Try the sources in order until one delivers; returns why those before it did not.

    Among them are the faults of members, for the caller to hold against them. Raises NowhereAvailable, or
    DestinationFault at once: another source would not help.
    """
    failures: list[StarlingError] = []
    for fetch in sources:
        try:
            await fetch(key, destination, size=size)
        except DestinationFault:
            raise
        except StarlingError as error:
            _log.warning("FetchFailed", key=str(key), why=str(error), others=len(sources) - len(failures) - 1)
            failures.append(error)
        else:
            return tuple(failures)
    raise NowhereAvailable(key, failures)
