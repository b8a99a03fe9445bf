"""`starling keys`: a copy of a job's key share under a passphrase, and back."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from node.cli.invocation import Invocation
from node.cli.parser import PREFIX_HELP, Commands, job_prefix
from protocol.errors import OperatorFault

if TYPE_CHECKING:
    from node.journal import Journal, StoredJob
    from protocol.journal import HeldShare

MAX_PASSPHRASE_FILE = 1024


def register(commands: Commands) -> None:
    group = commands.group("keys", "copies of key shares")
    details = "The node must be stopped: its journal has one user at a time."
    backup_parser = group.add(
        "backup",
        backup,
        "write a job's key share to an encrypted file",
        details,
        examples=("starling keys backup 3fa1 share.backup",),
    )
    backup_parser.add_argument("job", type=job_prefix, help=PREFIX_HELP)
    _file_and_passphrase(backup_parser)
    _file_and_passphrase(
        group.add(
            "restore",
            restore,
            "put a key share from a backup into the journal",
            details,
            examples=("starling keys restore share.backup --passphrase-file passphrase",),
        )
    )


def _file_and_passphrase(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the backup")
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="read the passphrase from there, do not ask"
    )


def backup(call: Invocation) -> None:
    from node.backup import Contents, seal
    from node.files import write_whole

    path: Path = call.arguments.file
    if path.exists():
        raise OperatorFault(f"{path} is there already", remedy="name another file")
    with open_journal(call) as journal:
        job = find_job(journal, call.arguments.job)
        share = _share(journal, job)
        contents = Contents(job.manifest.job, job.me, share)
        write_whole(path, seal(contents, _passphrase(call, twice=True)))
    told = {"file": str(path), "job": contents.job.hex(), "member": job.me, "key": share.key.hex()}
    call.out.show(
        told, lambda: print(f"wrote member {job.me}'s share of key {share.key.hex()[:12]} to {path}")
    )


def restore(call: Invocation) -> None:
    from node.backup import MAX_BACKUP_BYTES, unseal

    path: Path = call.arguments.file
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BACKUP_BYTES + 1)
    except OSError as error:
        raise OperatorFault(f"{path} cannot be read: {error.strerror}", remedy="name a backup") from error
    contents = unseal(data, _passphrase(call, twice=False))
    with open_journal(call) as journal:
        job = find_job(journal, contents.job.hex())
        if job.me != contents.member:
            raise OperatorFault(
                f"the backup is of member {contents.member}, this node is member {job.me}",
                remedy="restore it on that member's node",
            )
        if any(share.attempt == contents.share.attempt for share in _shares(journal, job)):
            raise OperatorFault("the journal has this share already", remedy="nothing is to be done")
        journal.append(contents.job, [contents.share])
    key = contents.share.key.hex()
    told = {"job": contents.job.hex(), "member": job.me, "key": key}
    call.out.show(told, lambda: print(f"restored member {job.me}'s share of key {key[:12]}"))


@contextmanager
def open_journal(call: Invocation) -> Iterator[Journal]:
    """The journal of a node that is stopped. Raises `OperatorFault`."""
    from node.journal import Journal
    from node.keys import load_keys

    state = call.config().node.state
    path = state / "journal.sqlite"
    if not path.exists():
        raise OperatorFault(f"there is no journal in {state}", remedy="is it the right configuration?")
    journal = Journal(path, load_keys(state).journal)
    try:
        yield journal
    finally:
        journal.close()


def find_job(journal: Journal, prefix: str) -> StoredJob:
    """The job whose digest begins with `prefix`; `OperatorFault` where there is not just one."""
    found = [job for job in journal.jobs() if job.manifest.job.hex().startswith(prefix.lower())]
    if len(found) != 1:
        raise OperatorFault(
            f"{'no' if not found else 'more than one'} job in the journal begins with {prefix!r}",
            remedy="see `starling job list`; a lost journal has to be restored from its own backup first",
        )
    return found[0]


def _shares(journal: Journal, job: StoredJob) -> list[HeldShare]:
    """The shares whose secrets are still there, oldest first."""
    from protocol.journal import HeldShare

    entries = journal.entries(job.manifest.job)
    return [entry for entry in entries if isinstance(entry, HeldShare) and entry.secret]


def _share(journal: Journal, job: StoredJob) -> HeldShare:
    """The share of the key in force: those of other attempts are destroyed."""
    shares = _shares(journal, job)
    if not shares:
        raise OperatorFault("this node holds no key share of that job", remedy="wait for key generation")
    return shares[-1]


def _passphrase(call: Invocation, *, twice: bool) -> str:
    path: Path | None = call.arguments.passphrase_file
    if path is not None:
        try:
            with path.open() as file:
                return file.read(MAX_PASSPHRASE_FILE).rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorFault(f"{path} cannot be read", remedy="it holds the passphrase as text") from error
    passphrase = getpass.getpass("passphrase: ")
    if twice and getpass.getpass("again: ") != passphrase:
        raise OperatorFault("the two passphrases differ", remedy="try again")
    return passphrase
