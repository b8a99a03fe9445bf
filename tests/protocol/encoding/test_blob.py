"""Blobs: written, read in any pieces, and refused when a single bit is not as promised."""

import hashlib
import tracemalloc
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto.integers import MalformedInteger
from protocol.encoding.blob import (
    CHUNK,
    MAX_PROOF_BYTES,
    BlobPromise,
    BlobReader,
    blob_root,
    blob_size,
    proof_digest,
    write_blob,
)
from protocol.encoding.errors import Excess, Malformed, Mismatch, Misuse, Truncated
from protocol.encoding.header import Header, Kind
from protocol.encoding.merkle import inclusion_path, leaf_hash, merkle_root, verify_inclusion
from protocol.errors import MemberFault

P = 2**128 - 159
Q = 2**128 - 173
N = P * Q
WIDTH = 64


def header_of(count):
    return Header(Kind.UPDATE, b"j" * 32, 3, 2, b"k" * 32, b"e" * 32, b"", N.bit_length(), count)


def units(count):
    """`count` different units modulo n²: powers of 3, which divides neither prime."""
    powers = accumulate(range(count), lambda power, _: power * 3 % (N * N), initial=pow(mpz(3), 200, N * N))
    return list(powers)[:count]


class Sample:
    """A blob with what its reader is promised."""

    def __init__(self, ciphertexts, proof=b"a proof") -> None:
        self.header = header_of(len(ciphertexts))
        self.ciphertexts = ciphertexts
        self.proof = proof
        self.data = b"".join(write_blob(self.header, ciphertexts, proof))
        root = blob_root(self.header, ciphertexts)
        self.promise = BlobPromise(self.header, N, root, proof_digest(proof))


def read(promise, pieces):
    reader, ciphertexts = BlobReader(promise), []
    for piece in pieces:
        ciphertexts += reader.feed(piece)
    return ciphertexts, reader.finish()


SMALL = Sample(units(2))
BODY = len(SMALL.data) - 2 * WIDTH - 4 - len(SMALL.proof)


@pytest.mark.parametrize("count", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5])
@pytest.mark.parametrize("proof", [b"x", b"y" * MAX_PROOF_BYTES])
def test_a_blob_is_read_as_it_was_written(count, proof):
    sample = Sample(units(count), proof)
    assert read(sample.promise, [sample.data]) == (sample.ciphertexts, proof)
    assert len(sample.data) == blob_size(sample.header, len(proof)) <= blob_size(sample.header)


@given(st.integers(1, 2 * CHUNK + 3), st.lists(st.integers(0, 20_000)), st.binary(min_size=1, max_size=50))
@settings(deadline=None)
def test_pieces_of_any_size_give_the_same(count, cuts, proof):
    sample = Sample(units(count), proof)
    places = [0, *sorted(min(cut, len(sample.data)) for cut in cuts), len(sample.data)]
    pieces = [sample.data[start:end] for start, end in pairwise(places)]
    assert read(sample.promise, pieces) == (sample.ciphertexts, proof)


def test_byte_by_byte():
    pieces = [bytes([byte]) for byte in SMALL.data]
    assert read(SMALL.promise, pieces) == (SMALL.ciphertexts, SMALL.proof)


