"""Floats to small unsigned digits whose sums average without bias, and back.

A value is clipped to [−C, C], multiplied by its contributor's weight α ∈ (0, 1], divided by a step s
that all contributors share, and rounded at random to one of its two neighbours so that its
expectation is exact (Gupta et al., "Deep learning with limited numerical precision", ICML 2015). The
integer v goes out in offset binary, u = v + 2^(b−1). With s = C/(2^(b−1) − 1) the grid is symmetric
and holds zero, so parameters that do not move are carried without noise.

Rounding N contributions of weight 1 puts a variance of at most s²/(4N) on each averaged parameter.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from protocol.encoding.errors import Misuse, NotFinite
from protocol.encoding.layout import MAX_CLIP, MIN_CLIP

MIN_BITS = 2  # the smallest width with both signs and zero
MAX_BITS = 24  # a float32 has no more: further bits would carry nothing

Digits = npt.NDArray[np.uint64]

_BLOCK = 2**20  # thresholds drawn at a time: 4 MiB of randomness


def check_bits(bits: int) -> None:
    """Raise `Misuse` unless `bits` is a digit width that quantisation supports."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise Misuse(f"a quantised digit has {MIN_BITS} to {MAX_BITS} bits, not {bits}")


@dataclass(frozen=True)
class Quantiser:
    """Digits of `bits` bits for values in [−clip, clip]."""

    bits: int
    clip: float

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not MIN_CLIP <= self.clip <= MAX_CLIP:
            raise Misuse("a clip is a positive number of ordinary size")

    @property
    def peak(self) -> int:
        """The largest |v|: 2^(bits−1) − 1."""
        return self.offset - 1

    @property
    def offset(self) -> int:
        """What makes v unsigned: 2^(bits−1)."""
        return 1 << (self.bits - 1)

    @property
    def step(self) -> float:
        """The distance s of neighbouring values."""
        return self.clip / self.peak

    def encode(self, values: npt.ArrayLike, alpha: Fraction = Fraction(1)) -> Digits:
        """One digit in [1, 2^bits − 1] per value, flattened row-major, of alpha · clipped value.

        The bias is below 2^-32 steps. Raises `NotFinite` for NaN or infinity, and `Misuse` for an
        alpha outside (0, 1] or values that are not real numbers.
        """
        if not 0 < alpha <= 1:
            raise Misuse("a weight is above 0 and at most the largest weight")
        flat = np.asarray(values).reshape(-1)
        if flat.dtype.kind not in "fiu":
            raise Misuse(f"an update holds real numbers, not {flat.dtype}")
        finite = np.isfinite(flat)
        if not finite.all():
            raise NotFinite(
                f"{flat.size - int(finite.sum())} of {flat.size} values are not finite",
                remedy="training diverged: lower the learning rate or clip gradients",
            )
        reach = float(self.peak * alpha)
        scaled = np.clip(flat.astype(np.float64), -self.clip, self.clip) * (reach / self.clip)
        np.clip(scaled, -reach, reach, out=scaled)  # the product may round past the end of the range
        return _round_at_random(scaled) + np.uint64(self.offset)

    def bound(self, contributors: int, total: Fraction) -> int:
        """The largest |Σv| that `contributors` honest digits with weights Σα = `total` reach."""
        return int(self.peak * total) + contributors

    def decode(self, sums: Digits, contributors: int, total: Fraction) -> npt.NDArray[np.float32]:
        """The weighted averages Σαx / Σα from sums of `contributors` digits with Σα = `total`.

        The same sums give the same bits on every machine: one exact subtraction, one IEEE product,
        one rounding to float32.
        """
        if contributors < 1 or total <= 0:
            raise Misuse("an average is over at least one contribution")
        return self.average(sums.astype(np.int64) - contributors * self.offset, total).astype(np.float32)

    def average(self, centred: npt.NDArray[np.int64], total: Fraction) -> npt.NDArray[np.float64]:
        """The averages from the sums Σv, before they are rounded to float32."""
        return centred.astype(np.float64) * (self.clip / float(self.peak * total))


def _round_at_random(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Each value rounded up with the probability of its fraction, down otherwise (modulo 2^64)."""
    rounded = np.empty(values.shape, np.int64)
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        below = np.floor(block)
        thresholds = np.frombuffer(secrets.token_bytes(4 * block.size), "<u4")
        rounded[start : start + _BLOCK] = below + ((block - below) * 2.0**32 > thresholds)
    return rounded.view(np.uint64)
