"""What a machine has too little of: turns a framework's out-of-memory errors into advice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from protocol.errors import OperatorFault

# What PyTorch's CPU allocator and CUDA's libraries say; they raise plain RuntimeErrors.
SIGNS = ("can't allocate memory", "not enough memory", "ALLOC_FAILED", "out of memory")


@dataclass(frozen=True)
class Thrift:
    """How many windows are computed at a time, of how many tokens, and whether activations are kept."""

    micro_batch: int
    context: int
    checkpointing: bool


@contextmanager
def sparing(thrift: Thrift, device: torch.device) -> Iterator[None]:
    """Raises `OperatorFault` with a remedy where the work inside runs out of memory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        plain = type(error) is RuntimeError
        if plain and not any(sign in str(error) for sign in SIGNS):
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise OperatorFault(
            f"out of memory on {device}, computing {thrift.micro_batch} windows of {thrift.context} tokens "
            "at a time",
            remedy=_remedy(thrift),
        ) from error


def _remedy(thrift: Thrift) -> str:
    if thrift.micro_batch > 1:
        return (
            f"set micro_batch = {thrift.micro_batch // 2} in causal.toml: the result is the same, only slower"
        )
    if not thrift.checkpointing:
        return "set checkpointing = true in causal.toml: the result is the same, only slower"
    return "a job with a shorter context, a smaller base model, or a machine with more memory is needed"
