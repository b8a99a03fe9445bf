"""One S3 bucket with one access key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import msgspec
import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PreconditionError,
)
from obstore.store import S3Store as Client

from node.storage.calls import Call
from node.storage.errors import (
    AccessRefused,
    BucketFull,
    CannotRevoke,
    ObjectAbsent,
    ObjectExists,
    StorageUnavailable,
)
from node.storage.limits import CHUNK, MAX_GRANTED_OBJECTS, MIB
from node.storage.s3.keyed import KeyedCredential, S3Key
from node.storage.s3.presigned import encode_urls, read_url
from node.storage.store import Caveats, Sink, Stat
from node.storage.transfer import chunks_of
from protocol.errors import OwnFault, StarlingError

_WINDOW: Final = 8 * MIB  # bytes of one request; what is larger goes in parts
_PARTS: Final = 2  # of one upload at once: bounds memory
_REQUEST: Final = 60.0  # seconds for one window: a line slower than 140 kB/s is as good as stalled
_CONNECT: Final = 10.0
_READING: Final = timedelta(minutes=15)  # for a request to begin
_LONGEST_GRANT: Final = timedelta(days=7)  # of a presigned URL, by the signature's definition
_REFUSED: Final = (401, 403)
_FULL: Final = ("status code: 507", "QuotaExceeded", "StorageLimit")  # in the words of servers
_MAX_MESSAGE: Final = 300


class S3Store:
    """A `Store` on an S3 server, addressed by path (`endpoint/bucket/key`).

    It shares by giving away `reader`, a key made for that, or else by presigning what is there.
    """

    def __init__(
        self, endpoint: str, bucket: str, region: str, key: S3Key, reader: S3Key | None = None
    ) -> None:
        origin = urlsplit(endpoint)
        if "@" in origin.netloc:  # grants would carry it to the other members, and errors to the log
            raise AccessRefused(
                f"the S3 endpoint at {origin.hostname} has a user or a password in it",
                remedy="write https://host, and the access key into its file",
            )
        if origin.scheme not in ("https", "http") or not origin.hostname:
            raise AccessRefused(
                f"{endpoint!r} is no S3 endpoint", remedy="write https://host or http://host:port"
            )
        self._place = f"s3+{origin.scheme}://{origin.netloc}/{bucket}"
        self._where = endpoint, bucket, region
        self._reader = reader
        self._client = Client(
            bucket,
            endpoint=endpoint,
            region=region,
            access_key_id=key.identifier,
            secret_access_key=key.secret,
            client_options={
                "allow_http": origin.scheme == "http",
                "timeout": timedelta(seconds=_REQUEST),
                "connect_timeout": timedelta(seconds=_CONNECT),
            },
            retry_config={"max_retries": 0},  # `Bucket` tries again
        )

    @property
    def place(self) -> str:
        """Endpoint and bucket."""
        return self._place

    def put(self, call: Call, path: str, source: BinaryIO, size: int, expires_at: int) -> None:
        """See `Store.put`.

        Small objects are created on condition that there is none. Servers that do not know the condition,
        and large objects, for which S3 has none, are asked before: only our own daemon writes here.
        """
        with self._told(path, missing=AccessRefused(f"no bucket {self.place}", remedy="create it")):
            if self._exists(path):
                raise ObjectExists(path)
            expiry = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            attributes = {"object-expires": expiry}  # Storj's gateway obeys it
            if size <= _WINDOW:
                content = b"".join(bytes(chunk) for chunk in chunks_of(source))
                obstore.put(self._client, path, content, mode="create", attributes=attributes)
                return
            chunks = _Chunks(source)
            try:
                obstore.put(
                    self._client,
                    path,
                    chunks,
                    use_multipart=True,
                    chunk_size=_WINDOW,
                    max_concurrency=_PARTS,
                    attributes=attributes,
                )
            except (BaseError, OSError):
                if chunks.failure is not None:  # obstore hides what went wrong in its source
                    raise chunks.failure from None
                raise

    def get(self, call: Call, path: str, sink: Sink) -> None:
        """See `Store.get`."""
        with self._told(path):
            url = obstore.sign(self._client, "GET", path, _READING)
        read_url(call, url, sink, what=f"{path} in {self.place}")

    def stat(self, call: Call, path: str) -> Stat:
        """See `Store.stat`; S3 does not tell the expiry."""
        with self._told(path):
            return Stat(path, obstore.head(self._client, path)["size"])

    def list(self, call: Call, prefix: str) -> Iterator[Stat]:
        """See `Store.list`."""
        with self._told(prefix):
            for page in obstore.list(self._client, prefix):
                call.check()
                for found in page:
                    yield Stat(found["path"], found["size"])

    def delete(self, call: Call, path: str) -> None:
        """See `Store.delete`."""
        try:
            with self._told(path):
                obstore.delete(self._client, path)
        except ObjectAbsent:
            return

    def share(self, call: Call, caveats: Caveats) -> bytes:
        """See `Store.share`: the readers' key, or a presigned URL for each object that is there.

        Presigned URLs last for at most seven days.
        """
        if self._reader is not None:
            key = self._reader
            return msgspec.msgpack.encode(KeyedCredential(*self._where, key.identifier, key.secret))
        lasts = datetime.fromtimestamp(caveats.not_after, UTC) - datetime.now(UTC)
        if lasts <= timedelta(0):
            raise OwnFault("a grant that has expired already")
        if caveats.prefix.endswith("/"):
            found = list(islice(self.list(call, caveats.prefix), MAX_GRANTED_OBJECTS + 1))
            paths = [stat.path for stat in found]
        else:
            paths = [caveats.prefix]
        if len(paths) > MAX_GRANTED_OBJECTS:
            raise OwnFault(
                f"S3 grants each object by itself, and more than {MAX_GRANTED_OBJECTS} are in the scope",
                remedy="grant a round or an object at a time",
            )
        with self._told(caveats.prefix):
            urls = obstore.sign(self._client, "GET", paths, min(lasts, _LONGEST_GRANT)) if paths else []
        return encode_urls(dict(zip(paths, urls, strict=True)))

    def revoke(self, call: Call, credential: bytes) -> None:
        """Not possible: what was shared lasts until it expires, or until its key is withdrawn."""
        raise CannotRevoke(
            "S3 cannot take back what was shared", remedy="wait until it expires, or replace the access key"
        )

    def _exists(self, path: str) -> bool:
        try:
            obstore.head(self._client, path)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _told(self, path: str, missing: StarlingError | None = None) -> Iterator[None]:
        """Say what the client's errors mean for a bucket."""
        try:
            yield
        except FileNotFoundError as error:
            raise missing or ObjectAbsent(f"no object {path} in {self.place}") from error
        except (AlreadyExistsError, FileExistsError, PreconditionError) as error:
            raise ObjectExists(path) from error
        except (BaseError, OSError) as error:
            raise self._meaning(error) from error

    def _meaning(self, error: Exception) -> StarlingError:
        text = str(error).partition("\n\nDebug source")[0].replace("\n", " ")
        what = f"{self.place}: {text[:_MAX_MESSAGE]}"
        if any(sign in text for sign in _FULL):
            return BucketFull(what, remedy="raise the quota, or remove what is not needed")
        if any(f"status code: {status}" in text for status in _REFUSED):  # listings have no type for it
            return AccessRefused(what, remedy="check the access key and what it may do")
        return StorageUnavailable(what)


class _Chunks:
    """Iterates over a source, and remembers the error that ended it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            while chunk := self._source.read(CHUNK):
                yield chunk
        except Exception as error:
            self.failure = error
            raise
