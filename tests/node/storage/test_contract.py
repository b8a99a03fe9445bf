"""What every kind of bucket must do, whichever provider is behind it."""

from __future__ import annotations

import os
import random

import pytest
import trio
from support.storage.venues import (
    JOB,
    OWNER,
    Venue,
    directory_venue,
    emulated_venue,
    in_seconds,
    key_of,
    s3_venue,
    storj_venue,
)

from node.storage import (
    GrantRefused,
    ObjectAbsent,
    ObjectKey,
    WrongScope,
    WrongSource,
    scope_of,
)
from protocol.errors import MemberFault

KIB = 1 << 10
HOUR = 3600


REAL_ACCESS = os.environ.get("STARLING_TEST_STORJ_ACCESS")


@pytest.fixture(params=["directory", "emulated storj", "s3", "s3 keyed", *(["storj"] if REAL_ACCESS else [])])
async def venue(request, tmp_path):
    opened = {
        "directory": lambda: directory_venue(tmp_path),
        "emulated storj": lambda: emulated_venue(tmp_path),
        "s3": lambda: s3_venue(tmp_path),
        "s3 keyed": lambda: s3_venue(tmp_path, keyed=True),
        "storj": lambda: storj_venue(REAL_ACCESS),
    }[request.param]()
    async with opened as venue:
        yield venue


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


async def stored(venue: Venue, content: bytes, round: int = 1) -> ObjectKey:
    key = key_of(content, round)
    assert await venue.bucket.put(key, content, expires_at=in_seconds(HOUR)) == len(content)
    return key


@pytest.mark.parametrize("size", [0, 1, 4 * KIB, 4 * KIB + 1, 300 * KIB, 3 << 20])
async def test_what_is_put_is_fetched(venue, size):
    content = content_of(size)
    key = await stored(venue, content)
    assert await venue.bucket.fetch_bytes(key, size=size) == content
    await venue.bucket.verify(key, size=size)
    assert (await venue.bucket.stat(key)).size == size


async def test_files_go_and_come_whole(venue, tmp_path):
    content = content_of(5 << 20)
    source, destination = tmp_path / "source", tmp_path / "deep" / "destination"
    source.write_bytes(content)
    key = key_of(content)
    moved: list[int] = []
    await venue.bucket.put(key, source, expires_at=in_seconds(HOUR), progress=moved.append)
    await venue.bucket.fetch(key, destination, size=len(content))
    assert destination.read_bytes() == content
    assert destination.stat().st_mode & 0o077 == 0
    assert [path.name for path in destination.parent.iterdir()] == ["destination"]
    assert moved == sorted(moved)


async def test_putting_again_changes_nothing(venue):
    content = content_of(10 * KIB)
    key = await stored(venue, content)
    assert await stored(venue, content) == key
    assert await venue.bucket.fetch_bytes(key, size=len(content)) == content


async def test_content_must_be_what_its_key_names(venue, tmp_path):
    key = key_of(b"announced")
    with pytest.raises(WrongSource):
        await venue.bucket.put(key, b"something else", expires_at=in_seconds(HOUR))
    with pytest.raises(WrongSource):
        await venue.bucket.put(key, tmp_path / "absent", expires_at=in_seconds(HOUR))
    with pytest.raises(ObjectAbsent):
        await venue.bucket.stat(key)


async def test_absent_objects_are_absent(venue, tmp_path):
    key = key_of(b"never stored")
    with pytest.raises(ObjectAbsent):
        await venue.bucket.fetch_bytes(key, size=12)
    with pytest.raises(ObjectAbsent):
        await venue.bucket.fetch(key, tmp_path / "destination", size=12)
    with pytest.raises(ObjectAbsent):
        await venue.bucket.stat(key)
    assert not (tmp_path / "destination").exists()


async def test_listing_is_by_scope(venue):
    keys = [await stored(venue, content_of(100, seed), round) for seed, round in [(1, 1), (2, 1), (3, 12)]]
    listed = await venue.bucket.list(scope_of(JOB))
    assert {key for key, _ in listed} == set(keys)
    assert all(stat.size == 100 for _, stat in listed)
    assert {key for key, _ in await venue.bucket.list(scope_of(JOB, 1))} == set(keys[:2])
    assert await venue.bucket.list(scope_of(JOB, 2)) == []


