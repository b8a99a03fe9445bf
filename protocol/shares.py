"""Members' partial decryptions as they are stored: sealed to the members.

Who stores the buckets of as many members as decryption needs has every share beside every ciphertext; it
must not be able to open the sums. The record names the object as it is stored; the root and the proof's
digest in it are of what is inside, and are checked there. Nothing rests on the joint public key's secrecy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from protocol.aggregation import largest_blob
from protocol.crypto.sealing import Addressees, seal, sealed_size, unseal
from protocol.crypto.sigma.schnorr import JobSecret
from protocol.crypto.transcript import Context
from protocol.encoding.errors import Mismatch
from protocol.encoding.header import Kind
from protocol.errors import MemberFault
from protocol.manifest import Manifest
from protocol.records import Blob


class SealedShares:
    """Member `me` of a job seals its shares to all members, and opens theirs with its job key."""

    def __init__(self, manifest: Manifest, key: bytes, me: int, secret: JobSecret) -> None:
        """`key` is the joint key's digest (32 bytes)."""
        self._job = manifest.job
        self._roster = manifest.roster.digest()
        self._keys = tuple(member.job_key for member in manifest.roster.members)
        self._key = key
        self._me = me
        self._secret = secret

    def seal(self, number: int, data: bytes, blob: Blob) -> tuple[bytes, Blob]:
        """The object to store in place of `data` in round `number`, and what to announce of it."""
        sealed = seal(self._to(number, self._me), data)
        return sealed, replace_object(blob, sealed)

    def unseal(self, number: int, member: int, blob: Blob, data: Iterable[bytes]) -> tuple[bytes, Blob]:
        """What is inside `member`'s object, and the announcement as it would be of that.

        Raises a `MemberFault` that names the member, the same for every member that opens it.
        """
        sealed = b"".join(data)
        try:
            if hashlib.sha256(sealed).digest() != blob.object:
                raise Mismatch("the object is not the announced one")
            inside = unseal(self._to(number, member), self._me - 1, self._secret, sealed)
        except MemberFault as fault:
            raise fault.blame(member) from None
        return inside, replace_object(blob, inside)

    def _to(self, number: int, sender: int) -> Addressees:
        return Addressees(self._keys, Context(self._job, number, sender, self._roster, self._key))


def largest_share(manifest: Manifest, ranged: bool) -> int:
    """Bytes that a stored share has at most, in whichever round: see `largest_blob`."""
    return sealed_size(manifest.roster.size, largest_blob(manifest, Kind.PARTIAL, ranged))


def replace_object(blob: Blob, data: bytes) -> Blob:
    """The announcement with these bytes as its object."""
    return Blob(hashlib.sha256(data).digest(), len(data), blob.root, blob.proof)
