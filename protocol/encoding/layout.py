"""The layout of an update: which tensors, of what shape, clipped where, in which order."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from protocol.encoding import canonical
from protocol.encoding.errors import Malformed, Misuse

MAX_TENSORS = 16_384  # adapters on every matrix of today's largest language models are some thousands
MAX_NAME_BYTES = 256  # module paths are well below; bounds what an error message can be made to carry
MAX_DIMENSIONS = 8  # as many as convolutions and attention tensors ever use
_VALUES = (4 + MAX_DIMENSIONS) * MAX_TENSORS + 4
MAX_PARAMETERS = 2**26  # 67 million: 300 MB of ciphertexts, far beyond what a round can decrypt in time
MAX_LAYOUT_BYTES = 4 * 2**20  # a layout with all tensors and names of ordinary length fits
MIN_CLIP, MAX_CLIP = 2.0**-64, 2.0**64  # wider than useful, and no step over- or underflows a float

_FORMAT = "starling-layout-1"


@dataclass(frozen=True)
class Tensor:
    """One tensor of an update: its name, its shape, and the clip C with every |value| cut to C."""

    name: str
    shape: tuple[int, ...]
    clip: float

    def __post_init__(self) -> None:
        if not self.name.isprintable() or not 1 <= len(self.name.encode()) <= MAX_NAME_BYTES:
            raise Misuse(f"a tensor's name is printable text of 1 to {MAX_NAME_BYTES} bytes")
        if len(self.shape) > MAX_DIMENSIONS or any(side < 1 for side in self.shape):
            raise Misuse(f"tensor '{self.name}' needs at most {MAX_DIMENSIONS} dimensions, none empty")
        if not MIN_CLIP <= self.clip <= MAX_CLIP:
            raise Misuse(f"the clip of tensor '{self.name}' is not a positive number of ordinary size")

    @property
    def size(self) -> int:
        """How many parameters the tensor has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The tensors of an update in the order in which their parameters fill the slots.

    Raises `Misuse` when it is empty, too large, or names a tensor twice.
    """

    tensors: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.tensors) <= MAX_TENSORS:
            raise Misuse(f"an update has 1 to {MAX_TENSORS} tensors, not {len(self.tensors)}")
        if len({tensor.name for tensor in self.tensors}) != len(self.tensors):
            raise Misuse("an update names each of its tensors once")
        if self.parameters > MAX_PARAMETERS:
            raise Misuse(f"an update has at most {MAX_PARAMETERS} parameters, not {self.parameters}")

    @property
    def parameters(self) -> int:
        """How many parameters all tensors have together."""
        return sum(tensor.size for tensor in self.tensors)

    def spans(self) -> Iterator[tuple[Tensor, slice]]:
        """Each tensor with the slice of the flattened update that holds its parameters (row-major)."""
        start = 0
        for tensor in self.tensors:
            yield tensor, slice(start, start + tensor.size)
            start += tensor.size

    def with_clips(self, clips: Mapping[str, float]) -> Layout:
        """The same tensors with the clips named in `clips` changed; `Misuse` for an unknown name."""
        unknown = clips.keys() - {tensor.name for tensor in self.tensors}
        if unknown:
            raise Misuse(f"there is no tensor '{min(unknown)}' to clip")
        changed = (replace(tensor, clip=clips.get(tensor.name, tensor.clip)) for tensor in self.tensors)
        return Layout(tuple(changed))

    def to_bytes(self) -> bytes:
        """The canonical encoding, equal for equal layouts only."""
        rows = [[tensor.name, list(tensor.shape), float(tensor.clip)] for tensor in self.tensors]
        return canonical.dump([_FORMAT, rows])

    @classmethod
    def from_bytes(cls, data: bytes) -> Layout:
        """The layout that `to_bytes` wrote; `Malformed` for any other bytes."""
        if len(data) > MAX_LAYOUT_BYTES:
            raise Malformed(f"the layout is larger than {MAX_LAYOUT_BYTES} bytes")
        match canonical.load(data, "layout", values=_VALUES):
            case [str(kind), list(rows)] if kind == _FORMAT:
                try:
                    return cls(tuple(_tensor(row) for row in rows))
                except Misuse as error:
                    raise Malformed(error.what) from error
            case _:
                raise Malformed(f"the layout is not of the format {_FORMAT}")

    def digest(self) -> bytes:
        """SHA-256 of the canonical encoding (32 bytes)."""
        return hashlib.sha256(self.to_bytes()).digest()


def _tensor(row: object) -> Tensor:
    match row:
        case [str(name), list(shape), float(clip)] if all(type(side) is int for side in shape):
            return Tensor(name, tuple(shape), clip)
        case _:
            raise Malformed("a tensor of the layout is not [name, shape, clip]")
