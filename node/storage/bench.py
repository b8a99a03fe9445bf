"""Measure a bucket on this machine.

    python -m node.storage.bench directory PATH
    python -m node.storage.bench uplink BUCKET      (access grant that may delete, in STORJ_ACCESS)
    python -m node.storage.bench s3 ENDPOINT BUCKET (key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)

Stores and fetches one object of 64 MiB, a thousand of 1,000 bytes, and one of 1 GiB, and prints rates and
the highest resident memory of this process after each. Removes what it stored.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import resource
import secrets
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

import structlog
import trio

from node.storage.bucket import Bucket
from node.storage.keys import ObjectKey
from node.storage.limits import MIB
from node.storage.opening import (
    DirectorySettings,
    S3Key,
    S3Settings,
    Settings,
    UplinkSettings,
    open_bucket,
)
from node.storage.retention import collect

_JOB: Final = secrets.token_hex(16)
_SMALL: Final = 1_000  # bytes, and how many


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure a bucket on this machine.")
    parser.add_argument("adapter", choices=["directory", "uplink", "s3"])
    parser.add_argument("place", nargs="+", help="a path, a bucket, or an endpoint and a bucket")
    parser.add_argument("--large", type=int, default=1024, metavar="MIB", help="size of the largest object")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = _settings(arguments.adapter, arguments.place)
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as directory:
        trio.run(_measure, open_bucket(settings), Path(directory), arguments.large)


def _settings(adapter: str, place: list[str]) -> Settings:
    if adapter == "directory":
        return DirectorySettings(Path(place[0]))
    if adapter == "uplink":
        grant = os.environ["STORJ_ACCESS"]
        return UplinkSettings(place[0], grant, grant)
    key = S3Key(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    return S3Settings(place[0], place[1], key, key)


async def _measure(bucket: Bucket, directory: Path, large: int) -> None:
    _report(f"at the start, {bucket.place}")
    try:
        await _one_object(bucket, directory, 64)
        await _small_objects(bucket)
        await _one_object(bucket, directory, large)
    finally:
        removed = await collect(bucket, _JOB)
    print(f"{removed.objects} objects removed")


async def _one_object(bucket: Bucket, directory: Path, mebibytes: int) -> None:
    source, destination = directory / "source", directory / "destination"
    digest = hashlib.sha256()
    with source.open("wb") as file:
        for _ in range(mebibytes):
            chunk = secrets.token_bytes(MIB)
            digest.update(chunk)
            file.write(chunk)
    key = ObjectKey(_JOB, 1, digest.digest())
    size = mebibytes * MIB
    up = await _timed(bucket.put(key, source, expires_at=_expiry()))
    _report(f"{mebibytes} MiB up: {size / up / 1e6:.0f} MB/s")
    down = await _timed(bucket.fetch(key, destination, size=size))
    _report(f"{mebibytes} MiB down: {size / down / 1e6:.0f} MB/s")


async def _small_objects(bucket: Bucket) -> None:
    contents = [secrets.token_bytes(_SMALL) for _ in range(_SMALL)]
    keys = [ObjectKey(_JOB, 2, hashlib.sha256(content).digest()) for content in contents]

    async def put_all() -> None:
        async with trio.open_nursery() as nursery:
            for key, content in zip(keys, contents, strict=True):
                nursery.start_soon(_put, bucket, key, content)

    async def fetch_all() -> None:
        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(_fetch, bucket, key)

    _report(f"{_SMALL} objects of {_SMALL} bytes up: {await _timed(put_all()):.2f} s")
    _report(f"{_SMALL} objects of {_SMALL} bytes down: {await _timed(fetch_all()):.2f} s")


async def _put(bucket: Bucket, key: ObjectKey, content: bytes) -> None:
    await bucket.put(key, content, expires_at=_expiry())


async def _fetch(bucket: Bucket, key: ObjectKey) -> None:
    await bucket.fetch_bytes(key, size=_SMALL)


async def _timed(work: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def _expiry() -> int:
    return int(time.time()) + 3600


def _report(what: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:60} peak memory {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
