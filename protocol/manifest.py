"""The job manifest: everything that members agree on before they begin. Its digest names the job."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from protocol.crypto.profiles import Profile, profile_named
from protocol.encoding.errors import Excess
from protocol.encoding.layout import MAX_TENSORS, Layout, Tensor
from protocol.encoding.packing import Packing
from protocol.encoding.ranged import RangedCodec
from protocol.encoding.update import UpdateCodec
from protocol.encoding.weighting import PrivateWeights, PublicWeights, Weighting
from protocol.errors import OperatorFault
from protocol.roster import Roster
from protocol.thresholds import Thresholds
from protocol.wire import MAX_KEY_ATTEMPTS, MAX_ROUNDS, Digest, ShortText, Wire

DAY = 24 * 3600
Seconds = Annotated[int, Meta(ge=1, le=30 * DAY)]
Parameter = bool | int | float | str | list[bool | int | float | str]


class Deadlines(Wire, frozen=True):
    """How long members wait for each other, in seconds of their own clocks; those of a round are twice as
    long after one burned round, and four times after more in a row.

    `key` for one attempt at the joint key; `contribute` from a round's start until members stop waiting
    for commits; `attest` from then until they seal what is attested or vote to abandon the round; `open`
    from a round's seal until they vote to begin anew with opening its sum, then twice and four times as long.
    """

    key: Seconds = 1800
    contribute: Seconds = 1800
    attest: Seconds = 600
    open: Seconds = 3600


class TensorSpec(Wire, frozen=True):
    """One tensor that members share, and where its values are clipped."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    shape: Annotated[tuple[int, ...], Meta(max_length=8)]
    clip: float


class Encoding(Wire, frozen=True):
    """How updates become plaintexts.

    `bits` per parameter; `weights` are public, one per member, or empty when members weigh their updates
    privately by a number up to `largest_weight` that only enters the encrypted sum. With `ranged` every
    round's updates prove their ranges; without, those do that follow a sum that was discarded.
    """

    bits: Annotated[int, Meta(ge=2, le=24)]
    tensors: Annotated[tuple[TensorSpec, ...], Meta(min_length=1, max_length=MAX_TENSORS)]
    weights: tuple[Annotated[int, Meta(ge=1, le=2**32 - 1)], ...]
    largest_weight: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    ranged: bool = False

    @property
    def weighting(self) -> Weighting:
        """Public weights where there are any, else private ones."""
        return PublicWeights(self.weights) if self.weights else PrivateWeights(self.largest_weight)

    def codec(self, profile: Profile, members: int) -> UpdateCodec:
        """The codec for plaintexts of `profile` that up to `members` members add up."""
        layout = Layout(tuple(Tensor(spec.name, spec.shape, spec.clip) for spec in self.tensors))
        return UpdateCodec(layout, Packing(profile.modulus_bits, self.bits, members), self.weighting)


class Manifest(Wire, frozen=True):
    """A job. `nonce` tells two otherwise equal jobs apart; `model` is the digest of the initial weights.

    The job ends when `rounds` rounds were opened, or at round number `round_limit` at the latest.
    """

    LIMIT: ClassVar[int] = 1024 * 1024 - 4096
    VALUES: ClassVar[int] = 12 * MAX_TENSORS

    version: Annotated[int, Meta(ge=1, le=1)]
    name: Annotated[str, Meta(min_length=1, max_length=60)]
    nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]
    roster: Roster
    thresholds: Thresholds
    acknowledge_leaks: bool
    key_profile: ShortText
    allow_insecure_key: bool
    key_attempts: Annotated[int, Meta(ge=1, le=MAX_KEY_ATTEMPTS)]
    task: ShortText
    parameters: dict[Annotated[str, Meta(max_length=60)], Parameter]
    model: Digest
    encoding: Encoding
    rounds: Annotated[int, Meta(ge=1, le=MAX_ROUNDS)]
    round_limit: Annotated[int, Meta(ge=1, le=MAX_ROUNDS)]
    deadlines: Deadlines

    @property
    def job(self) -> bytes:
        """The digest (32 bytes) that names this job everywhere."""
        return self.digest()

    @property
    def profile(self) -> Profile:
        """The key profile; `OperatorFault` if unknown, or insecure and not allowed."""
        return profile_named(self.key_profile, allow_insecure=self.allow_insecure_key)

    @property
    def codec(self) -> UpdateCodec:
        """How updates of this job are encoded."""
        return self.encoding.codec(self.profile, self.roster.size)

    @property
    def ranged_codec(self) -> RangedCodec:
        """How they are encoded in ranged rounds."""
        return RangedCodec(self.codec)

    @property
    def learnt(self) -> list[str]:
        """All that this job lets somebody learn beyond sums, in plain words: see `Thresholds.learnt`."""
        weak = [] if self.profile.secure else [f"anybody: the key {self.key_profile} protects nothing"]
        return weak + self.thresholds.learnt(self.roster.size)

    def check(self) -> None:
        """Raise a `StarlingError` unless the parts fit together; every member checks before accepting."""
        size = len(self.to_bytes())
        if size > self.LIMIT:  # in a message it was checked with the message's limit, which is larger
            raise Excess(f"a manifest of {size} bytes is larger than {self.LIMIT}")
        self.thresholds.check(self.roster.size, acknowledged=self.acknowledge_leaks)
        if self.round_limit < self.rounds:
            raise OperatorFault(
                f"{self.rounds} rounds cannot be opened within {self.round_limit} round numbers",
                remedy="make round_limit at least as large as rounds",
            )
        if list(self.parameters) != sorted(self.parameters):
            raise OperatorFault("the task's parameters are not in alphabetical order", remedy="sort them")
        if min(self.codec.plaintexts, self.ranged_codec.plaintexts) < 1:
            raise OperatorFault("the job shares no tensors", remedy="name at least one tensor")
