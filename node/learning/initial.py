"""Initial weights that are the same bytes on every machine.

Framework generators give other numbers on other processors, versions or thread counts. Here the random bits
come from SHAKE-256, and each weight from exact steps and one rounding that IEEE 754 fixes.
"""

from __future__ import annotations

import hashlib

import numpy as np

from node.learning.tensors import Tensor


def uniform(seed: int, name: str, shape: tuple[int, ...], bound: float) -> Tensor:
    """Uniform float32 weights in [−bound, bound), fixed by seed, tensor name and shape.

    Each weight is (b − 2^23) · (bound · 2^−23) for 24 bits b of SHAKE-256(seed, name): the difference is
    exact in float32, the product is rounded once.
    """
    count = int(np.prod(shape, dtype=np.int64))
    stream = hashlib.shake_256(f"starling initial weights v1\0{seed}\0{name}".encode()).digest(4 * count)
    bits = (np.frombuffer(stream, dtype="<u4") >> 8).astype(np.int64)
    centred = (bits - 2**23).astype(np.float32)
    return np.multiply(centred, np.float32(bound * 2.0**-23)).reshape(shape)
