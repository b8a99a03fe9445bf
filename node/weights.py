"""Model weights as files named by their digest: how members store, compare and hand on a global model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from node.files import write_whole
from protocol.encoding import canonical
from protocol.encoding.errors import Malformed
from protocol.manifest import TensorSpec

Weights = Mapping[str, npt.NDArray[np.float32]]

_FORMAT = "starling-weights-1"
_FLOAT = np.dtype("<f4")


def encode_weights(specs: tuple[TensorSpec, ...], weights: Weights) -> bytes:
    """Names and shapes, then all values as little-endian float32: one form for equal weights."""
    header = canonical.dump([_FORMAT, [[spec.name, list(spec.shape)] for spec in specs]])
    values = b"".join(np.ascontiguousarray(weights[spec.name], _FLOAT).tobytes() for spec in specs)
    return len(header).to_bytes(4, "big") + header + values


def decode_weights(specs: tuple[TensorSpec, ...], data: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors in `data`; `Malformed` unless it holds exactly the tensors of `specs`."""
    header = canonical.dump([_FORMAT, [[spec.name, list(spec.shape)] for spec in specs]])
    start = 4 + len(header)
    if data[:start] != len(header).to_bytes(4, "big") + header or len(data) != weights_size(specs):
        raise Malformed("the weights are not those of this job's model")
    values = np.frombuffer(data, _FLOAT, offset=start).astype(np.float32)
    weights, at = {}, 0
    for spec in specs:
        size = int(np.prod(spec.shape, dtype=np.int64))
        weights[spec.name] = values[at : at + size].reshape(spec.shape)
        at += size
    return weights


def weights_size(specs: tuple[TensorSpec, ...]) -> int:
    """Bytes of the encoding."""
    header = canonical.dump([_FORMAT, [[spec.name, list(spec.shape)] for spec in specs]])
    return 4 + len(header) + 4 * sum(int(np.prod(spec.shape, dtype=np.int64)) for spec in specs)


def weights_digest(data: bytes) -> bytes:
    """What names a model in manifests and records: SHA-256 of its encoding."""
    return hashlib.sha256(data).digest()


class WeightStore:
    """The models of one job in a folder of their own."""

    def __init__(self, folder: Path, specs: tuple[TensorSpec, ...]) -> None:
        self._folder = folder
        self._specs = specs

    def path(self, digest: bytes) -> Path:
        """Where the model with this digest lies, or would."""
        return self._folder / digest.hex()

    def has(self, digest: bytes) -> bool:
        """Whether it is there."""
        return self.path(digest).exists()

    def put(self, data: bytes) -> bytes:
        """Store an encoded model durably; its digest. `Malformed` if it is not one of this job."""
        decode_weights(self._specs, data)
        digest = weights_digest(data)
        if not self.has(digest):
            write_whole(self.path(digest), data)
        return digest

    def get(self, digest: bytes) -> dict[str, npt.NDArray[np.float32]]:
        """The weights with this digest."""
        return decode_weights(self._specs, self.path(digest).read_bytes())
