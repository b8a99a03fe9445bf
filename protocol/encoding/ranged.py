"""Updates whose range is proved: wider slots, so that a sum of accepted ones always decodes.

A range proof leaves open how a digit compares with an honest one up to a factor (`rows.reach`). Slots of a
ranged round hold the sums of N digits of that size: 26 to 28 bits instead of 18 for N = 3 and 16-bit
parameters. A private weight lies in a plaintext of its own, after the others, and is proved exactly.

So nothing that N accepted contributions add up to is out of range: it is *applicable by construction*. That
a digit may be larger than honest ones gains a cheater nothing beyond its neighbours' clips: averages are
cut to the clip, which changes none of honest contributions beyond the noise of their rounding.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from protocol.crypto.ranges import Shape
from protocol.crypto.ranges.rows import Values, reach
from protocol.encoding import canonical
from protocol.encoding.errors import Malformed, Misuse, OutOfRange
from protocol.encoding.packing import Packing
from protocol.encoding.update import UpdateCodec
from protocol.encoding.weighting import PublicWeights


@dataclass(frozen=True)
class WidePacking(Packing):
    """Slots for sums of digits from 0 to 2·`reach`, of which `reach` stands for zero."""

    reach: int = 1

    @property
    def largest(self) -> int:
        return 2 * self.reach

    @property
    def width(self) -> int:
        return (self.members * self.largest).bit_length()


@dataclass(frozen=True)
class RangedCodec:
    """The plaintexts of a ranged round, for the same updates as `plain`'s."""

    plain: UpdateCodec

    @cached_property
    def packing(self) -> WidePacking:
        """The narrowest slots that hold what a proof about so many plaintexts leaves open.

        `Misuse` where a modulus is too short for one.
        """
        old, parameters = self.plain.packing, self.plain.layout.parameters
        for width in itertools.count(old.width):
            slots = (old.modulus_bits - 1) // width
            if slots < 1:
                raise Misuse(f"a modulus of {old.modulus_bits} bits has no room for a ranged slot")
            proved = reach(-(-parameters // slots), self._peak(self.plain.weighting.largest))
            packing = WidePacking(old.modulus_bits, old.bits, old.members, proved)
            if packing.width <= width:
                return packing
        raise AssertionError("unreachable")

    @property
    def plaintexts(self) -> int:
        """How many plaintexts, hence ciphertexts, an update has."""
        return self._grid[0] + self._private

    def digest(self) -> bytes:
        """SHA-256 over everything that decides how sums decode (32 bytes)."""
        fields = ["starling-ranged-encoding-1", self.plain.digest(), self.packing.reach, self.packing.width]
        return hashlib.sha256(canonical.dump(fields)).digest()

    def shape(self, member: int) -> Shape:
        """What `member` (a roster index) proves of its plaintexts."""
        weights = self.plain.weighting
        weight = weights.weights[member - 1] if isinstance(weights, PublicWeights) else weights.largest
        count, slots = self._grid
        return Shape(
            count,
            slots,
            self.packing.width,
            self.packing.reach,
            self._peak(weight),
            weights.largest if self._private else 0,
        )

    def digits(self, update: Mapping[str, npt.NDArray[np.floating]], weight: int) -> Values:
        """The signed digits, plaintexts by slots, of one member's update; errors as of `UpdateCodec`."""
        quantised = self.plain.quantised(update, weight).astype(np.int64)
        grid = np.zeros(self._grid, np.int64)
        grid.reshape(-1)[: quantised.size] = quantised - (1 << self.packing.bits - 1)
        return grid

    def encode(self, digits: Values, weight: int) -> list[mpz]:
        """The plaintexts, each in [0, n), of `digits`, and of a private weight."""
        shifted = (digits.reshape(-1) + self.packing.reach).astype(np.uint64)
        return self.packing.pack(shifted) + ([mpz(weight)] if self._private else [])

    def decode(
        self, plaintexts: Sequence[int], contributors: Collection[int]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """The weighted average of the contributors' updates, by tensor, from their decrypted sum.

        Never raises `OutOfRange` for a sum of contributions whose proofs hold; for any other it may.
        """
        members = self.plain.distinct(contributors)
        if len(plaintexts) != self.plaintexts:
            raise Malformed(f"{len(plaintexts)} plaintexts instead of {self.plaintexts}")
        count, slots = self._grid
        sums = self.packing.unpack(plaintexts[:count], count * slots, len(members))
        centred = sums.astype(np.int64) - len(members) * self.packing.reach
        total = self._total(plaintexts, members)
        averages = {}
        for tensor, span in self.plain.layout.spans():
            average = self.plain.quantiser(tensor).average(centred[span], total)
            cut = np.clip(average, -tensor.clip, tensor.clip)
            averages[tensor.name] = cut.astype(np.float32).reshape(tensor.shape)
        return averages

    def _total(self, plaintexts: Sequence[int], members: set[int]) -> Fraction:
        weights = self.plain.weighting
        if isinstance(weights, PublicWeights):
            return weights.total(members, np.empty(0, np.uint64), self.packing.bits)
        place, total = len(plaintexts) - 1, int(plaintexts[-1])
        if not len(members) <= total <= len(members) * weights.largest:
            raise OutOfRange("a sum of weights is out of range", plaintext=place, slot=0, parameter=None)
        return Fraction(total, weights.largest)

    @property
    def _private(self) -> bool:
        return not isinstance(self.plain.weighting, PublicWeights)

    @property
    def _grid(self) -> tuple[int, int]:
        """Plaintexts by slots that hold the parameters."""
        return self.packing.count(self.plain.layout.parameters), self.packing.slots

    def _peak(self, weight: int) -> int:
        """The largest |v| of an honest digit of a contribution with this weight."""
        quantiser = self.plain.quantiser(self.plain.layout.tensors[0])
        return quantiser.bound(1, Fraction(weight, self.plain.weighting.largest))
