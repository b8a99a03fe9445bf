"""Chooses where PyTorch computes. Imported by tasks, in the worker process only."""

from __future__ import annotations

import torch

from node.learning.task import Resources
from protocol.errors import OperatorFault


def prepare(resources: Resources) -> torch.device:
    """Sets PyTorch's thread count and returns the device; "auto" is CUDA where there is any.

    Raises:
        OperatorFault: CUDA is asked for and not there, or the device has another name.
    """
    torch.set_num_threads(resources.threads)
    match resources.device:
        case "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        case "cuda" if not torch.cuda.is_available():
            raise OperatorFault(
                "the learner is to use CUDA, but PyTorch finds no such device",
                remedy='install a CUDA build of PyTorch and its driver, or set the device to "auto"',
            )
        case "cpu" | "cuda":
            return torch.device(resources.device)
        case other:
            raise OperatorFault(f"no device is called {other!r}", remedy='use "auto", "cpu" or "cuda"')
