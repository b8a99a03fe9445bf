"""A member's Cardano payment key: made, stored and used in one place, shown nowhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from node.ledger import transaction
from node.ledger.errors import KeyFileError

_TYPE = "PaymentSigningKeyShelley_ed25519"
_CBOR_PREFIX = bytes.fromhex("5820")  # CBOR: a byte string of 32
_MAX_KEY_FILE = 4_096  # bytes; cardano-cli's text envelope takes about 150


class Wallet:
    """An Ed25519 payment key and its enterprise address."""

    def __init__(self, seed: bytes, *, mainnet: bool = False) -> None:
        self._key = SigningKey(seed)
        self.public_key = bytes(self._key.verify_key)
        self.key_hash = transaction.blake2b(self.public_key, transaction.KEY_HASH)
        self.address = transaction.key_address(self.key_hash, mainnet=mainnet)

    def __repr__(self) -> str:
        return f"Wallet({self.key_hash.hex()})"

    def sign(self, body: bytes) -> bytes:
        """A whole transaction: `body` with this key's witness."""
        return transaction.assemble(body, ((self.public_key, self.signature(body)),))

    def signature(self, body: bytes) -> bytes:
        """The Ed25519 signature (64 bytes) over the transaction id of `body`."""
        return self._key.sign(transaction.blake2b(body)).signature

    @classmethod
    def create(cls, path: Path, *, mainnet: bool = False) -> Wallet:
        """Make a key and store it at `path`, mode 0600; an existing file is an error, never overwritten."""
        seed = bytes(SigningKey.generate())
        envelope = {"type": _TYPE, "description": "", "cborHex": (_CBOR_PREFIX + seed).hex()}
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise KeyFileError(f"cannot create the payment key {path}: {error.strerror}") from None
        with os.fdopen(descriptor, "w") as file:
            json.dump(envelope, file)
            file.flush()
            os.fsync(file.fileno())
        return cls(seed, mainnet=mainnet)

    @classmethod
    def load(cls, path: Path, *, mainnet: bool = False) -> Wallet:
        """Read the key at `path`; KeyFileError if it is missing or readable by anyone else."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
            with os.fdopen(descriptor, "rb") as file:
                mode, content = os.fstat(descriptor).st_mode, file.read(_MAX_KEY_FILE + 1)
        except OSError as error:
            raise KeyFileError(f"cannot read the payment key {path}: {error.strerror}") from None
        if mode & 0o077:
            raise KeyFileError(f"the payment key {path} is open to others", remedy=f"chmod 600 {path}")
        return cls.from_credential(content, mainnet=mainnet)

    @classmethod
    def from_credential(cls, content: bytes, *, mainnet: bool = False) -> Wallet:
        """From the bytes of a cardano-cli signing key file or of a bare 32-byte seed."""
        if len(content) == 32:
            return cls(content, mainnet=mainnet)
        try:
            envelope = json.loads(content[: _MAX_KEY_FILE + 1])
            raw = bytes.fromhex(envelope["cborHex"])
            kind = envelope["type"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise KeyFileError("the payment key is not a cardano-cli signing key") from None
        if kind != _TYPE or len(raw) != 34 or not raw.startswith(_CBOR_PREFIX):
            raise KeyFileError(f"the payment key is not a {_TYPE}")
        return cls(raw[2:], mainnet=mainnet)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` is by Ed25519 key `public_key` (32 bytes)."""
    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True
