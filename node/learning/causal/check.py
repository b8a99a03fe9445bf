"""Checks that this machine can fine-tune, and how fast: one round, with its speed and memory.

    python -m node.learning.causal.check --data FOLDER
    python -m node.learning.causal.check --random 135m --device cuda

With `--data`, a member's own folder; with `--random`, a model of that size with random weights, made on the
spot. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from node.learning.baseline import Silent
from node.learning.causal.rehearsal import SIZES, random_base, random_member
from node.learning.causal.task import CausalTask
from node.learning.task import Assignment, Parameters, Resources
from node.learning.tensors import count_elements
from protocol.errors import StarlingError

SAMPLE_TOKENS = 40

Result = TypeVar("Result")


def check(task: CausalTask, data: Path, prompt: str) -> dict[str, object]:
    """Loads, evaluates, trains one round and evaluates again; what was seen, in plain values.

    `tokens_per_second` counts the tokens that are learned or measured, by the wall clock.
    """
    seconds, summary = _timed(lambda: task.load(data, Silent()))
    weights = task.initial()
    before = task.evaluate(weights, Silent()).metrics
    sample_before = task.generate(weights, prompt, SAMPLE_TOKENS)
    training, update = _timed(lambda: task.train(weights, Assignment(1, 1, 0), Silent()))
    trained = tuple(old + delta for old, delta in zip(weights, update.delta, strict=True))
    evaluating, after = _timed(lambda: task.evaluate(trained, Silent()))
    return {
        "device": task.device,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "windows": [summary.training, summary.evaluation],
        "shared_values": count_elements(task.shared),
        "load_seconds": round(seconds, 2),
        "train_seconds": round(training, 2),
        "train_tokens_per_second": round(update.metrics["predicted"] / training, 1),
        "evaluate_tokens_per_second": round(after.metrics["predicted"] / evaluating, 1),
        "loss": [before["loss"], after.metrics["loss"]],
        "samples": [sample_before, task.generate(trained, prompt, SAMPLE_TOKENS)],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
    }


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.monotonic()
    result = work()
    return time.monotonic() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description="One round of fine-tuning on this machine.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="a member's data folder")
    source.add_argument("--random", choices=list(SIZES), help="a model with random weights, of this size")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--prompt", default="Hamlet:\n")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    try:
        parameters = {
            name: json.loads(text) for name, _, text in (p.partition("=") for p in chosen.parameter)
        }
        print(json.dumps(_run(chosen, parameters), indent=2))
    except StarlingError as error:
        sys.exit(f"error: {error}")


def _run(chosen: argparse.Namespace, parameters: Parameters) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as scratch:
        data = chosen.data
        if data is None:
            base = random_base(Path(scratch) / "model", SIZES[chosen.random])
            data = random_member(Path(scratch) / "member", base)
        resources = Resources(chosen.device, chosen.threads, data)
        return check(CausalTask(parameters, resources), data, chosen.prompt)


if __name__ == "__main__":
    main()
