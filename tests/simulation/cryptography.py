"""What members compute with: a fast stand-in with the meaning of the real thing, or the real thing.

Both bind a blob to its sender, round and key, refuse what was changed, and open a sum only with T
distinct shares of that very sum. Models are named by their digest; what they hold is known to all runs
of one scenario.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import msgpack
import numpy as np
from gmpy2 import mpz

from protocol.aggregation import Aggregation, apply
from protocol.crypto.threshold import JointKey, KeyShare
from protocol.encoding.blob import proof_digest
from protocol.encoding.errors import Malformed, Mismatch, OutOfRange
from protocol.encoding.header import Kind
from protocol.manifest import Manifest
from protocol.records import Blob

Made = tuple[bytes, Blob]

LARGEST = 1000
"""A stand-in's update is below this."""

POISON = 10**6
"""One that no sum of honest updates reaches."""


class Cryptography(Protocol):
    """Under one joint key. Whatever is refused raises a `MemberFault`."""

    def contribute(self, number: int, me: int, *, ranged: bool, poisoned: bool = False) -> Made:
        """A fresh encrypted update; a `poisoned` one makes every sum that it is in impossible."""

    def check_update(self, number: int, member: int, blob: Blob, data: bytes, *, ranged: bool) -> Any:
        """The ciphertexts of a sound update; its range is proven where it is `ranged`."""

    def sum(self, updates: Sequence[Any]) -> Any:
        """Their sum."""

    def release(self, number: int, me: int, aggregate: bytes, total: Any) -> Made:
        """A partial decryption of `total`."""

    def check_share(
        self, number: int, member: int, aggregate: bytes, total: Any, blob: Blob, data: bytes
    ) -> Any:
        """The partial decryption in a sound share."""

    def open(
        self, model: bytes, total: Any, partials: Mapping[int, Any], contributors: Sequence[int]
    ) -> bytes:
        """The digest of the model after this round. Raises `OutOfRange` for an impossible sum."""

    def spoil(self, data: bytes, blob: Blob) -> Made:
        """The same with a proof that does not hold, and announced accordingly."""

    def rename(self, data: bytes, me: int) -> Made:
        """Another member's update in a wrapping of `me`."""


@dataclass(frozen=True)
class _Sum:
    parts: tuple[tuple[int, bytes], ...]
    value: int


class StandIn:
    """Hashes in place of arithmetic: a proof is a message authentication code under the secret of the
    sender, which no other member of the simulation uses."""

    def __init__(self, manifest: Manifest, key: bytes, rng: Random) -> None:
        self._threshold = manifest.thresholds.shares
        self._key = key
        self._rng = rng

    def _proof(self, sender: int, content: bytes) -> bytes:
        return hmac.digest(b"secret %d " % sender + self._key, content, "sha256")

    def _made(self, content: bytes, proof: bytes) -> Made:
        data = content + proof
        digest = hashlib.sha256
        blob = Blob(digest(data).digest(), len(data), digest(content).digest(), proof_digest(proof))
        return data, blob

    def _checked(self, sender: int, blob: Blob, data: bytes, expected: list[Any]) -> list[Any]:
        content, proof = data[:-32], data[-32:]
        if self._made(content, proof)[1] != blob:
            raise Mismatch("the object is not the announced one", member=sender)
        fields = msgpack.unpackb(content)
        if fields[: len(expected)] != expected:
            raise Mismatch("the header is another one", member=sender)
        if not hmac.compare_digest(proof, self._proof(sender, content)):
            raise Malformed("the proof does not hold", member=sender)
        return list(fields[len(expected) :])

    def contribute(self, number: int, me: int, *, ranged: bool, poisoned: bool = False) -> Made:
        nonce, value = self._rng.randbytes(8), POISON if poisoned else self._rng.randrange(LARGEST)
        content = msgpack.packb(["update", number, me, self._key, nonce, value, ranged])
        return self._made(content, self._proof(me, content))

    def check_update(self, number: int, member: int, blob: Blob, data: bytes, *, ranged: bool) -> Any:
        nonce, value, proven = self._checked(member, blob, data, ["update", number, member, self._key])
        if proven != ranged or (ranged and value >= LARGEST):
            raise Malformed("the proof of its range does not hold", member=member)
        return member, nonce, value

    def sum(self, updates: Sequence[Any]) -> _Sum:
        parts = tuple((member, nonce) for member, nonce, _ in updates)
        return _Sum(parts, sum(value for _, _, value in updates))

    def release(self, number: int, me: int, aggregate: bytes, total: _Sum) -> Made:
        content = msgpack.packb(["share", number, me, self._key, aggregate, repr(total)])
        return self._made(content, self._proof(me, content))

    def check_share(
        self, number: int, member: int, aggregate: bytes, total: _Sum, blob: Blob, data: bytes
    ) -> Any:
        self._checked(member, blob, data, ["share", number, member, self._key, aggregate, repr(total)])
        return repr(total)

    def open(
        self, model: bytes, total: _Sum, partials: Mapping[int, Any], contributors: Sequence[int]
    ) -> bytes:
        if len(partials) < self._threshold or set(partials.values()) != {repr(total)}:
            raise Mismatch("these shares open nothing")
        if total.value >= LARGEST * len(contributors):
            raise OutOfRange("a sum", plaintext=0, slot=0, parameter=0)
        return hashlib.sha256(model + b"%d/%d" % (total.value, len(contributors))).digest()

    def spoil(self, data: bytes, blob: Blob) -> Made:
        proof = bytes(byte ^ 1 for byte in data[-32:])
        return self._made(data[:-32], proof)

    def rename(self, data: bytes, me: int) -> Made:
        fields = msgpack.unpackb(data[:-32])
        fields[2] = me
        return self._made(msgpack.packb(fields), data[-32:])


