"""The journal: what must survive a crash, in SQLite.

Entries are durable when `append` returns (WAL, fsync at every commit). The confirmed slots beside them spare
a restart from reading the whole order again. Entries that hold secrets are encrypted with the journal's key.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import nacl.exceptions
import nacl.secret
import nacl.utils

from protocol.errors import OperatorFault
from protocol.inputs import Confirmed
from protocol.journal import AnyEntry, Entry, HeldShare
from protocol.manifest import Manifest

KEY_BYTES = nacl.secret.SecretBox.KEY_SIZE

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (job BLOB PRIMARY KEY, me INTEGER NOT NULL, manifest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    job BLOB NOT NULL, position INTEGER NOT NULL, sealed INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (job, position));
CREATE TABLE IF NOT EXISTS slots (
    head TEXT NOT NULL, slot INTEGER NOT NULL, author TEXT NOT NULL, data BLOB NOT NULL,
    snapshot INTEGER NOT NULL, txid TEXT NOT NULL, PRIMARY KEY (head, slot));
CREATE TABLE IF NOT EXISTS grants (
    job BLOB NOT NULL, member INTEGER NOT NULL, token BLOB NOT NULL, PRIMARY KEY (job, member));
CREATE TABLE IF NOT EXISTS rounds (
    job BLOB NOT NULL, number INTEGER NOT NULL, told BLOB NOT NULL, PRIMARY KEY (job, number));
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


@dataclass(frozen=True)
class StoredJob:
    """A job this node knows, and its index in the job's roster."""

    manifest: Manifest
    me: int


@dataclass(frozen=True)
class KeptSlot:
    """A confirmed slot as the ledger gave it."""

    confirmed: Confirmed
    snapshot: int
    transaction: str


