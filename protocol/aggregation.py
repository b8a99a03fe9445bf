"""Secure aggregation: from one member's update to an opened sum (paper, sections 3.3 to 3.5).

`Aggregation` puts encoding, encryption, proofs and blobs together for one job and one joint key. It is
pure and may be used from any process; every method works on whole updates.

A round is either *ranged* or not, the same for all its updates and shares. In a ranged one slots are wider,
and every update proves that its digits and its private weight are in range: what N accepted ones add up to
can always be applied. Otherwise a sum that cannot be honest is found after it was opened, and discarded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from protocol.crypto.paillier import Encryption, Encryptor, add
from protocol.crypto.ranges import DigitsInRange, Sizes, prove_digits, verify_digits
from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.equality import decryption_prover, honest_decryption
from protocol.crypto.sigma.plaintext import KnowsPlaintexts, PlaintextProver
from protocol.crypto.threshold import JointKey, KeyShare, Path, combine, partially_decrypt
from protocol.crypto.transcript import Context
from protocol.encoding.blob import (
    MAX_PROOF_BYTES,
    BlobPromise,
    BlobReader,
    blob_root,
    blob_size,
    proof_digest,
    write_blob,
)
from protocol.encoding.errors import Mismatch
from protocol.encoding.header import MAX_ROUND, Header, Kind
from protocol.encoding.packing import MAX_MEMBERS
from protocol.encoding.ranged import RangedCodec
from protocol.encoding.update import UpdateCodec
from protocol.errors import MemberFault, OwnFault
from protocol.manifest import Manifest
from protocol.records import Blob

Arrays = Mapping[str, npt.NDArray[np.floating]]

DIGEST = bytes(32)

ATTEMPTS = 40
"""So often an update is encrypted afresh for its range proof: each time fails with less than 1 % at worst."""


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
    def ranged_codec(self) -> RangedCodec:
        """How updates of ranged rounds are encoded."""
        return self.manifest.ranged_codec

    @cached_property
    def _ranged_encoding(self) -> bytes:
        return self.ranged_codec.digest()

    @cached_property
    def _encryptor(self) -> Encryptor:
        return Encryptor(self.key.public)

    def context(self, number: int, sender: int) -> Context:
        """What proofs of `sender` in round `number` are bound to."""
        return Context(self._job, number, sender, self._roster, self.key.digest)

    def header(
        self, kind: Kind, number: int, sender: int, aggregate: bytes = b"", ranged: bool = False
    ) -> Header:
        """The header that `sender`'s blob of round `number` must have."""
        return Header(
            kind=kind,
            job=self._job,
            round=number,
            sender=sender,
            key=self.key.digest,
            encoding=self._ranged_encoding if ranged else self._encoding,
            aggregate=aggregate,
            modulus_bits=self.key.public.profile.modulus_bits,
            count=self.ranged_codec.plaintexts if ranged else self.codec.plaintexts,
        )

    def contribute(
        self, number: int, me: int, update: Arrays, weight: int, ranged: bool = False
    ) -> tuple[bytes, Blob]:
        """Clip, quantise, pack, encrypt and prove an update: the blob to store, and what to announce.

        Raises `Misuse` or `NotFinite` for an update that does not fit the manifest.
        """
        if ranged:
            return self._contribute_ranged(number, me, update, weight)
        plaintexts = self.codec.encode(update, weight)
        made = self._encryptor.encrypt(plaintexts)
        proof = self._prove_known(number, me, plaintexts, made)
        return _stored(self.header(Kind.UPDATE, number, me), made.ciphertexts, proof)

    def _prove_known(self, number: int, me: int, plaintexts: Sequence[int], made: Encryption) -> bytes:
        statement = KnowsPlaintexts(self.key.public, made.ciphertexts)
        return prove(statement, PlaintextProver(statement, plaintexts, made), self.context(number, me))

    def _contribute_ranged(self, number: int, me: int, update: Arrays, weight: int) -> tuple[bytes, Blob]:
        digits = self.ranged_codec.digits(update, weight)
        plaintexts = self.ranged_codec.encode(digits, weight)
        for _ in range(ATTEMPTS):
            made = self._encryptor.encrypt(plaintexts)
            statement = self._digits_in_range(me, made.ciphertexts)
            proof = prove_digits(statement, digits, weight, made, self.context(number, me))
            if proof is not None:
                known = self._prove_known(number, me, plaintexts, made)
                header = self.header(Kind.RANGED, number, me, ranged=True)
                return _stored(header, made.ciphertexts, known + proof)
        raise OwnFault("no range proof of this update came about")

    def _digits_in_range(self, member: int, ciphertexts: Sequence[mpz]) -> DigitsInRange:
        return DigitsInRange(self.key.public, self.ranged_codec.shape(member), ciphertexts)

    def check_update(
        self, number: int, member: int, blob: Blob, data: Iterable[bytes], ranged: bool = False
    ) -> list[mpz]:
        """The ciphertexts of `member`'s update, if `data` is what it committed to and its proofs hold.

        Raises a `MemberFault` that names the member; also for an update of the other kind of round.
        """
        try:
            check = self._check_ranged if ranged else self._check_plain
            return check(number, member, blob, data)
        except MemberFault as fault:
            raise fault.blame(member) from None

    def _check_plain(self, number: int, member: int, blob: Blob, data: Iterable[bytes]) -> list[mpz]:
        ciphertexts, proof = self._read(self.header(Kind.UPDATE, number, member), blob, data)
        verify(KnowsPlaintexts(self.key.public, ciphertexts), proof, self.context(number, member))
        return ciphertexts

    def _check_ranged(self, number: int, member: int, blob: Blob, data: Iterable[bytes]) -> list[mpz]:
        header, context = self.header(Kind.RANGED, number, member, ranged=True), self.context(number, member)
        range_bytes = self._digits_in_range(member, []).sizes.proof
        ciphertexts, proof = self._read(header, blob, data, MAX_PROOF_BYTES + range_bytes)
        known, in_range = proof[:-range_bytes], proof[-range_bytes:]
        verify(KnowsPlaintexts(self.key.public, ciphertexts), known, context)
        verify_digits(self._digits_in_range(member, ciphertexts), in_range, context)
        return ciphertexts

    def sum(self, updates: Sequence[Sequence[mpz]]) -> list[mpz]:
        """Ciphertexts of the sum of verified updates."""
        return add(self.key.public, updates)

    def release(
        self, number: int, share: KeyShare, aggregate: bytes, total: Sequence[mpz], ranged: bool = False
    ) -> tuple[bytes, Blob]:
        """Partially decrypt the sealed sum and prove it: the blob to store, and what to announce.

        The caller has durably written down that this aggregate is the one of the round.
        """
        partials = partially_decrypt(self.key, share, total)
        statement = honest_decryption(self.key, share.member, total, partials, Path.THRESHOLD)
        prover = decryption_prover(statement, share, Path.THRESHOLD)
        proof = prove(statement, prover, self.context(number, share.member))
        header = self.header(Kind.PARTIAL, number, share.member, aggregate, ranged)
        return _stored(header, partials, proof)

    def check_share(
        self,
        number: int,
        member: int,
        aggregate: bytes,
        total: Sequence[mpz],
        blob: Blob,
        data: Iterable[bytes],
        ranged: bool = False,
    ) -> list[mpz]:
        """`member`'s partial decryptions of the sum, if `data` is what it announced and its proof holds.

        Raises a `MemberFault` that names the member.
        """
        try:
            header = self.header(Kind.PARTIAL, number, member, aggregate, ranged)
            partials, proof = self._read(header, blob, data)
            statement = honest_decryption(self.key, member, total, partials, Path.THRESHOLD)
            verify(statement, proof, self.context(number, member))
        except MemberFault as fault:
            raise fault.blame(member) from None
        return partials

    def open(
        self, partials: Mapping[int, Sequence[mpz]], contributors: Sequence[int], ranged: bool = False
    ) -> dict[str, npt.NDArray[np.float32]]:
        """The weighted average of the contributors' updates, by tensor.

        Raises `OutOfRange` when no honest updates add up to the sum: then nobody may apply it. Where the
        updates' ranges were proved this does not happen.
        """
        codec = self.ranged_codec if ranged else self.codec
        return codec.decode(combine(self.key, partials), contributors)

    def _read(
        self, header: Header, blob: Blob, data: Iterable[bytes], longest_proof: int = MAX_PROOF_BYTES
    ) -> tuple[list[mpz], bytes]:
        promise = BlobPromise(header, int(self.key.public.n), blob.root, blob.proof, longest_proof)
        reader = BlobReader(promise)
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
    data = b"".join(write_blob(header, ciphertexts, proof, len(proof)))
    digest = hashlib.sha256(data).digest()
    return data, Blob(digest, len(data), blob_root(header, ciphertexts), proof_digest(proof))


