"""The emulated head on disk: its genesis and an append-only log of events, one JSON line each."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path

import trio

from node.ledger.emulator import events as ev
from node.ledger.emulator.state import Genesis
from protocol.errors import OperatorFault

_REVOCABLE = (ev.TransactionApplied, ev.TransactionRefused, ev.SnapshotRequested)
_BYTES = ("hydra_seeds", "participants")


class BrokenStore(OperatorFault):
    """The folder holds no emulated head, or its log is damaged before its last line."""


class Store:
    """The folder of one emulated head. Everything in it is for its owner only: it holds signing keys."""

    def __init__(self, folder: Path) -> None:
        self._genesis = folder / "genesis.json"
        self._log = folder / "events.jsonl"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self._log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise BrokenStore(f"{folder} is in use", remedy="stop the other emulated head") from None

    def close(self) -> None:
        os.close(self._file)

    def genesis(self, fresh: Genesis | None) -> Genesis:
        """The genesis of this folder; a folder without one takes `fresh`."""
        if self._genesis.exists():
            return read_genesis(self._genesis.parent)
        if fresh is None:
            raise BrokenStore(f"{self._genesis} is missing", remedy="name the participants")
        record = {name: getattr(fresh, name) for name in Genesis.__dataclass_fields__}
        record.update({name: [b.hex() for b in record[name]] for name in _BYTES})
        record["funds"] = [[address.hex(), lovelace] for address, lovelace in fresh.funds]
        descriptor = os.open(self._genesis, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(record, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        return fresh

    def load(self) -> list[ev.Event]:
        """All events; a last line that a crash cut short is dropped from the file."""
        with open(self._log, "rb") as file:
            lines = file.read().split(b"\n")
        *whole, rest = lines
        try:
            loaded = [ev.from_record(json.loads(line)) for line in whole]
        except ValueError as error:
            raise BrokenStore(f"{self._log} is damaged: {error}", remedy="restore the folder") from error
        if rest:
            os.ftruncate(self._file, sum(len(line) + 1 for line in whole))
        return loaded

    async def append(self, new: Sequence[ev.Event]) -> None:
        """Write `new` events; return once they are durable, unless a crash of the machine may take them back.

        That may happen to what is valid but not confirmed: nobody has promised anything about it.
        """
        data = b"".join(json.dumps(e.record(), separators=(",", ":")).encode() + b"\n" for e in new)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        if any(not isinstance(event, _REVOCABLE) for event in new):
            await trio.to_thread.run_sync(os.fsync, self._file)


def read_genesis(folder: Path) -> Genesis:
    """The genesis kept in `folder`; BrokenStore if there is none."""
    path = folder / "genesis.json"
    try:
        record = json.loads(path.read_text())
        record.update({name: tuple(map(bytes.fromhex, record[name])) for name in _BYTES})
        record["funds"] = tuple((bytes.fromhex(a), int(n)) for a, n in record["funds"])
        return Genesis(**record)
    except OSError as error:
        raise BrokenStore(f"{path}: {error.strerror}", remedy="name the participants") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenStore(f"{path} is not a genesis: {error}") from error
