"""The node's Ed25519 identity: the key behind its libp2p peer id.

The file holds libp2p's protobuf encoding of the private key, which every libp2p implementation reads.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from libp2p.crypto.ed25519 import Ed25519PrivateKey, create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.serialization import deserialize_private_key
from libp2p.peer.id import ID

from protocol.errors import OperatorFault

MAX_IDENTITY_FILE = 256  # an Ed25519 key in protobuf has 36 or 68 bytes


@dataclass(frozen=True)
class Identity:
    """A libp2p key pair and the peer id that follows from it; the key never appears in `repr`."""

    key_pair: KeyPair = field(repr=False)
    peer_id: str

    @classmethod
    def generate(cls) -> Identity:
        """A fresh identity from the operating system's randomness."""
        return cls._of(create_new_key_pair())

    @classmethod
    def from_bytes(cls, encoded: bytes, *, source: str = "the credential") -> Identity:
        """Decode a protobuf private key; raises OperatorFault that names `source` if it is not one."""
        try:
            private_key = deserialize_private_key(encoded)
            if not isinstance(private_key, Ed25519PrivateKey):
                raise ValueError("not an Ed25519 key")
            return cls._of(KeyPair(private_key, private_key.get_public_key()))
        except Exception as error:  # protobuf, nacl and libp2p each raise their own types
            raise OperatorFault(
                f"{source} does not hold an Ed25519 libp2p identity ({type(error).__name__})",
                remedy="restore it from a backup; a new identity needs a new place in every roster",
            ) from None

    @classmethod
    def load_or_create(cls, path: Path) -> Identity:
        """Read the identity file at `path`, or create it (file 0600, its directory 0700).

        Raises OperatorFault for a corrupt file, one that others can read, or an unwritable directory.
        """
        try:
            if not path.exists():
                return cls._create(path)
            if path.stat().st_mode & 0o077:
                raise OperatorFault(f"{path} is readable by other users", remedy=f"chmod 600 {path}")
            with path.open("rb") as file:
                encoded = file.read(MAX_IDENTITY_FILE)
        except OSError as error:
            raise OperatorFault(
                f"cannot use the identity file {path}: {error.strerror}",
                remedy="give the daemon's user access to its data directory",
            ) from error
        return cls.from_bytes(encoded, source=str(path))

    def to_bytes(self) -> bytes:
        """The protobuf private key, as the identity file holds it. Secret."""
        return self.key_pair.private_key.serialize()

    @classmethod
    def _of(cls, key_pair: KeyPair) -> Identity:
        return cls(key_pair, ID.from_pubkey(key_pair.public_key).to_string())

    @classmethod
    def _create(cls, path: Path) -> Identity:
        identity = cls.generate()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=".identity-"
        )  # mkstemp makes it 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(identity.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename, fails if another daemon created one meanwhile
        finally:
            os.unlink(temporary)
        _sync_directory(path.parent)
        return identity


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
