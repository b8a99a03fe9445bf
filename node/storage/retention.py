"""What becomes of a job's objects once it is settled."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import structlog
import trio

from node.storage.bucket import Bucket
from node.storage.errors import StorageUnavailable
from node.storage.keys import ObjectKey, scope_of
from node.storage.store import Stat

_log = structlog.get_logger()


@dataclass(frozen=True)
class Collected:
    """What was removed, and how many objects could not be reached this time."""

    objects: int
    size: int
    left: int


async def collect(
    bucket: Bucket, job: str, *, round: int | None = None, keep: Collection[ObjectKey] = ()
) -> Collected:
    """Remove our objects of a job, or of one of its rounds, but for those to keep.

    Safe to call again, which is what to do while `left` is not zero. Raises AccessRefused without a
    credential that may delete, StorageUnavailable if the bucket cannot be listed.
    """
    removed: list[Stat] = []
    left = 0

    async def remove(key: ObjectKey, stat: Stat) -> None:
        nonlocal left
        try:
            await bucket.delete(key)
            removed.append(stat)
        except StorageUnavailable:
            left += 1

    keeping = set(keep)
    found = [each for each in await bucket.list(scope_of(job, round)) if each[0] not in keeping]
    if found:  # one by itself first: a refusal concerns all of them
        await remove(*found[0])
    async with trio.open_nursery() as nursery:
        for key, stat in found[1:]:
            nursery.start_soon(remove, key, stat)
    collected = Collected(len(removed), sum(stat.size for stat in removed), left)
    _log.info("ObjectsCollected", job=job, round=round, place=bucket.place, **vars(collected))
    return collected