def test_the_format_is_known():
    encoded = SMALL.header.to_bytes()
    ciphertexts = b"".join(int(value).to_bytes(WIDTH, "big") for value in SMALL.ciphertexts)
    preface = b"starling\x00\x01" + len(encoded).to_bytes(2, "big") + encoded
    assert SMALL.data == preface + ciphertexts + b"\x00\x00\x00\x07a proof"
    leaves = hashlib.sha256(b"\0" + preface).digest() + hashlib.sha256(b"\0" + ciphertexts).digest()
    assert SMALL.promise.root == hashlib.sha256(b"\x01" + leaves).digest()
    assert SMALL.promise.root.hex() == "2bc478f3a9b55c34f7183dc456c46c3721c0c66737ca6b3685caf708313fac60"
    assert (
        hashlib.sha256(SMALL.data).hexdigest()
        == "38956a62423ddc05331b8ca51fbd0d5c2165d81b49464d87f4e25cdbd9d6343a"
    )
    assert (
        proof_digest(b"a proof").hex() == "dc44e8e27ba3d34e639a42ed4baf7df5fe8a4986a6f1c959e9b86bb2fb2fdd70"
    )
    assert (
        Sample(units(3 * CHUNK + 5)).promise.root.hex()
        == "67bc022debd52a9bc2028acda2fd85e2fe1eee55f51dc1367c2bfbb5fbc0cdb7"
    )


def test_chunks_can_be_proved_alone():
    sample = Sample(units(2 * CHUNK + 5))
    leaves = list(write_blob(sample.header, sample.ciphertexts, sample.proof))[:-1]
    assert merkle_root(leaves) == sample.promise.root
    path = inclusion_path([leaf_hash(leaf) for leaf in leaves], 2)
    verify_inclusion(sample.promise.root, leaves[2], 2, len(leaves), path)


def test_every_truncation_is_refused():
    for end in range(len(SMALL.data)):
        with pytest.raises(Truncated):
            read(SMALL.promise, [SMALL.data[:end]])


def test_every_flipped_bit_is_refused():
    for bit in range(8 * len(SMALL.data)):
        changed = bytearray(SMALL.data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MemberFault):
            read(SMALL.promise, [bytes(changed)])


@given(st.data())
@settings(deadline=None)
def test_inserted_deleted_and_repeated_bytes_are_refused(data):
    start = data.draw(st.integers(0, len(SMALL.data)))
    end = data.draw(st.integers(start, len(SMALL.data)))
    insert = data.draw(st.one_of(st.binary(max_size=80), st.just(2 * SMALL.data[start:end])))
    changed = SMALL.data[:start] + insert + SMALL.data[end:]
    if changed != SMALL.data:
        with pytest.raises(MemberFault):
            read(SMALL.promise, [changed])


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_arbitrary_bytes_are_refused(data):
    with pytest.raises(MemberFault):
        read(SMALL.promise, [data])


@pytest.mark.parametrize("extra", [b"\x00", SMALL.data])
@pytest.mark.parametrize("together", [True, False])
def test_what_follows_the_end_is_refused(extra, together):
    with pytest.raises(Excess, match="follow the end"):
        read(SMALL.promise, [SMALL.data + extra] if together else [SMALL.data, extra])


@pytest.mark.parametrize(
    ("preface", "error"),
    [
        (b"starlinG\x00\x01\x00\xd0", "not a blob"),
        (b"starling\x00\x00\x00\xd0", "version 0"),
        (b"starling\x00\x02\x00\xd0", "version 2"),
        (b"starling\x00\x01\x00\x00", "not MessagePack"),
        (b"starling\x00\x01\x02\x01", "513 bytes"),
        (b"starling\x00\x01\xff\xff", "65535 bytes"),
    ],
)
def test_a_wrong_start_is_refused_at_once(preface, error):
    with pytest.raises(Malformed, match=error):
        BlobReader(SMALL.promise).feed(preface)


@pytest.mark.parametrize(
    "change",
    [
        {"round": 4},
        {"sender": 1},
        {"job": b"x" * 32},
        {"key": b"x" * 32},
        {"encoding": b"x" * 32},
        {"count": 3},
        {"kind": Kind.PARTIAL, "aggregate": b"a" * 32},
    ],
)
def test_another_blob_is_refused_before_its_first_ciphertext(change):
    other = replace(SMALL.header, **change)
    beginning = next(write_blob(other, units(other.count), b"a proof"))
    with pytest.raises(Mismatch, match=f"blob's {next(iter(change))} "):
        BlobReader(SMALL.promise).feed(beginning)


