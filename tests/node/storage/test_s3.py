"""S3 buckets: large objects in parts, and servers that refuse, vanish or answer rubbish."""

from __future__ import annotations

import socket

import pytest
import trio
from support.storage.venues import (
    BUCKET,
    JOB,
    OWNER,
    PEER,
    QUICK,
    S3_KEY,
    in_seconds,
    key_of,
    s3_venue,
)

from node.storage import (
    AccessRefused,
    Admission,
    CannotRevoke,
    GrantRefused,
    S3Key,
    S3Settings,
    StorageUnavailable,
    WrongSource,
    open_bucket,
    open_grant,
    scope_of,
)
from protocol.errors import OwnFault

HOUR = 3600
LARGE = bytes(range(256)) * (20 << 12)  # 20 MiB: three parts


@pytest.fixture
async def venue(tmp_path):
    async with s3_venue(tmp_path) as venue:
        yield venue


async def put(venue, content):
    key = key_of(content)
    await venue.bucket.put(key, content, expires_at=in_seconds(HOUR))
    return key


async def test_large_objects_go_and_come_in_parts(venue, tmp_path):
    key = await put(venue, LARGE)
    await put(venue, LARGE)
    await venue.bucket.fetch(key, tmp_path / "fetched", size=len(LARGE))
    assert (tmp_path / "fetched").read_bytes() == LARGE
    granted = await venue.granted(scope_of(JOB))
    await granted.verify(key, size=len(LARGE))


async def test_a_large_object_with_a_wrong_digest_is_not_stored(venue):
    with pytest.raises(WrongSource):
        await venue.bucket.put(key_of(b"other"), LARGE, expires_at=in_seconds(HOUR))
    assert await venue.bucket.list(scope_of(JOB)) == []


async def test_a_wrong_key_is_refused_without_being_shown(venue):
    [endpoint] = venue.admission.endpoints
    wrong = S3Key(S3_KEY, "wrong-secret")
    assert "wrong-secret" not in repr(wrong)
    bucket = open_bucket(S3Settings(endpoint, BUCKET, wrong), QUICK)
    with pytest.raises(AccessRefused) as caught:
        await bucket.list(scope_of(JOB))
    assert "wrong-secret" not in str(caught.value)


async def test_a_missing_bucket_is_the_operators(venue):
    [endpoint] = venue.admission.endpoints
    bucket = open_bucket(S3Settings(endpoint, "missing", S3Key(S3_KEY, "a-secret-for-tests-only")), QUICK)
    with pytest.raises(AccessRefused):
        await bucket.put(key_of(b"content"), b"content", expires_at=in_seconds(HOUR))


async def test_presigned_grants_are_not_revoked_in_silence(venue):
    await put(venue, b"content")
    token = await venue.bucket.grant(scope_of(JOB), PEER, in_seconds(HOUR))
    with pytest.raises(CannotRevoke):
        await venue.bucket.revoke(token)


async def test_a_grant_of_too_many_objects_is_refused(venue):
    for number in range(65):
        await put(venue, number.to_bytes(2, "big"))
    with pytest.raises(OwnFault):
        await venue.bucket.grant(scope_of(JOB), PEER, in_seconds(HOUR))


async def test_a_grant_leads_only_to_admitted_servers(venue):
    await put(venue, b"content")
    token = await venue.bucket.grant(scope_of(JOB), PEER, in_seconds(HOUR))
    with pytest.raises(GrantRefused) as caught:
        open_grant(token, owner=OWNER, peer=PEER, admission=Admission(endpoints=("https://s3.invalid",)))
    assert caught.value.member == OWNER


async def test_a_readers_key_covers_what_comes_later(tmp_path):
    async with s3_venue(tmp_path, keyed=True) as venue:
        granted = await venue.granted(scope_of(JOB))
        key = await put(venue, b"stored after the grant")
        assert await granted.fetch_bytes(key, size=22) == b"stored after the grant"
        token = await venue.bucket.grant(scope_of(JOB), PEER, in_seconds(HOUR))
        with pytest.raises(GrantRefused):
            open_grant(token, owner=OWNER, peer=PEER, admission=Admission(endpoints=("https://s3.invalid",)))


async def test_a_server_that_is_gone_is_unavailable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = "http://{}:{}".format(*unused.getsockname())
        bucket = open_bucket(S3Settings(endpoint, BUCKET, S3Key(S3_KEY, "secret")), QUICK)
        with pytest.raises(StorageUnavailable):
            await bucket.list(scope_of(JOB))


@pytest.mark.parametrize(
    "answer", [b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b""]
)
async def test_a_server_that_answers_rubbish_is_unavailable(answer):
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        bucket = open_bucket(S3Settings(f"http://127.0.0.1:{port}", BUCKET, S3Key("key", "secret")), QUICK)
        with pytest.raises(StorageUnavailable):
            await bucket.fetch_bytes(key_of(b"content"), size=7)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("user", ["user:CANARY", "CANARY", ":CANARY", "user:CANARY@x"])
def test_a_password_in_an_endpoint_is_refused_and_not_repeated(user):
    """Else it would go to every member with a grant."""
    with pytest.raises(AccessRefused, match="password") as refused:
        open_bucket(S3Settings(f"https://{user}@gateway.example", BUCKET, S3Key("key", "secret")))
    assert "CANARY" not in str(refused.value)


def test_an_endpoint_must_be_one():
    with pytest.raises(AccessRefused):
        open_bucket(S3Settings("gateway.example", BUCKET, S3Key("key", "secret")))