P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[Journal, P], R]) -> Callable[Concatenate[Journal, P], R]:
    """One thread at a time: SQLite's connection has one transaction."""

    def locked(self: Journal, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            return method(self, *args, **kwargs)

    return update_wrapper(locked, method)


class Journal:
    """One node's journal, safe for many threads. Calls block for a disk write: make them from a thread."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Open, or create, the journal at `path`; `key` (32 bytes) encrypts what is secret.

        Raises `OperatorFault` for a file that is no journal, or one that another process writes.
        """
        self._box = nacl.secret.SecretBox(key)
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2)
            path.chmod(0o600)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            raise OperatorFault(
                f"the journal {path} cannot be opened: {error}", remedy="is another starlingd using it?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise OperatorFault(
                f"{path} is not a journal: {error}", remedy="restore it from a backup; never delete it"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @_alone
    def add_job(self, manifest: Manifest, me: int) -> None:
        """Remember a job; again is no harm."""
        row = (manifest.job, me, manifest.to_bytes())
        self._db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?)", row)

    @_alone
    def jobs(self) -> list[StoredJob]:
        """All jobs, oldest first."""
        rows = self._db.execute("SELECT me, manifest FROM jobs ORDER BY rowid").fetchall()
        return [StoredJob(Manifest.from_bytes(manifest), me) for me, manifest in rows]

    @_alone
    def append(self, job: bytes, entries: Sequence[AnyEntry]) -> None:
        """Write all of `entries`, or none; durable on return. `OperatorFault` when the disk is full."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            (last,) = self._db.execute(
                "SELECT COALESCE(MAX(position), 0) FROM entries WHERE job = ?", (job,)
            ).fetchone()
            rows = [(job, last + 1 + i, *self._sealed(entry)) for i, entry in enumerate(entries)]
            self._db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise OperatorFault(
                f"the journal cannot be written: {error}", remedy="free disk space, then restart"
            ) from error

    @_alone
    def entries(self, job: bytes) -> list[AnyEntry]:
        """All entries of the job, in order. OperatorFault where the journal's key is not the right one."""
        rows = self._db.execute("SELECT sealed, data FROM entries WHERE job = ? ORDER BY position", (job,))
        return [self._opened(sealed, data) for sealed, data in rows.fetchall()]

    @_alone
    def destroy_shares(self, job: bytes, but: int) -> None:
        """Overwrite the secrets of held shares of all attempts but one; the entries themselves stay."""
        rows = self._db.execute("SELECT position, data FROM entries WHERE job = ? AND sealed = 1", (job,))
        for position, data in rows.fetchall():
            entry = self._opened(True, data)
            if isinstance(entry, HeldShare) and entry.attempt != but and entry.secret:
                emptied = Entry(HeldShare(entry.attempt, entry.key, b"")).to_bytes()
                self._db.execute("PRAGMA secure_delete=ON")
                self._db.execute(
                    "UPDATE entries SET sealed = 0, data = ? WHERE job = ? AND position = ?",
                    (emptied, job, position),
                )

    def _sealed(self, entry: AnyEntry) -> tuple[int, bytes]:
        data = Entry(entry).to_bytes()
        if isinstance(entry, HeldShare):
            return 1, bytes(self._box.encrypt(data))
        return 0, data

    def _opened(self, sealed: bool, data: bytes) -> AnyEntry:
        try:
            return Entry.from_bytes(self._box.decrypt(data) if sealed else data).content
        except nacl.exceptions.CryptoError as error:
            raise OperatorFault(
                "the journal's secrets do not open with this key",
                remedy="give the journal key that the journal was made with",
            ) from error

    @_alone
    def keep_slots(self, head: str, slots: Iterable[KeptSlot], authors: Sequence[str]) -> None:
        """Remember confirmed slots of a head; `authors[i]` is the payment key hash of index i + 1."""
        rows = [
            (head, kept.confirmed.slot, authors[kept.confirmed.author - 1], kept.confirmed.data,
             kept.snapshot, kept.transaction)
            for kept in slots
        ]  # fmt: skip
        self._db.executemany("INSERT OR IGNORE INTO slots VALUES (?, ?, ?, ?, ?, ?)", rows)

    @_alone
    def slots(self, head: str, authors: Sequence[str]) -> list[KeptSlot]:
        """The contiguous slots of a head from 1 on."""
        rows = self._db.execute(
            "SELECT slot, author, data, snapshot, txid FROM slots WHERE head = ? ORDER BY slot", (head,)
        ).fetchall()
        kept: list[KeptSlot] = []
        for slot, author, data, snapshot, transaction in rows:
            if slot != len(kept) + 1 or author not in authors:
                break
            kept.append(KeptSlot(Confirmed(slot, authors.index(author) + 1, data), snapshot, transaction))
        return kept

    @_alone
    def keep_grant(self, job: bytes, member: int, token: bytes) -> None:
        """Remember the read grant to `member`'s bucket, encrypted; a newer one replaces it."""
        row = (job, member, bytes(self._box.encrypt(token)))
        self._db.execute("INSERT OR REPLACE INTO grants VALUES (?, ?, ?)", row)

    @_alone
    def grants(self, job: bytes) -> dict[int, bytes]:
        """The read grants to other members' buckets."""
        rows = self._db.execute("SELECT member, token FROM grants WHERE job = ?", (job,)).fetchall()
        return {member: bytes(self._box.decrypt(token)) for member, token in rows}

    @_alone
    def keep_round(self, job: bytes, number: int, told: bytes) -> None:
        """Remember what people are told of a round; a newer one replaces it."""
        self._db.execute("INSERT OR REPLACE INTO rounds VALUES (?, ?, ?)", (job, number, told))

    @_alone
    def rounds(self, job: bytes) -> dict[int, bytes]:
        """What people are told of each round."""
        return dict(self._db.execute("SELECT number, told FROM rounds WHERE job = ?", (job,)).fetchall())

    @_alone
    def set_fact(self, name: str, value: bytes) -> None:
        """Remember a small fact under a name."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @_alone
    def fact(self, name: str) -> bytes | None:
        """The fact of this name."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    @_alone
    def facts_of(self, value: bytes) -> list[str]:
        """The names of the facts with this value."""
        return [name for (name,) in self._db.execute("SELECT name FROM facts WHERE value = ?", (value,))]


def new_journal_key() -> bytes:
    """32 fresh random bytes."""
    return bytes(nacl.utils.random(KEY_BYTES))
