"""The operations of a round, measured on one update under one joint key."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from node.bench.clock import Metered, cost
from node.bench.dealer import Dealt
from node.bench.report import Facts, Measured
from node.crypto.spread import Spread, workers
from protocol.crypto.kernel import using
from protocol.crypto.kernel.backend import current
from protocol.crypto.paillier import Encryptor, add
from protocol.crypto.ranges import DigitsInRange, prove_digits, verify_digits
from protocol.crypto.sigma import prove, verify
from protocol.crypto.sigma.equality import decryption_prover, honest_decryption
from protocol.crypto.sigma.plaintext import KnowsPlaintexts, PlaintextProver
from protocol.crypto.threshold import Path, combine, partially_decrypt
from protocol.crypto.transcript import Context
from protocol.encoding.blob import blob_size
from protocol.encoding.header import Header, Kind
from protocol.encoding.layout import Layout, Tensor
from protocol.encoding.packing import Packing
from protocol.encoding.ranged import RangedCodec
from protocol.encoding.update import UpdateCodec
from protocol.encoding.weighting import PublicWeights
from protocol.errors import OwnFault

BITS = 16
ME = 1

DECRYPTED = {"ifma": 128, "gmp": 16}
"""Ciphertexts of the sum that are decrypted: one takes milliseconds with the kernel, ten times that with
GMP. All members' partial decryptions of the first number are made once, for combining and for proofs."""


@dataclass(frozen=True)
class Case:
    """One update of `parameters` values under a dealt key, encrypted, added up and partially decrypted."""

    dealt: Dealt
    codec: UpdateCodec
    update: dict[str, npt.NDArray[np.floating]]
    plaintexts: list[mpz]
    ciphertexts: list[mpz]
    total: list[mpz]
    partials: dict[int, list[mpz]]
    context: Context

    @property
    def facts(self) -> Facts:
        """What the report says of this case."""
        key = self.dealt.key
        return Facts(
            key.public.profile.modulus_bits,
            key.members,
            key.threshold,
            self.codec.layout.parameters,
            len(self.ciphertexts),
        )


def prepare(dealt: Dealt, parameters: int) -> Case:
    """An update of uniform values in (−1, 1), clipped at 1, of `BITS` bits, with equal public weights."""
    key = dealt.key
    layout = Layout((Tensor("weights", (parameters,), 1.0),))
    packing = Packing(key.public.profile.modulus_bits, BITS, key.members)
    codec = UpdateCodec(layout, packing, PublicWeights((1,) * key.members))
    update = {"weights": np.random.default_rng().uniform(-1, 1, parameters).astype(np.float32)}
    plaintexts = codec.encode(update, 1)
    ciphertexts = Encryptor(key.public).encrypt(plaintexts).ciphertexts
    total = add(key.public, [ciphertexts] * key.members)
    sample = total[: DECRYPTED[current().NAME]]
    quorum = range(1, key.threshold + 1)
    partials = {member: partially_decrypt(key, dealt.shares[member], sample) for member in quorum}
    job, roster = secrets.token_bytes(32), secrets.token_bytes(32)
    context = Context(job, 1, ME, roster, key.digest)
    return Case(dealt, codec, update, plaintexts, ciphertexts, total, partials, context)


@contextmanager
def _workers(cores: int) -> Iterator[Metered | None]:
    if cores == 1:
        yield None
        return
    inner = current()
    with Metered(workers(inner, cores)) as executor, using(Spread(inner, executor, cores)):
        yield executor


def measure(case: Case, backend: str, cores: int, say: Callable[[str], None]) -> Measured:
    """All operations of a round on `backend` over `cores` cores."""
    with using(backend), _workers(cores) as metered:
        measured = Measured(backend, cores)

        def record(name: str, work: Callable[[], object], count: int) -> None:
            say(f"{backend}, {cores} core{'s' * (cores > 1)}: {name}")
            measured.costs[name] = cost(work, workers=metered).per(count)

        _update(case, measured, record)
        _ranged(case, measured, record)
        _sum(case, measured, record)
        return measured


Record = Callable[[str, Callable[[], object], int], None]


def _update(case: Case, measured: Measured, record: Record) -> None:
    key, count = case.dealt.key.public, len(case.ciphertexts)
    encryptor = Encryptor(key)
    made = encryptor.encrypt(case.plaintexts)  # also builds the table, in every worker
    statement = KnowsPlaintexts(key, made.ciphertexts)
    prover = PlaintextProver(statement, case.plaintexts, made)
    proof = prove(statement, prover, case.context)
    record("encode", lambda: case.codec.encode(case.update, 1), count)
    record("encrypt", lambda: encryptor.encrypt(case.plaintexts), count)
    record("prove", lambda: prove(statement, prover, case.context), count)
    record("verify", lambda: verify(statement, proof, case.context), count)
    record("add", lambda: add(key, [case.ciphertexts] * case.dealt.key.members), count)
    measured.plaintext_proof = len(proof)
    measured.blob = blob_size(_header(case), len(proof))


def _ranged(case: Case, measured: Measured, record: Record) -> None:
    """The range proof, per ciphertext of an ordinary round: a ranged one has more for the same parameters."""
    key, count, codec = case.dealt.key.public, len(case.ciphertexts), RangedCodec(case.codec)
    digits = codec.digits(case.update, 1)
    made = Encryptor(key).encrypt(codec.encode(digits, 1))
    statement = DigitsInRange(key, codec.shape(ME), made.ciphertexts)
    proof = prove_digits(statement, digits, 1, made, case.context)  # also hashes the bases
    if proof is None:
        raise OwnFault("the coins made a row too long; measure again")
    record("prove range", lambda: prove_digits(statement, digits, 1, made, case.context), count)
    record("verify range", lambda: verify_digits(statement, proof, case.context), count)
    measured.ranged_ciphertexts, measured.range_proof = len(made.ciphertexts), len(proof)


def _header(case: Case) -> Header:
    context, bits = case.context, case.dealt.key.public.profile.modulus_bits
    encoding = case.codec.digest()
    count = len(case.ciphertexts)
    return Header(Kind.UPDATE, context.job, 1, ME, context.key, encoding, b"", bits, count)


def _sum(case: Case, measured: Measured, record: Record) -> None:
    key, share, partials = case.dealt.key, case.dealt.shares[ME], case.partials
    quick = case.total[: DECRYPTED[measured.backend]]
    total = case.total[: len(partials[ME])]
    statement = honest_decryption(key, ME, total, partials[ME], Path.THRESHOLD)
    prover = decryption_prover(statement, share, Path.THRESHOLD)
    proof = prove(statement, prover, case.context)
    record("partial decrypt", lambda: partially_decrypt(key, share, quick), len(quick))
    record("prove share", lambda: prove(statement, prover, case.context), len(total))
    record("verify share", lambda: verify(statement, proof, case.context), len(total))
    record("combine", lambda: combine(key, partials), len(total))
    measured.share_proof = len(proof)