def largest_blob(manifest: Manifest, kind: Kind, ranged: bool) -> int:
    """Bytes that an object of this kind has at most, whoever stores it in whichever round: what announces
    more is refused before anything of it is fetched."""
    codec = manifest.ranged_codec if ranged else manifest.codec
    aggregate = DIGEST if kind is Kind.PARTIAL else b""
    bits = manifest.profile.modulus_bits
    header = Header(
        kind, DIGEST, MAX_ROUND, MAX_MEMBERS, DIGEST, DIGEST, aggregate, bits, count=codec.plaintexts
    )
    return blob_size(header, MAX_PROOF_BYTES + (_range_bytes(manifest) if kind is Kind.RANGED else 0))


def _range_bytes(manifest: Manifest) -> int:
    """Bytes of the longest range proof: a member's weight decides how long its responses are."""
    bits, members = manifest.profile.modulus_bits, range(1, manifest.roster.size + 1)
    return max(Sizes.of(bits, manifest.ranged_codec.shape(member)).proof for member in members)


def apply(model: Arrays, average: Arrays) -> dict[str, npt.NDArray[np.float32]]:
    """The new global weights: every tensor plus its averaged update, in float32, the same bits everywhere."""
    if model.keys() != average.keys():
        raise Mismatch("the averaged update has other tensors than the model")
    return {name: (model[name] + average[name]).astype(np.float32) for name in model}
