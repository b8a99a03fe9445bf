"""The node's own secrets: made once by `starling init`, read from its state or from systemd credentials."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from node.files import private_directory, write_whole
from node.journal import KEY_BYTES, new_journal_key
from node.ledger.wallet import Wallet
from node.network import Identity
from protocol.crypto.sigma.schnorr import ORDER, JobSecret
from protocol.errors import OperatorFault

IDENTITY, PAYMENT, JOB, JOURNAL = "identity.key", "payment.skey", "job.key", "journal.key"
CREDENTIALS = "CREDENTIALS_DIRECTORY"


@dataclass(frozen=True, repr=False)
class NodeKeys:
    """libp2p identity, Cardano payment key, job key, and the key that encrypts the journal's secrets."""

    identity: Identity
    wallet: Wallet
    job: JobSecret
    journal: bytes


def create_keys(state: Path) -> NodeKeys:
    """Make all keys that are not there yet in `state`/keys (0700, files 0600)."""
    private_directory(state)
    folder = private_directory(state / "keys")
    Identity.load_or_create(folder / IDENTITY)
    if not (folder / PAYMENT).exists():
        Wallet.create(folder / PAYMENT)
    if not (folder / JOB).exists():
        write_whole(folder / JOB, JobSecret.generate().scalar.to_bytes(32, "little"))
    if not (folder / JOURNAL).exists():
        write_whole(folder / JOURNAL, new_journal_key())
    return load_keys(state)


def load_keys(state: Path) -> NodeKeys:
    """The keys, each from the service manager's credentials where it is there, else from `state`/keys.

    Raises `OperatorFault` naming the missing or damaged file.
    """
    job = int.from_bytes(_read(state, JOB, 32), "little")
    if not 0 < job < ORDER:
        raise OperatorFault("the job key is damaged", remedy="restore it from a backup")
    return NodeKeys(
        identity=Identity.from_bytes(_read(state, IDENTITY), source=IDENTITY),
        wallet=Wallet.from_credential(_read(state, PAYMENT)),
        job=JobSecret(job),
        journal=_read(state, JOURNAL, KEY_BYTES),
    )


def read_credential(state: Path, name: str, *, missing: bytes | None = None) -> bytes:
    """The credential `name`: from the service manager where it is there, else from `state`/keys.

    `missing` is what stands for one that is not there; without it that is an `OperatorFault`.
    """
    given = os.environ.get(CREDENTIALS)
    try:
        path = Path(given) / name if given else None
        if path is None or not path.exists():
            path = state / "keys" / name
            if path.exists() and path.stat().st_mode & 0o077:
                raise OperatorFault(f"{path} is open to others", remedy=f"chmod 600 {path}")
        return path.read_bytes()
    except FileNotFoundError as error:
        if missing is not None:
            return missing
        raise OperatorFault(f"there is no {path}", remedy="`starling init` makes this node's keys") from error
    except OSError as error:
        raise OperatorFault(f"{name} cannot be read: {error.strerror}", remedy="check its owner") from error


def _read(state: Path, name: str, size: int | None = None) -> bytes:
    data = read_credential(state, name)
    if size is not None and len(data) != size:
        raise OperatorFault(f"{name} has {len(data)} bytes instead of {size}", remedy="restore it")
    return data