async def test_deleted_objects_are_gone(venue):
    content = content_of(5 * KIB)
    key = await stored(venue, content)
    await venue.bucket.delete(key)
    await venue.bucket.delete(key)
    with pytest.raises(ObjectAbsent):
        await venue.bucket.stat(key)
    assert await venue.bucket.list(scope_of(JOB)) == []


async def test_a_peer_reads_what_it_was_granted(venue):
    content = content_of(200 * KIB)
    key = await stored(venue, content)
    other = await stored(venue, content_of(50, 2), round=2)
    granted = await venue.granted(scope_of(JOB, 1))
    assert await granted.fetch_bytes(key, size=len(content)) == content
    with pytest.raises(WrongScope):
        await granted.fetch_bytes(other, size=50)


async def test_a_grant_for_one_object(venue):
    content = content_of(20 * KIB)
    key = await stored(venue, content)
    granted = await venue.granted(key.path)
    assert await granted.fetch_bytes(key, size=len(content)) == content


async def test_a_wrong_size_or_digest_is_the_owners_fault(venue):
    content = content_of(20 * KIB)
    key = await stored(venue, content)
    granted = await venue.granted(scope_of(JOB, 1))
    for size in (len(content) - 1, len(content) + 1):
        with pytest.raises(MemberFault) as caught:
            await granted.fetch_bytes(key, size=size)
        assert caught.value.member == OWNER


async def test_an_expired_grant_is_refused(venue):
    content = content_of(20 * KIB)
    key = await stored(venue, content)
    token = await venue.bucket.grant(scope_of(JOB), "peer", in_seconds(2))
    granted = venue.open(token, peer="peer")
    assert await granted.fetch_bytes(key, size=len(content)) == content
    await venue.wait(3.1)
    with pytest.raises(GrantRefused) as caught:
        await granted.fetch_bytes(key, size=len(content))
    assert caught.value.member == OWNER
    with pytest.raises(GrantRefused):
        venue.open(token, peer="peer")


async def test_a_revoked_grant_is_refused(venue):
    if not venue.revokes:
        pytest.skip("this provider cannot revoke")
    content = content_of(20 * KIB)
    key = await stored(venue, content)
    token = await venue.bucket.grant(scope_of(JOB), "peer", in_seconds(HOUR))
    granted = venue.open(token, peer="peer")
    await granted.fetch_bytes(key, size=len(content))
    await venue.bucket.revoke(token)
    with pytest.raises(GrantRefused):
        await granted.fetch_bytes(key, size=len(content))


async def test_somebody_elses_grant_is_refused(venue):
    await stored(venue, b"content")
    token = await venue.bucket.grant(scope_of(JOB), "peer", in_seconds(HOUR))
    with pytest.raises(GrantRefused) as caught:
        venue.open(token, peer="stranger")
    assert caught.value.member == OWNER


async def test_damaged_grants_are_refused(venue):
    if not venue.signs:
        pytest.skip("this provider's grants are a key")
    content = content_of(KIB)
    key = await stored(venue, content)
    token = await venue.bucket.grant(scope_of(JOB), "peer", in_seconds(HOUR))
    for position in range(0, len(token), max(1, len(token) // 12)):
        damaged = bytearray(token)
        damaged[position] ^= 1
        try:
            granted = venue.open(bytes(damaged), peer="peer")
            await granted.fetch_bytes(key, size=len(content))
        except (MemberFault, WrongScope):
            continue
        except ObjectAbsent:  # a native grant whose passphrase was damaged leads to other names
            continue
        raise AssertionError(f"a grant with byte {position} damaged still reads")


async def test_many_at_once(venue):
    contents = [content_of(1000, seed) for seed in range(40)]
    async with trio.open_nursery() as nursery:
        for content in contents:
            nursery.start_soon(stored, venue, content)
    for content in contents:
        assert await venue.bucket.fetch_bytes(key_of(content), size=1000) == content
