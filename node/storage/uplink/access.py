"""Access grants."""

from __future__ import annotations

from ctypes import byref, c_char_p, cast

from node.storage.uplink.library import Permission, Result, SharePrefix, load
from node.storage.uplink.results import checked, freed


class Access:
    """A parsed access grant. Freed with `close`."""

    def __init__(self, result: Result) -> None:
        self._result = result

    @classmethod
    def parse(cls, grant: str) -> Access:
        """Parse a serialised grant; NativeError if it is not one. Talks to nobody."""
        return cls(checked(load().uplink_parse_access(grant.encode()), load().uplink_free_access_result))

    @property
    def handle(self) -> int:
        """The library's pointer."""
        return int(self._result.value)

    def share(self, bucket: str, prefix: str, permission: Permission) -> Access:
        """A grant for what lies below the prefix ("" for the whole bucket), with fewer permissions."""
        shared = SharePrefix(bucket.encode(), prefix.encode())
        result = load().uplink_access_share(self.handle, permission, byref(shared), 1)
        return Access(checked(result, load().uplink_free_access_result))

    def serialise(self) -> str:
        """The grant as text. Secret."""
        return _text(load().uplink_access_serialize(self.handle))

    @property
    def satellite(self) -> str:
        """`<node id>@<host>:<port>`."""
        return _text(load().uplink_access_satellite_address(self.handle))

    def close(self) -> None:
        """Free it."""
        load().uplink_free_access_result(self._result)


def _text(result: Result) -> str:
    with freed(checked(result, load().uplink_free_string_result), load().uplink_free_string_result) as text:
        return (cast(text, c_char_p).value or b"").decode()
