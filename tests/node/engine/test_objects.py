"""A job's objects: stored in the own bucket, fetched from wherever they can be had, shown on their way."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from node.engine.objects import Objects
from node.network import TransferFailed
from node.storage import (
    Admission,
    Bucket,
    BucketFull,
    DirectorySettings,
    ObjectKey,
    StorageUnavailable,
    open_bucket,
)
from protocol.records import Blob

JOB = bytes(range(32))
CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).digest()
BLOB = Blob(DIGEST, len(CONTENT), DIGEST, DIGEST)
PEERS = {1: "12D3KooWOne", 2: "12D3KooWTwo", 3: "12D3KooWThree"}


class Peers:
    """Stands for the mesh: what each contact serves (one after the other, of a list), and who was asked."""

    def __init__(self, **served: bytes | list[Any]) -> None:
        self.served = {int(name.removeprefix("member")): each for name, each in served.items()}
        self.asked: list[int] = []

    async def fetch(
        self, contact: int, digest: bytes, size: int, write: Callable[[bytes], Awaitable[Any]]
    ) -> None:
        self.asked.append(contact)
        given = self.served.get(contact, TransferFailed(contact, "away"))
        given = given.pop(0) if isinstance(given, list) else given
        if isinstance(given, Exception):
            raise given
        for at in range(0, len(given), 100_000):
            await write(given[at : at + 100_000])


class Places:
    """Three members' folders and buckets on one disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buckets = {member: self._bucket(member) for member in PEERS}

    def _bucket(self, member: int) -> Bucket:
        return open_bucket(DirectorySettings(self.folder / f"bucket-{member}"))

    def objects(self, me: int, mesh: Peers | None = None, bucket: Bucket | None = None) -> Objects:
        folder = self.folder / f"objects-{me}"
        folder.mkdir()
        return Objects(
            JOB,
            folder,
            bucket or self.buckets[me],
            mesh or Peers(),  # type: ignore[arg-type]
            {member: member for member in PEERS if member != me},
            PEERS[me],
            Admission(directories=(self.folder,)),
            {},
            90,
        )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


async def published(places: Places) -> Objects:
    owner = places.objects(1)
    owner.path(DIGEST).write_bytes(CONTENT)
    await owner.publish(3, BLOB)
    return owner


async def test_an_object_goes_into_the_own_bucket_and_is_read_from_there_by_grant(places: Places):
    owner = await published(places)
    reader = places.objects(2, mesh := Peers())
    reader.grants[1] = await owner.grant_to(2, PEERS[2])
    path = await reader.fetch(3, 1, BLOB)
    assert path.read_bytes() == CONTENT
    assert mesh.asked == []
    assert owner.traffic.total("up").bytes == owner.traffic.total("check").bytes == len(CONTENT)
    assert (reader.traffic.total("down").objects, reader.traffic.total("down").bytes) == (1, len(CONTENT))


async def test_a_revoked_grant_falls_back_to_the_owner_and_then_to_any_member(places: Places):
    owner = await published(places)
    token = await owner.grant_to(2, PEERS[2])
    await places.buckets[1].revoke(token)
    reader = places.objects(2, mesh := Peers(member3=CONTENT))
    reader.grants[1] = token
    with capture_logs() as logs:
        path = await reader.fetch(3, 1, BLOB)
    assert path.read_bytes() == CONTENT
    assert mesh.asked == [1, 3]
    assert [line["source"] for line in logs if line["event"] == "ObjectNotHere"] == [
        "bucket of member 1",
        "member 1",
    ]


async def test_an_expired_grant_falls_back(places: Places):
    await published(places)
    reader = places.objects(2, mesh := Peers(member1=CONTENT))
    reader.grants[1] = await places.buckets[1].grant(f"{JOB.hex()}/", PEERS[2], int(time.time()) - 1)
    await reader.fetch(3, 1, BLOB)
    assert mesh.asked == [1]


async def test_it_is_asked_for_again_until_somebody_has_it(
    places: Places, autojump_clock: trio.testing.MockClock
):
    away = [TransferFailed(3, "away")] * 4
    reader = places.objects(2, mesh := Peers(member3=[*away, CONTENT]))
    begun = trio.current_time()
    assert (await reader.fetch(3, 1, BLOB)).read_bytes() == CONTENT
    assert mesh.asked == 5 * [1, 3]
    assert trio.current_time() - begun >= 0.5 + 1 + 2 + 4


async def test_a_disk_that_takes_nothing_delays_and_leaves_nothing(
    places: Places, autojump_clock: trio.testing.MockClock
):
    reader = places.objects(2, mesh := Peers(member1=CONTENT, member3=CONTENT))
    folder = reader.path(DIGEST).parent
    folder.rmdir()
    refused = []

    def mend(logger: object, method: str, event: dict[str, Any]) -> dict[str, Any]:
        refused.append(event["event"])
        folder.mkdir()
        return event

    with capture_logs(processors=[mend]):
        assert (await reader.fetch(3, 1, BLOB)).read_bytes() == CONTENT
    assert refused == ["ObjectNotKept"]
    assert mesh.asked == [1]


class Failing(Bucket):
    """A bucket that refuses a few times before it stores."""

    def __init__(self, inner: Bucket, *errors: Exception) -> None:
        self._inner = inner
        self._errors = list(errors)

    async def put(self, key: ObjectKey, source: Any, **more: Any) -> int:
        if self._errors:
            raise self._errors.pop(0)
        return await self._inner.put(key, source, **more)

    async def verify(self, key: ObjectKey, **more: Any) -> None:
        await self._inner.verify(key, **more)


async def test_a_full_or_absent_bucket_delays_and_loses_nothing(
    places: Places, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("node.engine.objects.RETRY_FIRST", 0.001)
    failing = Failing(places.buckets[1], StorageUnavailable("down"), BucketFull("full", remedy="pay"))
    owner = places.objects(1, bucket=failing)
    owner.path(DIGEST).write_bytes(CONTENT)
    with capture_logs() as logs:
        await owner.publish(3, BLOB)
    told = [line["reason"] for line in logs if line["event"] == "OwnBucketUnavailable"]
    assert [reason.split(" ")[0] for reason in told] == ["down", "full"]
    await places.buckets[1].verify(ObjectKey(JOB.hex(), 3, DIGEST), size=len(CONTENT))


async def test_what_is_under_way_is_shown_and_what_broke_off_is_not_counted(places: Places):
    owner = await published(places)
    pieces = await owner.serve(2, DIGEST, len(CONTENT))
    assert pieces is not None
    await anext(pieces)
    [shown] = owner.traffic.view()
    assert (shown["direction"], shown["place"], shown["object"]) == ("up", "member 2", DIGEST.hex())
    assert shown["size_bytes"] == len(CONTENT)
    assert 0 <= shown["moved_bytes"] < len(CONTENT)
    before = owner.traffic.total("up").bytes
    await pieces.aclose()  # type: ignore[attr-defined]
    assert owner.traffic.view() == []
    assert owner.traffic.total("up").bytes == before
    assert await owner.serve(2, DIGEST, 1) is None


async def test_discarding_leaves_one_object(places: Places):
    owner = await published(places)
    owner.path(b"m" * 32).write_bytes(b"model")
    owner.path(DIGEST).with_suffix(".share").write_bytes(b"half")
    assert owner.discard(b"m" * 32) == (2, len(CONTENT) + 4)
    assert [path.name for path in owner.path(DIGEST).parent.iterdir()] == [(b"m" * 32).hex()]
