"""The blob: what a member stores in its bucket for one round, as one immutable object.

    magic "starling", version, header length u16  8 + 2 + 2 bytes, big-endian
    header                                        canonical MessagePack, see `Header`
    ciphertexts                                   `count` big-endian integers in (0, n²), `width` bytes each
    proof length u32, proof                       at most 4 KiB, or what a range proof needs
    (nothing follows)

Its **root** is the Merkle root over the leaves [everything up to the header's end, chunk 0, chunk 1, …]
with chunks of 64 ciphertexts (the last may be shorter). The root does not cover the proof, because the
proof's transcript may bind the root. The record that announces a blob therefore carries two digests,
the root and `proof_digest`; together they fix every byte.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from gmpy2 import mpz

from protocol.crypto.integers import encode_integer, require_units
from protocol.encoding.errors import Excess, Malformed, Mismatch, Misuse, Truncated
from protocol.encoding.header import MAX_HEADER_BYTES, Header
from protocol.encoding.merkle import Frontier, merkle_root
from protocol.errors import MemberFault

MAGIC = b"starling"
VERSION = 1
CHUNK = (
    64  # ciphertexts per leaf: 32 KiB at 2048 bits, so a reader's memory and an inclusion proof stay small
)
MAX_PROOF_BYTES = (
    4096  # batched proofs have constant size, below this for every profile; range proofs have not
)

_PREFACE = struct.Struct(">8sHH")
_PROOF_LENGTH = struct.Struct(">I")
_PROOF_DOMAIN = b"starling/1 blob proof\x00"


def proof_digest(proof: bytes) -> bytes:
    """The digest (32 bytes) by which a record fixes a blob's proof."""
    return hashlib.sha256(_PROOF_DOMAIN + proof).digest()


def blob_size(header: Header, proof_bytes: int = MAX_PROOF_BYTES) -> int:
    """The size in bytes of a blob with this header and a proof of `proof_bytes`; by default its maximum."""
    body = header.count * header.width
    return _PREFACE.size + len(header.to_bytes()) + body + _PROOF_LENGTH.size + proof_bytes


def blob_root(header: Header, ciphertexts: Sequence[int]) -> bytes:
    """The Merkle root (32 bytes) of the blob; `Misuse` as for `write_blob`."""
    return merkle_root(_leaves(header, ciphertexts))


def write_blob(
    header: Header, ciphertexts: Sequence[int], proof: bytes, longest: int = MAX_PROOF_BYTES
) -> Iterator[bytes]:
    """The blob in pieces of at most one chunk, and the proof; that has `longest` bytes at most.

    While iterated, raises `Misuse` for a number of ciphertexts other than the header's, one that is not
    in (0, 256^width), or an empty or too long proof. That they are below n² is the encrypting code's promise.
    """
    if not 1 <= len(proof) <= longest:
        raise Misuse(f"a proof has 1 to {longest} bytes, not {len(proof)}")
    yield from _leaves(header, ciphertexts)
    yield _PROOF_LENGTH.pack(len(proof)) + proof


def _leaves(header: Header, ciphertexts: Sequence[int]) -> Iterator[bytes]:
    if len(ciphertexts) != header.count:
        raise Misuse(f"the header announces {header.count} ciphertexts, not {len(ciphertexts)}")
    encoded = header.to_bytes()
    yield _PREFACE.pack(MAGIC, VERSION, len(encoded)) + encoded
    for start in range(0, header.count, CHUNK):
        chunk = ciphertexts[start : start + CHUNK]
        if any(not 0 < value < 1 << 8 * header.width for value in chunk):
            raise Misuse("a ciphertext is not a positive integer of the header's width")
        yield b"".join(encode_integer(value, header.width) for value in chunk)


@dataclass(frozen=True)
class BlobPromise:
    """What the verifier of a blob knows beforehand, from the manifest and the announcing record.

    `modulus` is n; `root` and `proof` are the two digests that the record carries; the proof has at most
    `longest_proof` bytes.
    """

    header: Header
    modulus: int
    root: bytes
    proof: bytes
    longest_proof: int = MAX_PROOF_BYTES

    def __post_init__(self) -> None:
        if int(self.modulus).bit_length() != self.header.modulus_bits:
            raise Misuse("the modulus does not have the header's width")