class Real:
    """`protocol.aggregation` under a dealt key of test size; `models` is shared by all of a scenario."""

    def __init__(
        self,
        manifest: Manifest,
        key: JointKey,
        shares: Mapping[int, KeyShare],
        models: dict[bytes, dict[str, Any]],
        rng: Random,
    ) -> None:
        self._made = Aggregation(manifest, key)
        self._shares = shares
        self._models = models
        self._weights = manifest.encoding.weights
        self._specs = manifest.encoding.tensors
        self._rng = rng

    def contribute(self, number: int, me: int, *, ranged: bool, poisoned: bool = False) -> Made:
        numbers = np.random.default_rng(self._rng.getrandbits(64))
        update = {spec.name: numbers.uniform(-spec.clip, spec.clip, spec.shape) for spec in self._specs}
        return self._made.contribute(number, me, update, self._weights[me - 1], ranged)

    def check_update(self, number: int, member: int, blob: Blob, data: bytes, *, ranged: bool) -> list[mpz]:
        return self._made.check_update(number, member, blob, [data], ranged)

    def sum(self, updates: Sequence[Any]) -> list[mpz]:
        return self._made.sum(updates)

    def release(self, number: int, me: int, aggregate: bytes, total: list[mpz]) -> Made:
        return self._made.release(number, self._shares[me], aggregate, total)

    def check_share(
        self, number: int, member: int, aggregate: bytes, total: list[mpz], blob: Blob, data: bytes
    ) -> list[mpz]:
        return self._made.check_share(number, member, aggregate, total, blob, [data])

    def open(
        self, model: bytes, total: list[mpz], partials: Mapping[int, Any], contributors: Sequence[int]
    ) -> bytes:
        zero = {spec.name: np.zeros(spec.shape, np.float32) for spec in self._specs}
        weights = apply(self._models.get(model, zero), self._made.open(partials, contributors))
        digest = hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights))).digest()
        self._models[digest] = weights
        return digest

    def spoil(self, data: bytes, blob: Blob) -> Made:
        damaged = data[:-1] + bytes([data[-1] ^ 1])
        digest = hashlib.sha256(damaged).digest()
        return damaged, Blob(digest, blob.size, blob.root, blob.proof)

    def rename(self, data: bytes, me: int) -> Made:
        header = self._made.header(Kind.UPDATE, 1, me)
        digest = hashlib.sha256(data).digest()
        return data, Blob(digest, len(data), hashlib.sha256(repr(header).encode()).digest(), digest)
