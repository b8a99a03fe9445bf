"""Matrices and their thin factors in a common basis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from node.learning import initial
from node.learning.tensors import SharedTensor, Tensor

# A factor must have less than half of the matrix's values; otherwise the matrix travels whole.
WORTHWHILE = 0.5
# A coefficient gathers a row of the update, so it is larger than an element.
CLIP_FACTOR = 4.0


@dataclass(frozen=True)
class Basis:
    """Orthonormal columns, of shape (n, rank), in the space of a matrix's rows or of its columns.

    With `of_rows`, n is the matrix's number of columns, and a factor has a row for each row of the matrix.
    Otherwise the matrix is taken as transposed.
    """

    vectors: Tensor
    of_rows: bool


@dataclass(frozen=True)
class Slot:
    """How one tensor travels: whole (`rank` 0), or as a factor with `rank` columns.

    A tensor of more than two dimensions is the matrix of its first dimension by all others.
    """

    tensor: SharedTensor
    rank: int

    @property
    def matrix(self) -> tuple[int, int]:
        return self.tensor.shape[0], math.prod(self.tensor.shape[1:])

    @property
    def shared(self) -> SharedTensor:
        """What members average. A factor has room for rows or columns, whichever are more."""
        if not self.rank:
            return self.tensor
        clip = None if self.tensor.clip is None else CLIP_FACTOR * self.tensor.clip
        return replace(
            self.tensor, name=f"{self.tensor.name}.factor", shape=(max(self.matrix), self.rank), clip=clip
        )

    def first_basis(self) -> Basis:
        """Random, but the same for all members up to rounding."""
        drawn = initial.uniform(0, self.tensor.name, (self.matrix[1], self.rank), 1.0)
        return Basis(_orthonormal(drawn), of_rows=True)

    def project(self, update: Tensor, basis: Basis) -> Tensor:
        """The update's factor, clipped to what may travel, and zero in the rows that are not used."""
        matrix = update.reshape(self.matrix)
        coefficients = (matrix if basis.of_rows else matrix.T) @ basis.vectors
        factor = np.zeros(self.shared.shape, np.float32)
        clip = self.shared.clip or np.inf
        factor[: len(coefficients)] = np.clip(coefficients, -clip, clip)
        return factor

    def expand(self, factor: Tensor, basis: Basis) -> Tensor:
        """The update that a factor stands for, in the tensor's shape."""
        product = self._used(factor, basis) @ basis.vectors.T
        return np.ascontiguousarray(product if basis.of_rows else product.T).reshape(self.tensor.shape)

    def next_basis(self, joint: Tensor, basis: Basis) -> Basis:
        """What the joint factor of this round spans: the other side's basis, for the next round."""
        return Basis(_orthonormal(self._used(joint, basis)), of_rows=not basis.of_rows)

    def _used(self, factor: Tensor, basis: Basis) -> Tensor:
        return factor[: self.matrix[0] if basis.of_rows else self.matrix[1]]


def plan(shared: Sequence[SharedTensor], rank: int) -> tuple[Slot, ...]:
    """A slot for each tensor: a factor where that saves at least half, the tensor itself elsewhere."""
    return tuple(Slot(tensor, rank if _is_worthwhile(tensor, rank) else 0) for tensor in shared)


def _is_worthwhile(tensor: SharedTensor, rank: int) -> bool:
    if len(tensor.shape) < 2:
        return False
    sides = (tensor.shape[0], math.prod(tensor.shape[1:]))
    return rank <= min(sides) and rank * max(sides) < WORTHWHILE * tensor.elements


def _orthonormal(columns: Tensor) -> Tensor:
    vectors: Tensor = np.linalg.qr(columns.astype(np.float64))[0].astype(np.float32)
    return vectors