@pytest.mark.parametrize("bad", [0, N * N, N * N + 1, 2 ** (8 * WIDTH) - 1, P, 5 * Q, N])
def test_a_ciphertext_that_is_no_unit_below_the_square_is_named(bad):
    data = bytearray(SMALL.data)
    data[BODY + WIDTH : BODY + 2 * WIDTH] = bad.to_bytes(WIDTH, "big")
    with pytest.raises(MalformedInteger, match=r"ciphertext 0 \+ 1 is") as caught:
        BlobReader(SMALL.promise).feed(bytes(data))
    assert caught.value.member is None
    assert caught.value.blame(2).member == 2


def test_ciphertexts_out_of_order_or_repeated_are_refused():
    first, second = SMALL.ciphertexts
    for others in ([second, first], [first, first], [first, second * 2 % (N * N)]):
        with pytest.raises(Mismatch, match="root"):
            read(SMALL.promise, write_blob(SMALL.header, others, SMALL.proof))


def test_the_root_is_compared_before_the_proof_arrives():
    *leaves, _ = write_blob(SMALL.header, SMALL.ciphertexts[::-1], SMALL.proof)
    with pytest.raises(Mismatch, match="root"):
        BlobReader(SMALL.promise).feed(b"".join(leaves))


def test_another_proof_is_refused():
    with pytest.raises(Mismatch, match="proof"):
        read(SMALL.promise, write_blob(SMALL.header, SMALL.ciphertexts, b"b proof"))


@pytest.mark.parametrize("length", [0, MAX_PROOF_BYTES + 1, 2**32 - 1])
def test_a_proof_of_a_forbidden_length_is_refused_at_its_announcement(length):
    *leaves, _ = write_blob(SMALL.header, SMALL.ciphertexts, SMALL.proof)
    with pytest.raises(Malformed, match="proof"):
        BlobReader(SMALL.promise).feed(b"".join(leaves) + length.to_bytes(4, "big"))


def test_a_reader_that_refused_or_finished_is_at_its_end():
    refused, finished = BlobReader(SMALL.promise), BlobReader(SMALL.promise)
    with pytest.raises(Malformed):
        refused.feed(b"something else")
    finished.feed(SMALL.data)
    finished.finish()
    for reader in (refused, finished):
        with pytest.raises(Misuse, match="at its end"):
            reader.feed(SMALL.data)
        with pytest.raises(Misuse, match="at its end"):
            reader.finish()


def test_reading_takes_little_memory_whatever_the_size():
    sample = Sample(units(800 * CHUNK))
    reader, piece = BlobReader(sample.promise), 1000
    tracemalloc.start()
    try:
        for start in range(0, len(sample.data), piece):
            reader.feed(sample.data[start : start + piece])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.finish() == sample.proof
    assert peak < 2**19 < len(sample.data) / 6, "half of it is MessagePack's own buffer"


@pytest.mark.parametrize(
    "ciphertexts", [[], [mpz(1)], [mpz(1)] * 3, [mpz(1), mpz(0)], [mpz(1), mpz(2) ** 512]]
)
def test_our_own_wrong_ciphertexts_are_our_own_fault(ciphertexts):
    with pytest.raises(Misuse):
        list(write_blob(SMALL.header, ciphertexts, b"x"))
    with pytest.raises(Misuse):
        blob_root(SMALL.header, ciphertexts)


@pytest.mark.parametrize("proof", [b"", b"x" * (MAX_PROOF_BYTES + 1)])
def test_our_own_wrong_proof_is_our_own_fault(proof):
    with pytest.raises(Misuse, match="proof"):
        list(write_blob(SMALL.header, SMALL.ciphertexts, proof))


def test_a_promise_needs_the_headers_modulus():
    with pytest.raises(Misuse, match="width"):
        BlobPromise(SMALL.header, 2 * N, bytes(32), bytes(32))
