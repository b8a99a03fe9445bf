"""The tensors that members share: their order, names and shapes, and their form as plain bytes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.errors import OperatorFault, OwnFault

Tensor = NDArray[np.float32]
Tensors = tuple[Tensor, ...]

LITTLE_ENDIAN = np.dtype("<f4")

# A language model's adapters have some hundred tensors; a whole network of 2026 a few thousand.
MAX_TENSORS = 10_000
# 2^27 values are 512 MiB of float32; encrypting more than that takes a member days per round.
MAX_ELEMENTS = 2**27
MAX_NAME = 200


@dataclass(frozen=True)
class SharedTensor:
    """One tensor of the joint model.

    `clip` hints at the largest magnitude that an element of an update needs (an absolute value, in units of
    the weight itself); None leaves it to the job's manifest.
    """

    name: str
    shape: tuple[int, ...]
    clip: float | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME:
            raise OwnFault(f"a shared tensor's name has {len(self.name)} characters, not 1 to {MAX_NAME}")
        if any(size < 1 for size in self.shape):
            raise OwnFault(f"shared tensor {self.name!r} has the shape {self.shape}; sizes are at least 1")
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0):
            raise OwnFault(f"shared tensor {self.name!r} has the clip hint {self.clip}; it must be above 0")

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def check_shared(shared: Sequence[SharedTensor]) -> tuple[SharedTensor, ...]:
    """The tensors themselves if their names are unique and their number and sizes within limits.

    Raises:
        OwnFault: the task describes an impossible set of tensors.
    """
    if not 1 <= len(shared) <= MAX_TENSORS:
        raise OwnFault(f"a task shares {len(shared)} tensors, not 1 to {MAX_TENSORS}")
    if len({tensor.name for tensor in shared}) != len(shared):
        raise OwnFault("two shared tensors have the same name")
    if count_elements(shared) > MAX_ELEMENTS:
        raise OwnFault(f"a task shares {count_elements(shared)} values, more than {MAX_ELEMENTS}")
    return tuple(shared)


def count_elements(shared: Sequence[SharedTensor]) -> int:
    return sum(tensor.elements for tensor in shared)


def check_tensors(shared: Sequence[SharedTensor], tensors: Sequence[Tensor]) -> Tensors:
    """The tensors themselves if their number, shapes, type and values fit the description.

    Raises:
        OwnFault: a tensor is missing, or has another shape or type.
        OperatorFault: a tensor holds a value that is not finite: training diverged.
    """
    if len(tensors) != len(shared):
        raise OwnFault(f"{len(tensors)} tensors given, {len(shared)} are shared")
    for expected, tensor in zip(shared, tensors, strict=True):
        if tensor.shape != expected.shape or tensor.dtype != np.float32:
            raise OwnFault(
                f"tensor {expected.name!r} is {tensor.dtype}{list(tensor.shape)}, "
                f"not float32{list(expected.shape)}"
            )
        if not np.isfinite(tensor).all():
            raise OperatorFault(
                f"tensor {expected.name!r} holds values that are not finite",
                remedy="training diverged: lower the learning rate or clip gradients",
            )
    return tuple(tensors)


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All elements in order, as one float32 vector of shape (elements,)."""
    return np.concatenate([np.ascontiguousarray(tensor, dtype=np.float32).ravel() for tensor in tensors])


def unflatten(shared: Sequence[SharedTensor], flat: Tensor) -> Tensors:
    """The inverse of `flatten` for tensors of these shapes: views into `flat`.

    Raises:
        OwnFault: the vector's length is not the number of shared elements.
    """
    if flat.shape != (count_elements(shared),):
        raise OwnFault(f"{flat.size} values given, the shared tensors have {count_elements(shared)}")
    ends = np.cumsum([tensor.elements for tensor in shared])
    parts = np.split(flat, ends[:-1])
    return tuple(part.reshape(tensor.shape) for part, tensor in zip(parts, shared, strict=True))


def to_bytes(tensors: Sequence[Tensor]) -> bytes:
    """All elements in order as little-endian float32, 4 bytes each."""
    return flatten(tensors).astype(LITTLE_ENDIAN, copy=False).tobytes()


def from_bytes(shared: Sequence[SharedTensor], raw: bytes) -> Tensors:
    """The inverse of `to_bytes`; the arrays are read-only views.

    Raises:
        OwnFault: the number of bytes is not 4 for each shared element.
    """
    if len(raw) != 4 * count_elements(shared):
        raise OwnFault(f"{len(raw)} bytes given, the shared tensors have {4 * count_elements(shared)}")
    return unflatten(shared, np.frombuffer(raw, dtype=LITTLE_ENDIAN).astype(np.float32, copy=False))


def digest(shared: Sequence[SharedTensor], tensors: Sequence[Tensor]) -> bytes:
    """SHA-256 (32 bytes) that binds names, shapes and every weight of a model.

    Members compare it to know that they hold the same model.
    """
    check_tensors(shared, tensors)
    header = "".join(f"{tensor.name}\0{','.join(map(str, tensor.shape))}\n" for tensor in shared)
    state = hashlib.sha256(b"starling model v1\n")
    state.update(len(header.encode()).to_bytes(8, "big") + header.encode())
    state.update(to_bytes(tensors))
    return state.digest()
