"""A member's work in a round: training, checking, summing, decrypting. Each method carries out one effect.

Work reports back with an input. What cannot be had now is waited for; what is false is refused with the
reason, and only the very bytes that a member announced are ever false; what would come out the same again is
not tried again. A fault of this node in its own contribution costs that contribution, never the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio

from node.crypto.desk import blob_from
from node.crypto.service import CryptoWorker
from node.engine.objects import Objects
from node.learning.learner import Learner
from node.learning.task import Assignment, Evaluation, Update
from node.weights import WeightStore, encode_weights, weights_size
from protocol import effects
from protocol.aggregation import largest_blob
from protocol.encoding.header import Kind
from protocol.errors import OperatorFault, StarlingError
from protocol.inputs import (
    CommitChecked,
    Contributed,
    ContributionFailed,
    Input,
    ModelFetched,
    Opened,
    ShareChecked,
    ShareStored,
    Summed,
)
from protocol.manifest import Manifest
from protocol.records import Blob
from protocol.shares import largest_share

RETRY_SECONDS = 5.0

_TOO_LARGE = "the announced object is larger than any of this job's"

log = structlog.get_logger()

Tell = Callable[[str, dict[str, Any]], None]


class RoundWork:
    """What one member does for one job's rounds. `give` feeds the core; `tell` reports to people."""

    def __init__(
        self,
        manifest: Manifest,
        me: int,
        objects: Objects,
        weights: WeightStore,
        learner: Learner,
        crypto: CryptoWorker,
        seed: bytes,
        give: Callable[[Input], None],
        tell: Tell,
    ) -> None:
        self._manifest = manifest
        self._me = me
        self._objects = objects
        self._weights = weights
        self._learner = learner
        self._crypto = crypto
        self._seed = seed
        self._give = give
        self._tell = tell
        self._sealed: dict[int, dict[str, Any]] = {}

    async def contribute(self, effect: effects.Contribute) -> None:
        """Train, encode, encrypt, prove, store. In the clear the update goes through memory and pipes alone,
        never into a file."""
        try:
            blob = await self._contribution(effect)
        except (StarlingError, OSError) as error:  # OSError: the disk is full, or gone
            log.error("ContributionFailed", round=effect.round, reason=str(error))
            self._give(ContributionFailed(effect.round, str(error)))
        else:
            self._give(Contributed(effect.round, blob))

    async def _contribution(self, effect: effects.Contribute) -> Blob:
        manifest, specs = self._manifest, self._manifest.encoding.tensors
        weights = await trio.to_thread.run_sync(self._weights.get, effect.model)
        assignment = Assignment(effect.round, manifest.rounds, self._seed_of(effect.round))
        ordered = tuple(weights[spec.name] for spec in specs)
        update = await self._learner.train(assignment, ordered)
        self._tell("Trained", {"round": effect.round, "samples": update.samples, **_plain(update.metrics)})
        named = {spec.name: delta for spec, delta in zip(specs, update.delta, strict=True)}
        target = self._objects.path(hashlib.sha256(b"update %d" % effect.round).digest()).with_suffix(
            ".encrypted"
        )
        request = {
            "do": "contribute",
            "round": effect.round,
            "update": await trio.to_thread.run_sync(encode_weights, specs, named),
            "weight": self._weight(update),
            "out": str(target),
            "ranged": effect.ranged,
        }
        blob = blob_from(await self._crypto.ask(request))
        target.replace(self._objects.path(blob.object))
        self._tell("Encrypted", {"round": effect.round, "bytes": blob.size})
        await self._objects.publish(effect.round, blob)
        return blob

    def _weight(self, update: Update) -> int:
        public = self._manifest.encoding.weights
        return public[self._me - 1] if public else min(update.samples, self._manifest.encoding.largest_weight)

    def _seed_of(self, number: int) -> int:
        return int.from_bytes(hashlib.sha256(self._seed + number.to_bytes(8, "big")).digest()[:4], "big")

    async def check_commit(self, effect: effects.CheckCommit) -> None:
        """Fetch and verify another member's update."""
        kind = Kind.RANGED if effect.ranged else Kind.UPDATE
        if effect.blob.size > largest_blob(self._manifest, kind, effect.ranged):
            self._give(CommitChecked(effect.round, effect.member, _TOO_LARGE))
            return
        path = await self._objects.fetch(effect.round, effect.member, effect.blob)
        request = {
            "do": "check-update",
            "round": effect.round,
            "member": effect.member,
            "blob": _fields(effect.blob),
            "path": str(path),
            "ranged": effect.ranged,
        }
        answer = await self._asked(request, [(effect.member, effect.blob)])
        self._give(CommitChecked(effect.round, effect.member, answer["refusal"]))

    async def sum_sealed(self, effect: effects.SumSealed) -> None:
        """Get hold of all sealed updates and add them up."""
        paths: dict[int, Path] = {}

        async def fetch(member: int, blob: Blob) -> None:
            paths[member] = await self._objects.fetch(effect.round, member, blob)

        async with trio.open_nursery() as nursery:
            for member, blob in effect.contributions:
                nursery.start_soon(fetch, member, blob)
        sealed = [[member, _fields(blob), str(paths[member])] for member, blob in effect.contributions]
        self._sealed[effect.round] = {"sealed": sealed, "ranged": effect.ranged}
        request = {"do": "sum", "round": effect.round, **self._sealed[effect.round]}
        await self._asked(request, effect.contributions)
        self._give(Summed(effect.round))

    async def release_share(self, effect: effects.ReleaseShare) -> None:
        """Partially decrypt the sum, prove it, store it."""
        target = self._objects.path(effect.aggregate).with_suffix(".share")
        request = {
            "do": "release",
            "round": effect.round,
            "aggregate": effect.aggregate,
            **self._sealed[effect.round],
            "out": str(target),
        }
        blob = blob_from(await self._asked(request, self._contributions(effect.round)))
        target.replace(self._objects.path(blob.object))
        await self._objects.publish(effect.round, blob)
        self._give(ShareStored(effect.round, blob))

    async def check_share(self, effect: effects.CheckShare) -> None:
        """Fetch and verify another member's partial decryptions."""
        ranged = self._sealed[effect.round]["ranged"]
        if effect.blob.size > largest_share(self._manifest, ranged):
            self._give(ShareChecked(effect.round, effect.member, _TOO_LARGE))
            return
        path = await self._objects.fetch(effect.round, effect.member, effect.blob)
        request = {
            "do": "check-share",
            "round": effect.round,
            "member": effect.member,
            "aggregate": effect.aggregate,
            **self._sealed[effect.round],
            "blob": _fields(effect.blob),
            "path": str(path),
        }
        needed = [*self._contributions(effect.round), (effect.member, effect.blob)]
        answer = await self._asked(request, needed)
        self._give(ShareChecked(effect.round, effect.member, answer["refusal"]))

    async def open_sum(self, effect: effects.OpenSum) -> None:
        """Combine shares, decode, average, apply; store the new model."""
        target = self._objects.path(effect.aggregate).with_suffix(".model")
        shares = [
            [member, _fields(blob), str(await self._objects.fetch(effect.round, member, blob))]
            for member, blob in effect.shares
        ]
        request = {
            "do": "open",
            "round": effect.round,
            "aggregate": effect.aggregate,
            **self._sealed[effect.round],
            "shares": shares,
            "contributors": list(effect.contributors),
            "model": str(self._weights.path(effect.model)),
            "out": str(target),
        }
        answer = await self._asked(request, [*self._contributions(effect.round), *effect.shares])
        if not answer["discarded"]:
            target.replace(self._weights.path(answer["model"]))
        self._give(Opened(effect.round, answer["model"], answer["discarded"]))

    async def fetch_model(self, effect: effects.FetchModel) -> None:
        """Get a model that others computed."""
        size = weights_size(self._manifest.encoding.tensors)
        await self._objects.fetch_model(effect.model, size)
        self._give(ModelFetched(effect.model))

    async def evaluate(self, number: int, model: bytes) -> Evaluation:
        """How good the model after round `number` is on this member's evaluation data."""
        weights = await trio.to_thread.run_sync(self._weights.get, model)
        ordered = tuple(weights[spec.name] for spec in self._manifest.encoding.tensors)
        evaluation = await self._learner.evaluate(ordered)
        self._tell(
            "Evaluated", {"round": number, "samples": evaluation.samples, **_plain(evaluation.metrics)}
        )
        return evaluation

    async def forget(self, number: int) -> None:
        """The round is over."""
        self._sealed.pop(number, None)
        await self._asked({"do": "forget", "round": number}, [])

    def _contributions(self, number: int) -> list[tuple[int, Blob]]:
        return [(member, blob_from(fields)) for member, fields, _ in self._sealed[number]["sealed"]]

    async def _asked(self, request: dict[str, Any], objects: Sequence[tuple[int, Blob]]) -> dict[str, Any]:
        """The crypto worker's answer, with these objects at hand; while this machine is at fault, log and
        try again. Any other failure would repeat itself: then this waits until the round is cancelled."""
        while True:
            for member, blob in objects:
                await self._objects.fetch(request["round"], member, blob)
            try:
                return await self._crypto.ask(request)
            except OperatorFault as error:
                log.error("CryptoRequestFailed", request=request["do"], reason=str(error))
            except StarlingError as error:
                log.error("CryptoRequestRefused", request=request["do"], reason=str(error))
                await trio.sleep_forever()
            await trio.sleep(RETRY_SECONDS)


def _fields(blob: Blob) -> dict[str, Any]:
    return dict(msgspec.to_builtins(blob, builtin_types=(bytes,)))


def _plain(metrics: Any) -> dict[str, float]:  # noqa: ANN401
    return {name: float(value) for name, value in metrics.items()}
