"""Reading a member's S3 bucket by the URLs that it presigned for us."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from node.storage.calls import Call
from node.storage.errors import AccessRefused, ObjectAbsent, StorageUnavailable
from node.storage.limits import CHUNK, MAX_GRANTED_OBJECTS
from node.storage.store import Sink
from protocol.errors import StarlingError

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
        read_url(call, url, sink, what=f"{path} in {self.place}")


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A server may not send us elsewhere."""

    def redirect_request(self, *_: object) -> None:
        """Refuse; the redirection is then an error."""


_OPENER: Final = urllib.request.build_opener(_NoRedirection)  # goes through the environment's proxies


def read_url(call: Call, url: str, sink: Sink, *, what: str) -> None:
    """Hand what a presigned URL gives to `sink`, in chunks; `what` names it in errors, for the URL is secret.

    Raises ObjectAbsent, AccessRefused or StorageUnavailable.
    """
    try:
        with _OPENER.open(url, timeout=_TIMEOUT) as response:
            while chunk := response.read(CHUNK):
                sink(chunk)
            if response.length:
                raise StorageUnavailable(f"{what}: the answer breaks off {response.length} bytes early")
    except urllib.error.HTTPError as error:
        with error:
            raise _meaning(error.code, what) from None
    except (OSError, http.client.HTTPException) as error:
        call.check()
        raise StorageUnavailable(f"{what}: {type(error).__name__}") from error


def _meaning(status: int, what: str) -> StarlingError:
    if status == HTTPStatus.NOT_FOUND:
        return ObjectAbsent(f"no object {what}")
    if status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED, HTTPStatus.BAD_REQUEST):
        return AccessRefused(f"{what}: the server refuses with status {status}")
    return StorageUnavailable(f"{what}: the server answers with status {status}")