class BlobReader:
    """Verifies a blob piece by piece as it arrives, with no input or output of its own.

    It refuses the first byte that cannot belong to the promised blob and keeps at most one chunk
    beyond the piece it was just fed. The root is compared when the last ciphertext has arrived: until
    `finish` returns, ciphertexts are well-formed but not yet those that their sender committed to.
    """

    def __init__(self, promise: BlobPromise) -> None:
        self._promise = promise
        self._buffer = bytearray()
        self._ready: list[mpz] = []
        self._proof: bytes | None = None
        self._over = False
        self._parser = self._parse()
        self._wanted = next(self._parser)

    def feed(self, data: bytes) -> list[mpz]:
        """Take the next bytes; return the ciphertexts they completed, in order, each a unit in (0, n²).

        Raises `Malformed`, `Excess`, `Mismatch` or `MalformedInteger`, all `MemberFault`s; after any of
        them, and after `finish`, the reader can only be thrown away (`Misuse`).
        """
        if self._over:
            raise Misuse("this blob's reader is at its end")
        self._buffer += data
        try:
            while self._proof is None and len(self._buffer) >= self._wanted:
                self._advance()
            if self._proof is not None and self._buffer:
                raise Excess("bytes follow the end of the blob")
        except MemberFault:
            self._over = True
            raise
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> bytes:
        """The blob's proof once every byte has arrived and both digests agree; `Truncated` before."""
        if self._over:
            raise Misuse("this blob's reader is at its end")
        self._over = True
        if self._proof is None:
            raise Truncated("the blob ends too early")
        return self._proof

    def _advance(self) -> None:
        """Hand the parser the piece it waits for."""
        piece = bytes(self._buffer[: self._wanted])
        del self._buffer[: self._wanted]
        try:
            self._wanted = self._parser.send(piece)
        except StopIteration as end:
            self._proof = end.value

    def _parse(self) -> Generator[int, bytes, bytes]:
        """The format, in order: yields how many bytes it needs, is sent them, returns the proof."""
        preface = yield _PREFACE.size
        encoded = yield _header_length(preface)
        header = Header.from_bytes(encoded)
        header.require(self._promise.header)
        tree = Frontier()
        tree.append(preface + encoded)
        for start in range(0, header.count, CHUNK):
            chunk = yield min(CHUNK, header.count - start) * header.width
            tree.append(chunk)
            self._ready += self._ciphertexts(chunk, start)
        if tree.root() != self._promise.root:
            raise Mismatch("the blob's root is not the committed one")
        proof = yield _proof_length((yield _PROOF_LENGTH.size), self._promise.longest_proof)
        if proof_digest(proof) != self._promise.proof:
            raise Mismatch("the blob's proof is not the committed one")
        return proof

    def _ciphertexts(self, chunk: bytes, start: int) -> list[mpz]:
        width = self._promise.header.width
        pieces = (chunk[at : at + width] for at in range(0, len(chunk), width))
        values = [mpz(int.from_bytes(piece, "big")) for piece in pieces]
        require_units(values, self._promise.modulus, f"ciphertext {start} +")
        return values


def _header_length(preface: bytes) -> int:
    magic, version, length = _PREFACE.unpack(preface)
    if magic != MAGIC:
        raise Malformed("this is not a blob")
    if version != VERSION:
        raise Malformed(f"the blob has version {version}, not {VERSION}", remedy="run the same release")
    if length > MAX_HEADER_BYTES:
        raise Excess(f"the blob announces a header of {length} bytes, more than {MAX_HEADER_BYTES}")
    return int(length)


def _proof_length(field: bytes, longest: int) -> int:
    (length,) = _PROOF_LENGTH.unpack(field)
    if length < 1:
        raise Malformed("the blob has no proof")
    if length > longest:
        raise Excess(f"the blob announces a proof of {length} bytes, more than {longest}")
    return int(length)
