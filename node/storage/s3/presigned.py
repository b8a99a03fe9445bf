"""Reading a member's S3 bucket by the URLs that it presigned for us."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from node.storage.calls import Call
from node.storage.errors import AccessRefused, ObjectAbsent, StorageUnavailable
from node.storage.limits import CHUNK, MAX_GRANTED_OBJECTS
from node.storage.store import Sink

_TIMEOUT: Final = 30.0  # seconds for connecting, and for one read
_Url = Annotated[str, msgspec.Meta(max_length=4096)]


class _Urls(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    urls: Annotated[dict[str, _Url], msgspec.Meta(max_length=MAX_GRANTED_OBJECTS)]


def encode_urls(urls: dict[str, str]) -> bytes:
    """The credential that holds a URL for each path. Secret."""
    return msgspec.msgpack.encode(_Urls(urls))


class PresignedStore:
    """Gets objects by their URLs, over HTTP without redirections."""

    def __init__(self, urls: dict[str, str], place: str) -> None:
        self._urls = urls
        self._place = place

    @classmethod
    def from_credential(cls, credential: bytes, endpoints: tuple[str, ...]) -> PresignedStore:
        """Open a peer's bucket with what its owner's `share` returned.

        Only URLs of the given endpoints (`https://host` or `http://host:port`) are followed, whatever a
        grant says. Raises AccessRefused.
        """
        try:
            urls = msgspec.msgpack.decode(credential, type=_Urls).urls
            origins = {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, urls.values())}
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
            raise AccessRefused("an S3 grant that does not follow the format") from error
        if not origins.issubset(endpoints):
            raise AccessRefused(
                "an S3 grant for a server that is not an allowed one",
                remedy="add the member's endpoint to the allowed ones",
            )
        return cls(urls, f"s3+{' '.join(origins)}")

    @property
    def place(self) -> str:
        """The servers; the URLs are secret."""
        return self._place

    def get(self, call: Call, path: str, sink: Sink) -> None:
        """See `Store.get`."""
        url = self._urls.get(path)
        if url is None:
            raise ObjectAbsent(f"the grant has no object {path}")
        connection = _connect(url)
        try:
            with call.closing(lambda: _break_off(connection), keep=True):
                parts = urlsplit(url)
                connection.request(
                    "GET", f"{parts.path}?{parts.query}", headers={"Accept-Encoding": "identity"}
                )
                response = connection.getresponse()
                self._check(response.status, path)
                while chunk := response.read(CHUNK):
                    sink(chunk)
        except (OSError, http.client.HTTPException) as error:
            call.check()
            raise StorageUnavailable(f"{self.place}: {type(error).__name__}") from error
        finally:
            connection.close()

    def _check(self, status: int, path: str) -> None:
        if status == http.HTTPStatus.OK:
            return
        if status == http.HTTPStatus.NOT_FOUND:
            raise ObjectAbsent(f"no object {path} in {self.place}")
        if status in (http.HTTPStatus.FORBIDDEN, http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.BAD_REQUEST):
            raise AccessRefused(f"{self.place} refuses the grant with status {status}")
        raise StorageUnavailable(f"{self.place} answers with status {status}")


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            parts.netloc, timeout=_TIMEOUT, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT)


def _break_off(connection: http.client.HTTPConnection) -> None:
    """Make a blocked read of another thread return."""
    if connection.sock is not None:
        connection.sock.shutdown(socket.SHUT_RDWR)
