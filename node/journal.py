"""The journal: what must survive a crash, in SQLite.

Entries are durable when `append` returns (WAL, fsync at every commit). The confirmed slots beside them spare
a restart from reading the whole order again. Entries that hold secrets are encrypted with the journal's key;
what is deleted is overwritten, and a share that is destroyed is gone from the write-ahead log as well.
Any call raises `JournalUnavailable` while the disk is full, read-only or broken, and changes nothing then.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import nacl.exceptions
import nacl.secret
import nacl.utils
import structlog

from protocol.errors import OperatorFault, StarlingError
from protocol.inputs import Confirmed
from protocol.journal import AnyEntry, Entry, HeldShare, Spent
from protocol.manifest import Manifest

KEY_BYTES = nacl.secret.SecretBox.KEY_SIZE

MAX_REFUSED = 4096
"""Digests of jobs that were refused: so many may be proposed again before one of them is asked about anew."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job BLOB PRIMARY KEY, me INTEGER NOT NULL, proposer INTEGER NOT NULL, manifest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS uses (job BLOB PRIMARY KEY, data TEXT NOT NULL, again INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS spent (
    base BLOB NOT NULL, data TEXT NOT NULL, job BLOB NOT NULL, PRIMARY KEY (base, data, job));
CREATE TABLE IF NOT EXISTS refused (number INTEGER PRIMARY KEY, job BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS entries (
    job BLOB NOT NULL, position INTEGER NOT NULL, sealed INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (job, position));
CREATE TABLE IF NOT EXISTS slots (
    head TEXT NOT NULL, slot INTEGER NOT NULL, author TEXT NOT NULL, data BLOB NOT NULL,
    snapshot INTEGER NOT NULL, anchor BLOB NOT NULL, recovered INTEGER NOT NULL, PRIMARY KEY (head, slot));
CREATE TABLE IF NOT EXISTS grants (
    job BLOB NOT NULL, member INTEGER NOT NULL, token BLOB NOT NULL, PRIMARY KEY (job, member));
CREATE TABLE IF NOT EXISTS rounds (
    job BLOB NOT NULL, number INTEGER NOT NULL, told BLOB NOT NULL, PRIMARY KEY (job, number));
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


@dataclass(frozen=True)
class StoredJob:
    """A job this node knows, its index in the job's roster, and that of the member who proposed it."""

    manifest: Manifest
    me: int
    proposer: int


@dataclass(frozen=True)
class Use:
    """A job's use of a data set (the path of its folder)."""

    job: bytes
    data: str


@dataclass(frozen=True)
class KeptSlot:
    """A confirmed slot as the ledger gave it: its transaction, and whether other members supplied it."""

    confirmed: Confirmed
    snapshot: int
    transaction: bytes
    recovered: bool = False


class JournalUnavailable(OperatorFault):
    """The journal's disk does not take or give what is asked; nothing was changed, and later it may."""


log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")


def _alone(method: Callable[Concatenate[Journal, P], R]) -> Callable[Concatenate[Journal, P], R]:
    """One thread at a time, as SQLite's connection has one transaction; what the disk refuses has a type."""

    def locked(self: Journal, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            try:
                return method(self, *args, **kwargs)
            except sqlite3.Error as error:
                raise JournalUnavailable(
                    f"the journal's disk fails: {error}",
                    remedy="make room on it, and let the node's user write; work then goes on by itself",
                ) from error

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
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            locked = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            raise OperatorFault(
                f"the journal {path} cannot be opened: {error}",
                remedy="is another starlingd using it?"
                if locked
                else "make room on its disk, and let the node's user write there",
            ) from error
        except sqlite3.DatabaseError as error:
            raise OperatorFault(
                f"{path} is not a journal: {error}", remedy="restore it from a backup; never delete it"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that the body writes, or nothing of it; durable at its end."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @_alone
    def add_job(self, manifest: Manifest, me: int, proposer: int) -> None:
        """Remember a job; again is no harm."""
        row = (manifest.job, me, proposer, manifest.to_bytes())
        self._db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?)", row)

    @_alone
    def jobs(self) -> list[StoredJob]:
        """All jobs, oldest first. One whose manifest this release cannot read is left out, and logged."""
        rows = self._db.execute("SELECT job, me, proposer, manifest FROM jobs ORDER BY rowid").fetchall()
        found = []
        for job, me, proposer, manifest in rows:
            try:
                found.append(StoredJob(Manifest.from_bytes(manifest), me, proposer))
            except StarlingError as error:
                log.error("JobNotResumed", job=job.hex(), reason=str(error))
        return found

    @_alone
    def refuse_job(self, job: bytes) -> None:
        """Forget everything about a job but that it was refused; that is known of the last `MAX_REFUSED`."""
        with self._transaction():
            for table in ("jobs", "entries", "grants", "rounds", "uses"):
                self._db.execute(f"DELETE FROM {table} WHERE job = ?", (job,))  # noqa: S608
            self._db.execute("INSERT OR IGNORE INTO refused (job) VALUES (?)", (job,))
            self._db.execute(
                "DELETE FROM refused WHERE number <= (SELECT MAX(number) FROM refused) - ?", (MAX_REFUSED,)
            )

    @_alone
    def is_refused(self, job: bytes) -> bool:
        """Whether the job is known to have been refused here."""
        return self._db.execute("SELECT 1 FROM refused WHERE job = ?", (job,)).fetchone() is not None

    @_alone
    def append(self, job: bytes, entries: Sequence[AnyEntry]) -> None:
        """Write all of `entries`, or none; durable on return."""
        with self._transaction():
            (last,) = self._db.execute(
                "SELECT COALESCE(MAX(position), 0) FROM entries WHERE job = ?", (job,)
            ).fetchone()
            rows = [(job, last + 1 + i, *self._sealed(entry)) for i, entry in enumerate(entries)]
            self._db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
            self._db.executemany(
                "INSERT OR IGNORE INTO spent SELECT ?, data, job FROM uses WHERE job = ?",
                [(entry.base, job) for entry in entries if isinstance(entry, Spent)],
            )

    @_alone
    def use_data(self, job: bytes, data: str, *, again: bool) -> None:
        """Remember which data a job uses, and whether the operator lets it use `again` what others used."""
        self._db.execute(
            "INSERT INTO uses VALUES (?, ?, ?) ON CONFLICT (job) DO UPDATE SET data = excluded.data, "
            "again = MAX(again, excluded.again)",
            (job, data, again),
        )

    @_alone
    def uses(self) -> list[Use]:
        """The data of all jobs that were accepted."""
        return [Use(*row) for row in self._db.execute("SELECT job, data FROM uses")]

    @_alone
    def may_use_again(self, job: bytes) -> bool:
        """Whether the operator lets the job use data that another used."""
        return self._db.execute("SELECT 1 FROM uses WHERE job = ? AND again", (job,)).fetchone() is not None

    @_alone
    def spent(self, base: bytes) -> list[Use]:
        """Whose updates from the model `base` are in a sealed sum."""
        return [Use(*row) for row in self._db.execute("SELECT job, data FROM spent WHERE base = ?", (base,))]

    @_alone
    def entries(self, job: bytes) -> list[AnyEntry]:
        """All entries of the job, in order. OperatorFault where the journal's key is not the right one."""
        rows = self._db.execute("SELECT sealed, data FROM entries WHERE job = ? ORDER BY position", (job,))
        return [self._opened(sealed, data) for sealed, data in rows.fetchall()]

    @_alone
    def destroy_shares(self, job: bytes, but: int) -> None:
        """Overwrite the secrets of held shares of all attempts but one, also in the write-ahead log.

        The entries themselves stay.
        """
        rows = self._db.execute("SELECT position, data FROM entries WHERE job = ? AND sealed = 1", (job,))
        with self._transaction():
            for position, data in rows.fetchall():
                entry = self._opened(True, data)
                if isinstance(entry, HeldShare) and entry.attempt != but and entry.secret:
                    emptied = Entry(HeldShare(entry.attempt, entry.key, b"")).to_bytes()
                    self._db.execute(
                        "UPDATE entries SET sealed = 0, data = ? WHERE job = ? AND position = ?",
                        (emptied, job, position),
                    )
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

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
             kept.snapshot, kept.transaction, kept.recovered)
            for kept in slots
        ]  # fmt: skip
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO slots VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    @_alone
    def slots(self, head: str, authors: Sequence[str]) -> list[KeptSlot]:
        """The contiguous slots of a head from 1 on."""
        rows = self._db.execute(
            "SELECT slot, author, data, snapshot, anchor, recovered FROM slots WHERE head = ? ORDER BY slot",
            (head,),
        ).fetchall()
        kept: list[KeptSlot] = []
        for slot, author, data, snapshot, transaction, recovered in rows:
            if slot != len(kept) + 1 or author not in authors:
                break
            confirmed = Confirmed(slot, authors.index(author) + 1, data)
            kept.append(KeptSlot(confirmed, snapshot, transaction, bool(recovered)))
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
