"""Reading buckets, our own and those of others: verified, watched, and tried again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final, TypeVar

import structlog
import trio

from node.storage import limits
from node.storage.calls import Call, run_call
from node.storage.errors import (
    AccessRefused,
    BucketCorrupt,
    DestinationFault,
    GrantRefused,
    ObjectCorrupt,
    StorageUnavailable,
    WrongScope,
)
from node.storage.files import make_directory, replaced
from node.storage.keys import ObjectKey
from node.storage.limits import Timing
from node.storage.store import Readable, Sink
from node.storage.transfer import CheckedSink, Mismatch
from protocol.errors import OwnFault, StarlingError

Progress = Callable[[int], None]
Result = TypeVar("Result")

_log: Final = structlog.get_logger()


class Reader:
    """Fetches objects by exact key; what it delivers has the size and digest that were asked for."""

    def __init__(self, store: Readable, timing: Timing, threads: trio.CapacityLimiter | None = None) -> None:
        self._readable = store
        self._timing = timing
        self._threads = threads or trio.CapacityLimiter(limits.THREADS)
        self._slots = trio.CapacityLimiter(limits.CONCURRENT)
        self._large = trio.CapacityLimiter(limits.CONCURRENT_LARGE)

    @property
    def place(self) -> str:
        """Where the bucket is; holds no secret."""
        return self._readable.place

    async def fetch(
        self, key: ObjectKey, destination: Path, *, size: int, progress: Progress | None = None
    ) -> None:
        """Fetch the object of `size` bytes into the file `destination`, which appears whole and verified.

        Raises ObjectAbsent, StorageUnavailable (after several attempts), and by whose bucket it is:
        BucketCorrupt or AccessRefused (ours), ObjectCorrupt or GrantRefused (a member's).
        `progress` is told the bytes moved, in the event loop.
        """
        self._check(key, size, limits.MAX_OBJECT)

        def work(call: Call) -> None:
            with _blaming(destination):
                make_directory(destination.parent)
                with replaced(destination) as file:

                    def write(chunk: bytes | memoryview) -> None:
                        with _blaming(destination):  # before the adapter takes it for an error of its own
                            file.write(chunk)

                    self._receive(call, key, write, size)

        await self._moved("ObjectFetched", key, size, work, progress)

    async def fetch_bytes(self, key: ObjectKey, *, size: int, progress: Progress | None = None) -> bytes:
        """Fetch the object of `size` (at most MAX_IN_MEMORY) bytes; raises as `fetch` does."""
        self._check(key, size, limits.MAX_IN_MEMORY)

        def work(call: Call) -> bytes:
            content = bytearray()
            self._receive(call, key, content.extend, size)
            return bytes(content)

        return await self._moved("ObjectFetched", key, size, work, progress)

    async def verify(self, key: ObjectKey, *, size: int, progress: Progress | None = None) -> None:
        """Read the object back and check it without keeping it; raises as `fetch` does."""
        self._check(key, size, limits.MAX_OBJECT)
        await self._moved(
            "ObjectVerified", key, size, lambda call: self._receive(call, key, len, size), progress
        )

    def _check(self, key: ObjectKey, size: int, largest: int) -> None:
        if not 0 <= size <= largest:
            raise OwnFault(f"an object of {size} bytes; at most {largest} are allowed here")

    def _receive(self, call: Call, key: ObjectKey, write: Sink, size: int) -> None:
        sink = CheckedSink(call, write, size, key.digest)
        self._readable.get(call, key.path, sink)
        sink.finish()

    async def _moved(
        self,
        event: str,
        key: ObjectKey,
        size: int,
        work: Callable[[Call], Result],
        progress: Progress | None = None,
        *,
        ahead: int = 0,
    ) -> Result:
        """Run a transfer, tell its progress, and log its size and rate."""
        begun = trio.current_time()
        async with self._large if size >= limits.LARGE else nullcontext():
            result = await self._tried(work, progress, size=size, ahead=ahead)
        seconds = trio.current_time() - begun
        rate = round(size / max(seconds, 1e-6))
        _log.info(event, key=str(key), place=self.place, size=size, seconds=round(seconds, 3), rate=rate)
        return result

    async def _tried(
        self,
        work: Callable[[Call], Result],
        progress: Progress | None = None,
        *,
        size: int = limits.MAX_LISTED,
        ahead: int = 0,
    ) -> Result:
        """Run an operation, again after a growing delay while the provider is unavailable.

        Of `size` bytes to move, `ahead` may be taken from us before they move to the provider.
        """
        timing = self._timing
        delay = timing.backoff_first
        stall = timing.stall + ahead / timing.slowest
        longest = timing.stall + stall + size / timing.slowest
        for attempt in range(1, timing.attempts + 1):
            try:
                async with self._slots:
                    return await run_call(
                        work,
                        timing=timing,
                        threads=self._threads,
                        stall=stall,
                        longest=longest,
                        progress=progress,
                    )
            except AccessRefused as error:
                raise self._refused(error) from error
            except Mismatch as error:
                raise self._corrupt(f"an object in {self.place} {error}") from error
            except StorageUnavailable as error:
                _log.warning("StorageUnavailable", place=self.place, attempt=attempt, why=error.what)
                if attempt == timing.attempts:
                    raise
            # Shortened at random: members that lost the provider together must not return in step.
            await trio.sleep(delay * (1 - 0.3 * random.random()))  # noqa: S311
            delay = min(2 * delay, timing.backoff_max)
        raise AssertionError("the last attempt returns or raises")

    def _refused(self, error: AccessRefused) -> StarlingError:
        return error

    def _corrupt(self, what: str) -> StarlingError:
        return BucketCorrupt(what, remedy="ask the provider; the object is lost and must be made again")


@contextmanager
def _blaming(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot write {destination}: {error.strerror}"
        raise DestinationFault(what, remedy="make room on its disk, or choose another place") from error


class GrantedBucket(Reader):
    """A member's bucket as its grant lets us read it: by exact key, below one prefix, for a time.

    Refusals are the member's faults; they carry its roster index.
    """

    def __init__(
        self,
        store: Readable,
        *,
        owner: int,
        prefix: str,
        timing: Timing,
        threads: trio.CapacityLimiter | None = None,
    ) -> None:
        super().__init__(store, timing, threads)
        self.owner = owner
        self._prefix = prefix

    def _check(self, key: ObjectKey, size: int, largest: int) -> None:
        super()._check(key, size, largest)
        if not key.path.startswith(self._prefix):
            raise WrongScope(f"{key} is not in the part of the bucket that the member granted")

    def _refused(self, error: AccessRefused) -> StarlingError:
        return GrantRefused(error.what, member=self.owner, remedy="ask the member for a new grant")

    def _corrupt(self, what: str) -> StarlingError:
        return ObjectCorrupt(what, member=self.owner, remedy="fetch it from another member")
