"""What the crypto worker does: requests about one job, as plain maps, answered one at a time.

Files carry everything large but the member's own update, which must not lie anywhere in the clear: blobs
and models go in and out by path. What a round needs again (ciphertexts that were verified, the sum) stays in
memory until the round is forgotten, and is made again from the files if the worker was restarted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from gmpy2 import mpz

from node.files import write_whole
from node.weights import decode_weights, encode_weights, weights_digest
from protocol.aggregation import Aggregation, apply
from protocol.crypto.jointkey.choose import party_for
from protocol.crypto.jointkey.party import Finished, Incoming, Outgoing, Party, Progress, Setup
from protocol.crypto.sigma.schnorr import JobSecret
from protocol.encoding.errors import OutOfRange
from protocol.errors import MemberFault, OperatorFault, OwnFault, StarlingError
from protocol.keyring import StoredShare
from protocol.manifest import Manifest
from protocol.records import Blob
from protocol.shares import SealedShares

Message = dict[str, Any]
Report = Callable[[str, int, int], None]
Checked = TypeVar("Checked")

_PIECE = 256 * 1024


class ObjectDamaged(OperatorFault):
    """A file is not the object that was stored in it; it is removed, to be fetched again."""


class Desk:
    """Everything about one job that takes long. `report(stage, done, total)` tells progress."""

    def __init__(self, manifest: Manifest, me: int, secret: JobSecret, report: Report) -> None:
        """`secret` is this member's job key, with which it opens the others' shares."""
        self._manifest = manifest
        self._me = me
        self._secret = secret
        self._report = report
        self._party: Party | None = None
        self._stored: StoredShare | None = None
        self._aggregation: Aggregation | None = None
        self._sealing: SealedShares | None = None
        self._updates: dict[tuple[int, int, Blob, bool], list[mpz]] = {}
        self._totals: dict[int, list[mpz]] = {}
        self._partials: dict[tuple[int, int, bytes, Blob], list[mpz]] = {}

    def answer(self, request: Message) -> Message:
        """The result of one request. `StarlingError` for what cannot be done."""
        return getattr(self, f"_do_{_WORDS[request['do']]}")(request)  # type: ignore[no-any-return]

    def _do_make_key(self, request: Message) -> Message:
        setup = Setup(
            job=self._manifest.job,
            roster=self._manifest.roster.digest(),
            members=self._manifest.roster.size,
            threshold=self._manifest.thresholds.shares,
            profile=self._manifest.profile,
            attempt=request["attempt"],
        )
        self._party = party_for(setup, self._me, self._on_progress)
        return self._step(self._party.start)

    def _do_advance_key(self, request: Message) -> Message:
        party = self._party
        if party is None:
            raise OwnFault("no key generation is under way")
        received = {
            int(member): Incoming(broadcast, private) for member, broadcast, private in request["received"]
        }
        return self._step(lambda: party.advance(received))

    def _step(self, step: Callable[[], Outgoing | Finished]) -> Message:
        try:
            outcome = step()
        except StarlingError as failure:
            self._party = None
            return {"failed": failure.what, "accused": getattr(failure, "member", None) or 0}
        if isinstance(outcome, Outgoing):
            return {
                "broadcast": outcome.broadcast,
                "private": list(outcome.private.items()),
                "longest": self._party.longest if self._party is not None else (0, 0),
            }
        self._party = None
        return {
            "key": outcome.key.digest,
            "secret": StoredShare.of(outcome.key, outcome.share).to_bytes(),
        }

    def _on_progress(self, progress: Progress) -> None:
        expected = max(progress.expected, 1)
        self._report(f"key: {progress.stage}", min(progress.tried, expected), expected)

    def _do_drop_key(self, request: Message) -> Message:
        self._party = None
        return {}

    def _do_use_key(self, request: Message) -> Message:
        self._stored = StoredShare.from_bytes(request["secret"])
        self._aggregation = Aggregation(self._manifest, self._stored.key.key())
        digest = self._aggregation.key.digest
        self._sealing = SealedShares(self._manifest, digest, self._me, self._secret)
        return {"key": digest}

    def _do_contribute(self, request: Message) -> Message:
        specs = self._manifest.encoding.tensors
        update = decode_weights(specs, request["update"])
        number, ranged = request["round"], request["ranged"]
        data, blob = self._ready().contribute(number, self._me, update, request["weight"], ranged)
        write_whole(Path(request["out"]), data)
        self._check(number, self._me, blob, request["out"], ranged)
        return _blob_to(blob)

    def _do_check_update(self, request: Message) -> Message:
        number, member, blob = request["round"], request["member"], blob_from(request["blob"])
        return _refusal(lambda: self._check(number, member, blob, request["path"], request["ranged"]))

    def _check(self, number: int, member: int, blob: Blob, path: str, ranged: bool) -> list[mpz]:
        known = self._updates.get((number, member, blob, ranged))
        if known is None:
            check = self._ready().check_update
            known = _judged(blob, path, lambda data: check(number, member, blob, data, ranged))
            self._updates[number, member, blob, ranged] = known
        return known

    def _do_sum(self, request: Message) -> Message:
        self._total(request)
        return {}

    def _total(self, request: Message) -> list[mpz]:
        number, ranged = request["round"], request["ranged"]
        if number not in self._totals:
            rows = [
                self._check(number, member, blob_from(blob), path, ranged)
                for member, blob, path in request["sealed"]
            ]
            self._totals[number] = self._ready().sum(rows)
        return self._totals[number]

    def _do_release(self, request: Message) -> Message:
        total, ranged = self._total(request), request["ranged"]
        if self._stored is None or self._sealing is None:
            raise OwnFault("there is no key share to decrypt with")
        share, number = self._stored.share(), request["round"]
        data, blob = self._ready().release(number, share, request["aggregate"], total, ranged)
        data, blob = self._sealing.seal(number, data, blob)
        write_whole(Path(request["out"]), data)
        self._check_share(request, self._me, blob, request["out"])
        return _blob_to(blob)

    def _do_check_share(self, request: Message) -> Message:
        self._total(request)
        member, blob = request["member"], blob_from(request["blob"])
        return _refusal(lambda: self._check_share(request, member, blob, request["path"]))

    def _check_share(self, request: Message, member: int, blob: Blob, path: str) -> list[mpz]:
        number, aggregate, ranged = request["round"], request["aggregate"], request["ranged"]
        known = self._partials.get((number, member, aggregate, blob))
        if known is None:
            total, check, sealing = self._total(request), self._ready().check_share, self._sealing
            if sealing is None:
                raise OwnFault("the crypto worker has no key yet")

            def opened(data: Iterator[bytes]) -> list[mpz]:
                inside, clear = sealing.unseal(number, member, blob, data)
                return check(number, member, aggregate, total, clear, [inside], ranged)

            known = _judged(blob, path, opened)
            self._partials[number, member, aggregate, blob] = known
        return known

    def _do_open(self, request: Message) -> Message:
        specs = self._manifest.encoding.tensors
        partials = {
            member: self._check_share(request, member, blob_from(blob), path)
            for member, blob, path in request["shares"]
        }
        before = Path(request["model"]).read_bytes()
        try:
            average = self._ready().open(partials, request["contributors"], request["ranged"])
        except OutOfRange as error:
            return {"model": weights_digest(before), "discarded": str(error)}
        model = decode_weights(specs, before)
        after = encode_weights(specs, apply(model, average))
        write_whole(Path(request["out"]), after)
        norm = float(np.sqrt(sum(float(np.square(part).sum()) for part in average.values())))
        return {"model": weights_digest(after), "discarded": "", "norm": norm}

    def _do_forget(self, request: Message) -> Message:
        number = request["round"]
        self._totals.pop(number, None)
        self._updates = {key: kept for key, kept in self._updates.items() if key[0] != number}
        self._partials = {key: kept for key, kept in self._partials.items() if key[0] != number}
        return {}

    def _ready(self) -> Aggregation:
        if self._aggregation is None:
            raise OwnFault("the crypto worker has no key yet")
        return self._aggregation


_WORDS = {
    word: word.replace("-", "_")
    for word in (
        "make-key",
        "advance-key",
        "drop-key",
        "use-key",
        "contribute",
        "check-update",
        "sum",
        "release",
        "check-share",
        "open",
        "forget",
    )
}
"""The requests there are: nothing else can be asked for."""


def _refusal(check: Callable[[], object]) -> Message:
    try:
        check()
    except MemberFault as fault:
        return {"refusal": str(fault)[:200]}
    return {"refusal": ""}


def _judged(blob: Blob, path: str, check: Callable[[Iterator[bytes]], Checked]) -> Checked:
    """What `check` makes of the file's bytes. It blames a member for the bytes that it announced only:
    for others, `ObjectDamaged`."""
    try:
        return check(_pieces(path))
    except MemberFault as fault:
        if _digest(path) == blob.object:
            raise
        Path(path).unlink()
        raise ObjectDamaged(
            f"the stored object {blob.object.hex()} was damaged", remedy="it is fetched again; check the disk"
        ) from fault


def _digest(path: str) -> bytes:
    whole = hashlib.sha256()
    for piece in _pieces(path):
        whole.update(piece)
    return whole.digest()


def _blob_to(blob: Blob) -> Message:
    return dict(msgspec.to_builtins(blob, builtin_types=(bytes,)))


def blob_from(fields: Mapping[str, Any]) -> Blob:
    """A blob as it came out of `msgspec.to_builtins`."""
    return msgspec.convert(fields, Blob, builtin_types=(bytes,))


def _pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece
