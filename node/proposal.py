"""From an operator's job file to the manifest that all members agree on. See config/job.example.toml."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from node.learning.tensors import SharedTensor
from node.peers import Card
from protocol.crypto.threshold import MAX_MEMBERS, MIN_MEMBERS
from protocol.encoding.layout import MAX_CLIP, MIN_CLIP
from protocol.encoding.weighting import MAX_WEIGHT
from protocol.errors import OperatorFault, StarlingError
from protocol.manifest import Deadlines, Encoding, Manifest, Parameter, TensorSpec
from protocol.roster import Roster
from protocol.thresholds import Thresholds
from protocol.wire import MAX_KEY_ATTEMPTS, MAX_ROUNDS

Name = Annotated[str, Meta(min_length=1, max_length=60)]
Weight = Annotated[int, Meta(ge=1, le=MAX_WEIGHT)]
Clip = Annotated[float, Meta(ge=MIN_CLIP, le=MAX_CLIP)]
Seconds = Annotated[int, Meta(ge=1, le=30 * 24 * 3600)]

DEFAULT_CLIP = 1.0
"""Where neither the job nor the task says: weights of ordinary networks change by less in a round."""

NONCE_BYTES = 16


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all tables: unknown keys are errors."""


class Privacy(Section, frozen=True):
    """Thresholds: what is left out follows from the number of members (see `Thresholds.default`)."""

    colluders: int | None = None
    shares: int | None = None
    quorum: int | None = None
    acknowledge_leaks: bool = False


class Key(Section, frozen=True):
    """The joint key."""

    profile: str = "fast"
    allow_insecure: bool = False
    attempts: Annotated[int, Meta(ge=1, le=MAX_KEY_ATTEMPTS)] = 3


class Updates(Section, frozen=True):
    """How updates are encoded and averaged.

    `weights`: "equal", one per member, or "samples", which stay private and count up to `largest_weight`.
    """

    bits: Annotated[int, Meta(ge=2, le=24)] = 16
    weights: Literal["equal", "samples"] | dict[Name, Weight] = "equal"
    largest_weight: Weight | None = None
    clip: Clip | None = None
    clips: dict[str, Clip] = {}
    ranged: bool = False


class Waiting(Section, frozen=True):
    """Deadlines in seconds; see `protocol.manifest.Deadlines`."""

    key_seconds: Seconds = Deadlines().key
    contribute_seconds: Seconds = Deadlines().contribute
    attest_seconds: Seconds = Deadlines().attest
    open_seconds: Seconds = Deadlines().open


class Spec(Section, frozen=True):
    """A job file."""

    name: Name
    task: Name
    rounds: Annotated[int, Meta(ge=1, le=MAX_ROUNDS)]
    members: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_MEMBERS)] = ()
    round_limit: Annotated[int, Meta(ge=1, le=MAX_ROUNDS)] | None = None
    parameters: dict[str, Parameter] = {}
    privacy: Privacy = Privacy()
    key: Key = Key()
    updates: Updates = Updates()
    deadlines: Waiting = Waiting()


def parse_spec(spec: Mapping[str, object]) -> Spec:
    """The decoded TOML as a `Spec`; `OperatorFault` naming the key at fault."""
    try:
        return msgspec.convert(spec, Spec)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.strip("`.").lstrip(".")
        raise OperatorFault(
            f"job file: {f'{key}: ' if key else ''}{what}",
            remedy="config/job.example.toml documents every key",
        ) from None


def build_manifest(
    spec: Mapping[str, object],
    cards: Sequence[Card],
    shared: Sequence[SharedTensor],
    model_digest: bytes,
    parameters: Mapping[str, Any],
) -> Manifest:
    """The manifest of a new job, with a fresh nonce, checked.

    `cards` are all members' in roster order, this node's included; `shared` and `parameters` (all in
    force) are the task's description, `model_digest` (32 bytes) names the initial weights.
    Raises `OperatorFault` naming the job file's key at fault, and the remedy.
    """
    wanted = parse_spec(spec)
    if not MIN_MEMBERS <= len(cards) <= MAX_MEMBERS:
        raise OperatorFault(
            f"members: a job has {MIN_MEMBERS} to {MAX_MEMBERS} members, this one {len(cards)}",
            remedy="add the others' cards with `starling peers add`",
        )
    round_limit = wanted.round_limit or min(MAX_ROUNDS, 2 * wanted.rounds + 4)
    manifest = Manifest(
        version=1,
        name=wanted.name,
        nonce=secrets.token_bytes(NONCE_BYTES),
        roster=Roster(tuple(card.member() for card in cards)),
        thresholds=_thresholds(wanted.privacy, len(cards)),
        acknowledge_leaks=wanted.privacy.acknowledge_leaks,
        key_profile=wanted.key.profile,
        allow_insecure_key=wanted.key.allow_insecure,
        key_attempts=wanted.key.attempts,
        task=wanted.task,
        parameters=dict(sorted(parameters.items())),
        model=model_digest,
        encoding=_encoding(wanted.updates, cards, shared),
        rounds=wanted.rounds,
        round_limit=round_limit,
        deadlines=Deadlines(
            key=wanted.deadlines.key_seconds,
            contribute=wanted.deadlines.contribute_seconds,
            attest=wanted.deadlines.attest_seconds,
            open=wanted.deadlines.open_seconds,
        ),
    )
    return _checked(manifest)


def _thresholds(privacy: Privacy, members: int) -> Thresholds:
    default = Thresholds.default(members)

    def chosen(name: str, given: int | None) -> int:
        value: int = getattr(default, name) if given is None else given
        if not 0 <= value <= members:
            raise OperatorFault(
                f"privacy.{name}: {value} does not fit {members} members",
                remedy=f"leave it out for {getattr(default, name)}",
            )
        return value

    return Thresholds(
        chosen("colluders", privacy.colluders),
        chosen("shares", privacy.shares),
        chosen("quorum", privacy.quorum),
    )


def _encoding(updates: Updates, cards: Sequence[Card], shared: Sequence[SharedTensor]) -> Encoding:
    unknown = updates.clips.keys() - {tensor.name for tensor in shared}
    if unknown:
        raise OperatorFault(
            f"updates.clips: the task shares no tensor {min(unknown)!r}",
            remedy="name one of: " + ", ".join(tensor.name for tensor in shared[:20]),
        )
    tensors = tuple(TensorSpec(tensor.name, tensor.shape, _clip(updates, tensor)) for tensor in shared)
    if updates.weights == "samples":
        if updates.largest_weight is None:
            raise OperatorFault(
                'updates.largest_weight: needed where weights = "samples"',
                remedy="name about as many samples as the largest member has: more costs precision",
            )
        return Encoding(updates.bits, tensors, (), updates.largest_weight, updates.ranged)
    if updates.largest_weight is not None:
        raise OperatorFault(
            'updates.largest_weight: only means something where weights = "samples"', remedy="leave it out"
        )
    weights = _public_weights(updates.weights, cards)
    return Encoding(updates.bits, tensors, weights, ranged=updates.ranged)


def _clip(updates: Updates, tensor: SharedTensor) -> float:
    """The job's own choice for the tensor, else for all, else the task's hint."""
    return updates.clips.get(tensor.name, updates.clip or tensor.clip or DEFAULT_CLIP)


def _public_weights(weights: str | Mapping[str, int], cards: Sequence[Card]) -> tuple[int, ...]:
    if isinstance(weights, str):
        return (1,) * len(cards)
    names = {card.name for card in cards}
    if weights.keys() != names:
        raise OperatorFault(
            f"updates.weights: they name {sorted(weights)}, the members are {sorted(names)}",
            remedy='give every member a weight, or choose "equal" or "samples"',
        )
    return tuple(weights[card.name] for card in cards)


def _checked(manifest: Manifest) -> Manifest:
    try:
        manifest.check()
        Manifest.from_bytes(manifest.to_bytes())
    except OperatorFault:
        raise
    except StarlingError as error:
        remedy = error.remedy or "mend the job file"
        raise OperatorFault(f"this job cannot be: {error.what}", remedy=remedy) from error
    return manifest
