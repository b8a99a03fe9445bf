"""A key share as an encrypted file that its operator keeps elsewhere.

The file is JSON; the share lies in it under a key that Argon2id makes from a passphrase.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

import msgspec
import nacl.exceptions
import nacl.pwhash.argon2id as argon2id
import nacl.secret
import nacl.utils
from msgspec import Meta

from protocol.errors import OperatorFault, StarlingError
from protocol.journal import HeldShare
from protocol.keyring import StoredShare
from protocol.wire import Digest, MemberIndex, Wire

FORMAT: Final = "starling-key-share-1"
MAX_BACKUP_BYTES = 4 * 2**20
MIN_PASSPHRASE = 12
"""Characters: below that, guessing is cheap whatever the key derivation costs."""

OPERATIONS, MEMORY = argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE
"""256 MiB and 3 passes: about a second."""


class Contents(Wire, frozen=True):
    """What is encrypted: the share, and the job and member it belongs to."""

    LIMIT: ClassVar[int] = 2 * 2**20

    job: Digest
    member: MemberIndex
    share: HeldShare


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["starling-key-share-1"]
    salt: Annotated[bytes, Meta(min_length=argon2id.SALTBYTES, max_length=argon2id.SALTBYTES)]
    operations: Annotated[int, Meta(ge=argon2id.OPSLIMIT_MIN, le=argon2id.OPSLIMIT_SENSITIVE)]
    memory: Annotated[int, Meta(ge=argon2id.MEMLIMIT_MIN, le=argon2id.MEMLIMIT_SENSITIVE)]
    box: bytes


def seal(contents: Contents, passphrase: str) -> bytes:
    """The file's bytes. `OperatorFault` for a passphrase that is too short."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise OperatorFault(
            f"the passphrase has fewer than {MIN_PASSPHRASE} characters", remedy="use five words or more"
        )
    salt = nacl.utils.random(argon2id.SALTBYTES)
    key = argon2id.kdf(nacl.secret.SecretBox.KEY_SIZE, passphrase.encode(), salt, OPERATIONS, MEMORY)
    box = bytes(nacl.secret.SecretBox(key).encrypt(contents.to_bytes()))
    return msgspec.json.encode(_File(FORMAT, salt, OPERATIONS, MEMORY, box)) + b"\n"


def unseal(data: bytes, passphrase: str) -> Contents:
    """What `seal` encrypted, its share checked against the key it is of.

    Raises `OperatorFault` for a file that is no backup, is damaged, or has another passphrase.
    """
    try:
        if len(data) > MAX_BACKUP_BYTES:
            raise msgspec.DecodeError("too large")
        file = msgspec.json.decode(data, type=_File)
    except msgspec.DecodeError as error:
        raise OperatorFault(
            f"this is not a backup of a key share: {error}", remedy="use what `starling keys backup` wrote"
        ) from error
    key = argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE, passphrase.encode(), file.salt, file.operations, file.memory
    )
    try:
        contents = Contents.from_bytes(nacl.secret.SecretBox(key).decrypt(file.box))
        stored = StoredShare.from_bytes(contents.share.secret)
        fits = stored.member == contents.member and stored.key.key().digest == contents.share.key
    except (nacl.exceptions.CryptoError, StarlingError) as error:
        raise OperatorFault(
            "the backup does not open", remedy="the passphrase is another one, or the file is damaged"
        ) from error
    if not fits:
        raise OperatorFault("the backup's share is not of the key it names", remedy="use another backup")
    return contents
