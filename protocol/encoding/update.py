"""The whole path of an update: named float arrays to plaintexts, and a decrypted sum to averages."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from protocol.encoding import canonical
from protocol.encoding.errors import Misuse, NotFinite
from protocol.encoding.layout import Layout, Tensor
from protocol.encoding.packing import Packing
from protocol.encoding.quantise import Digits, Quantiser
from protocol.encoding.weighting import PublicWeights, Weighting


@dataclass(frozen=True)
class UpdateCodec:
    """Everything that members agree on about the plaintexts of a round.

    The parameters come first, in the layout's order, then the digits of a private weight.
    """

    layout: Layout
    packing: Packing
    weighting: Weighting

    def __post_init__(self) -> None:
        if isinstance(self.weighting, PublicWeights) and len(self.weighting.weights) != self.packing.members:
            raise Misuse("each member needs one public weight")

    @property
    def digits(self) -> int:
        """How many slots an update fills."""
        return self.layout.parameters + self.weighting.slots(self.packing.bits)

    @property
    def plaintexts(self) -> int:
        """How many plaintexts, hence ciphertexts, an update has."""
        return self.packing.count(self.digits)

    def digest(self) -> bytes:
        """SHA-256 over layout, packing and weighting (32 bytes): equal digests decode alike."""
        packing = [self.packing.modulus_bits, self.packing.bits, self.packing.members]
        fields = ["starling-encoding-1", self.layout.digest(), packing, self.weighting.fields()]
        return hashlib.sha256(canonical.dump(fields)).digest()

    def encode(self, update: Mapping[str, npt.NDArray[np.floating]], weight: int) -> list[mpz]:
        """The plaintexts, each in [0, n), of one member's update that counts with `weight`.

        `update` has exactly the layout's tensors. Raises `NotFinite` naming a tensor with NaN or
        infinity, `Misuse` for other tensors, other shapes or a weight that the weighting excludes.
        """
        carried = self.weighting.carry(weight, self.packing.bits)
        return self.packing.pack(np.concatenate([self.quantised(update, weight), carried]))

    def quantised(self, update: Mapping[str, npt.NDArray[np.floating]], weight: int) -> Digits:
        """The digit of every parameter, in order; errors as of `encode`."""
        self.weighting.carry(weight, self.packing.bits)  # refuses a weight that may not be
        if update.keys() != {tensor.name for tensor in self.layout.tensors}:
            raise Misuse("an update has exactly the tensors of its layout")
        alpha = Fraction(weight, self.weighting.largest)
        parts = [self._encode_tensor(tensor, update[tensor.name], alpha) for tensor in self.layout.tensors]
        return np.concatenate(parts)

    def decode(
        self, plaintexts: Sequence[int], contributors: Collection[int]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """The weighted average of the contributors' updates, by tensor, from their decrypted sum.

        `contributors` are distinct roster indices 1…N. Every member that decodes the same sum gets
        the same bits. Raises `OutOfRange` naming the first digit, or the weights, that no honest updates
        add up to, whatever was encrypted; `Malformed` only for a wrong number of plaintexts.
        """
        members = self.distinct(contributors)
        sums = self.packing.unpack(plaintexts, self.digits, len(members))
        parameters, carried = np.split(sums, [self.layout.parameters])
        total = self.weighting.total(members, carried, self.packing.bits)
        if total is None:
            raise self.packing.out_of_range(
                self.layout.parameters, self.digits, "a sum of weights is out of range"
            )
        self._check_bound(parameters, len(members), total)
        return {
            tensor.name: self.quantiser(tensor)
            .decode(parameters[span], len(members), total)
            .reshape(tensor.shape)
            for tensor, span in self.layout.spans()
        }

    def distinct(self, contributors: Collection[int]) -> set[int]:
        """The contributors; `Misuse` unless they are distinct roster indices."""
        members = set(contributors)
        if len(members) != len(contributors) or not members <= set(range(1, self.packing.members + 1)):
            raise Misuse("contributors are distinct roster indices")
        return members

    def quantiser(self, tensor: Tensor) -> Quantiser:
        """What makes digits of the tensor's values."""
        return Quantiser(self.packing.bits, tensor.clip)

    def _encode_tensor(self, tensor: Tensor, values: npt.NDArray[np.floating], alpha: Fraction) -> Digits:
        if values.shape != tensor.shape:
            raise Misuse(f"tensor '{tensor.name}' has shape {values.shape} instead of {tensor.shape}")
        try:
            return self.quantiser(tensor).encode(values, alpha)
        except NotFinite as error:
            raise NotFinite(f"tensor '{tensor.name}': {error.what}", remedy=error.remedy) from error

    def _check_bound(self, sums: Digits, contributors: int, total: Fraction) -> None:
        """Hold the sums to the weights that took part, which is tighter than what a slot can hold."""
        quantiser = self.quantiser(self.layout.tensors[0])
        centred = sums.astype(np.int64) - contributors * quantiser.offset
        beyond = np.abs(centred) > quantiser.bound(contributors, total)
        if beyond.any():
            raise self.packing.out_of_range(int(beyond.argmax()), self.digits)
