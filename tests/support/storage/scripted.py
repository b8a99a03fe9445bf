"""A store in memory whose failures and delays are scripted, for what concerns time and order alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from node.storage.calls import Call
from node.storage.errors import CannotRevoke, ObjectAbsent, ObjectExists
from node.storage.store import Caveats, Sink, Stat


class ScriptedStore:
    """`script` holds what happens before each operation: an exception to raise, or something to call."""

    place = "memory"

    def __init__(self, *script: Exception | Callable[[Call], None]) -> None:
        self.script = list(script)
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.operations = 0
        self._lock = threading.Lock()

    def put(self, call: Call, path: str, source: BinaryIO, size: int, expires_at: int) -> None:
        """See `Store.put`."""
        self._happen(call)
        content = b""
        while chunk := source.read(1 << 16):
            content += chunk
        if path in self.objects:
            raise ObjectExists(path)
        self.objects[path] = content, expires_at

    def get(self, call: Call, path: str, sink: Sink) -> None:
        """See `Store.get`."""
        self._happen(call)
        self._find(path)
        content = self.objects[path][0]
        for start in range(0, len(content), 1 << 16):
            sink(content[start : start + (1 << 16)])

    def stat(self, call: Call, path: str) -> Stat:
        """See `Store.stat`."""
        self._happen(call)
        return self._find(path)

    def list(self, call: Call, prefix: str) -> Iterator[Stat]:
        """See `Store.list`."""
        self._happen(call)
        yield from [self._find(path) for path in self.objects if path.startswith(prefix)]

    def delete(self, call: Call, path: str) -> None:
        """See `Store.delete`."""
        self._happen(call)
        self.objects.pop(path, None)

    def share(self, call: Call, caveats: Caveats) -> bytes:
        """See `Store.share`."""
        self._happen(call)
        return b"credential"

    def revoke(self, call: Call, credential: bytes) -> None:
        """See `Store.revoke`."""
        raise CannotRevoke("memory cannot")

    def _happen(self, call: Call) -> None:
        with self._lock:
            self.operations += 1
            event = self.script.pop(0) if self.script else None
        if isinstance(event, Exception):
            raise event
        if event is not None:
            event(call)

    def _find(self, path: str) -> Stat:
        if path not in self.objects:
            raise ObjectAbsent(path)
        content, expires_at = self.objects[path]
        return Stat(path, len(content), expires_at)
