"""Secure aggregation: from one member's update to an opened sum (paper, sections 3.3 to 3.5).

`Aggregation` puts encoding, encryption, proofs and blobs together for one job and one joint key. It is
pure and may be used from any process; every method works on whole updates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from protocol.crypto.paillier import Encryptor, add
from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.equality import decryption_prover, honest_decryption
from protocol.crypto.sigma.plaintext import KnowsPlaintexts, PlaintextProver
from protocol.crypto.threshold import JointKey, KeyShare, Path, combine, partially_decrypt
from protocol.crypto.transcript import Context
from protocol.encoding.blob import BlobPromise, BlobReader, blob_root, proof_digest, write_blob
from protocol.encoding.errors import Mismatch
from protocol.encoding.header import Header, Kind
from protocol.encoding.update import UpdateCodec
from protocol.errors import MemberFault
from protocol.manifest import Manifest
from protocol.records import Blob

Arrays = Mapping[str, npt.NDArray[np.floating]]


class Aggregation:
    """What a member computes in a round, under the joint key of its job."""

    def __init__(self, manifest: Manifest, key: JointKey) -> None:
        self.manifest = manifest
        self.key = key
        self.codec: UpdateCodec = manifest.codec
        self._job = manifest.job
        self._roster = manifest.roster.digest()
        self._encoding = self.codec.digest()

    @cached_property
    def _encryptor(self) -> Encryptor:
        return Encryptor(self.key.public)

    def context(self, number: int, sender: int) -> Context:
        """What proofs of `sender` in round `number` are bound to."""
        return Context(self._job, number, sender, self._roster, self.key.digest)

    def header(self, kind: Kind, number: int, sender: int, aggregate: bytes = b"") -> Header:
        """The header that `sender`'s blob of round `number` must have."""
        return Header(
            kind=kind,
            job=self._job,
            round=number,
            sender=sender,
            key=self.key.digest,
            encoding=self._encoding,
            aggregate=aggregate,
            modulus_bits=self.key.public.profile.modulus_bits,
            count=self.codec.plaintexts,
        )

    def contribute(self, number: int, me: int, update: Arrays, weight: int) -> tuple[bytes, Blob]:
        """Clip, quantise, pack, encrypt and prove an update: the blob to store, and what to announce.

        Raises `Misuse` or `NotFinite` for an update that does not fit the manifest.
        """
        plaintexts = self.codec.encode(update, weight)
        made = self._encryptor.encrypt(plaintexts)
        statement = KnowsPlaintexts(self.key.public, made.ciphertexts)
        prover = PlaintextProver(statement, plaintexts, made)
        proof = prove(statement, prover, self.context(number, me))
        return _stored(self.header(Kind.UPDATE, number, me), made.ciphertexts, proof)

    def check_update(self, number: int, member: int, blob: Blob, data: Iterable[bytes]) -> list[mpz]:
        """The ciphertexts of `member`'s update, if `data` is what it committed to and its proof holds.

        Raises a `MemberFault` that names the member.
        """
        try:
            header = self.header(Kind.UPDATE, number, member)
            ciphertexts, proof = self._read(header, blob, data)
            verify(KnowsPlaintexts(self.key.public, ciphertexts), proof, self.context(number, member))
        except MemberFault as fault:
            raise fault.blame(member) from None
        return ciphertexts

    def sum(self, updates: Sequence[Sequence[mpz]]) -> list[mpz]:
        """Ciphertexts of the sum of verified updates."""
        return add(self.key.public, updates)

    def release(
        self, number: int, share: KeyShare, aggregate: bytes, total: Sequence[mpz]
    ) -> tuple[bytes, Blob]:
        """Partially decrypt the sealed sum and prove it: the blob to store, and what to announce.

        The caller has durably written down that this aggregate is the one of the round.
        """
        partials = partially_decrypt(self.key, share, total)
        statement = honest_decryption(self.key, share.member, total, partials, Path.THRESHOLD)
        prover = decryption_prover(statement, share, Path.THRESHOLD)
        proof = prove(statement, prover, self.context(number, share.member))
        return _stored(self.header(Kind.PARTIAL, number, share.member, aggregate), partials, proof)

    def check_share(
        self,
        number: int,
        member: int,
        aggregate: bytes,
        total: Sequence[mpz],
        blob: Blob,
        data: Iterable[bytes],
    ) -> list[mpz]:
        """`member`'s partial decryptions of the sum, if `data` is what it announced and its proof holds.

        Raises a `MemberFault` that names the member.
        """
        try:
            header = self.header(Kind.PARTIAL, number, member, aggregate)
            partials, proof = self._read(header, blob, data)
            statement = honest_decryption(self.key, member, total, partials, Path.THRESHOLD)
            verify(statement, proof, self.context(number, member))
        except MemberFault as fault:
            raise fault.blame(member) from None
        return partials

    def open(
        self, partials: Mapping[int, Sequence[mpz]], contributors: Sequence[int]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """The weighted average of the contributors' updates, by tensor.

        Raises `OutOfRange` when no honest updates add up to the sum: then nobody may apply it.
        """
        return self.codec.decode(combine(self.key, partials), contributors)

    def _read(self, header: Header, blob: Blob, data: Iterable[bytes]) -> tuple[list[mpz], bytes]:
        reader = BlobReader(BlobPromise(header, int(self.key.public.n), blob.root, blob.proof))
        whole = hashlib.sha256()
        ciphertexts: list[mpz] = []
        for piece in data:
            whole.update(piece)
            ciphertexts += reader.feed(piece)
        proof = reader.finish()
        if whole.digest() != blob.object:
            raise Mismatch("the object is not the announced one")
        return ciphertexts, proof


def _stored(header: Header, ciphertexts: Sequence[mpz], proof: bytes) -> tuple[bytes, Blob]:
    data = b"".join(write_blob(header, ciphertexts, proof))
    digest = hashlib.sha256(data).digest()
    return data, Blob(digest, len(data), blob_root(header, ciphertexts), proof_digest(proof))


def apply(model: Arrays, average: Arrays) -> dict[str, npt.NDArray[np.float32]]:
    """The new global weights: every tensor plus its averaged update, in float32, the same bits everywhere."""
    if model.keys() != average.keys():
        raise Mismatch("the averaged update has other tensors than the model")
    return {name: (model[name] + average[name]).astype(np.float32) for name in model}
