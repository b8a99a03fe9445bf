"""What to compare a job with: each member alone, and plain federated averaging without cryptography.

    python -m node.learning.baseline --members 3 --rounds 5

Both run any task in this one process, one member after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from node.learning.mnist.origin import obtain
from node.learning.mnist.shards import write_shards
from node.learning.registry import find_task
from node.learning.task import Assignment, Metrics, Parameters, Resources, Task
from node.learning.tensors import SharedTensor, Tensor, Tensors, count_elements
from protocol.encoding.quantise import Digits, Quantiser
from protocol.errors import StarlingError

OnRound = Callable[[int, Metrics], None]


class Silent:
    """A monitor for nobody."""

    def progress(self, stage: str, done: int, total: int, metrics: Metrics | None = None) -> None:
        pass


@dataclass(frozen=True)
class Course:
    """How training went: the evaluation after every round, and processor seconds per client and round."""

    evaluations: tuple[Metrics, ...]
    cpu_seconds: float

    @property
    def final(self) -> Metrics:
        return self.evaluations[-1]


def open_members(
    name: str, parameters: Parameters, shards: Sequence[Path], resources: Resources
) -> list[Task]:
    """One task object for each data folder, in order, with its data loaded."""
    members = [find_task(name)(parameters, resources) for _ in shards]
    for member, shard in zip(members, shards, strict=True):
        member.load(shard, Silent())
    return members


def federate(members: Sequence[Task], rounds: int, seed: int, on_round: OnRound, bits: int = 0) -> Course:
    """Federated averaging (McMahan et al. 2017), weighted by samples, evaluated by the first member.

    With a single member this is training alone for as many epochs. `bits` as for `average`.
    """
    shared = members[0].shared
    weights = members[0].initial()
    evaluations = []
    spent = 0.0
    for number in range(1, rounds + 1):
        started = time.process_time()
        updates = [
            member.train(weights, Assignment(number, rounds, seed + index), Silent())
            for index, member in enumerate(members, start=1)
        ]
        spent += time.process_time() - started
        samples = [update.samples for update in updates]
        means = average(shared, [update.delta for update in updates], samples, bits)
        weights = tuple(old + mean for old, mean in zip(weights, means, strict=True))
        evaluations.append(members[0].evaluate(weights, Silent()).metrics)
        on_round(number, evaluations[-1])
    return Course(tuple(evaluations), spent / (rounds * len(members)))


def average(
    shared: Sequence[SharedTensor], deltas: Sequence[Tensors], weights: Sequence[int], bits: int
) -> Tensors:
    """The weighted average of updates; with `bits` > 0 quantised as a job does it, clipped as hinted."""
    if bits == 0:
        shares = np.array(weights, dtype=np.float64) / sum(weights)
        means = (np.tensordot(shares, np.stack(parts), axes=1) for parts in zip(*deltas, strict=True))
        return tuple(mean.astype(np.float32) for mean in means)
    alphas = [Fraction(weight, max(weights)) for weight in weights]
    columns = zip(*deltas, strict=True)
    return tuple(
        _quantised(tensor, parts, alphas, bits) for tensor, parts in zip(shared, columns, strict=True)
    )


def _quantised(
    tensor: SharedTensor, parts: Sequence[Tensor], alphas: Sequence[Fraction], bits: int
) -> Tensor:
    quantiser = Quantiser(bits, tensor.clip or 1.0)
    digits = [quantiser.encode(part, alpha) for part, alpha in zip(parts, alphas, strict=True)]
    total: Digits = np.stack(digits).sum(axis=0, dtype=np.uint64)
    return quantiser.decode(total, len(parts), sum(alphas, Fraction(0))).reshape(tensor.shape)


def compare(
    members: Sequence[Task],
    rounds: int,
    seed: int,
    on_round: Callable[[str, int, Metrics], None],
    bits: int = 0,
) -> dict[str, Course]:
    """Courses by name: "together", and "member 1" … "member N" for each alone."""
    contenders = {"together": members} | {f"member {n}": [one] for n, one in enumerate(members, start=1)}
    return {
        who: federate(group, rounds, seed, partial(on_round, who), bits) for who, group in contenders.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="MNIST together and alone, without cryptography.")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--division", default="iid", help="iid, iid-1500, dirichlet-0.1 or labels-2")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--bits", type=int, default=0, help="quantise updates; 0: send them as they are")
    parser.add_argument("--update-rank", type=int, help="send updates as factors of this rank")
    parser.add_argument("--only", choices=["together"], help="leave out each member alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, help="a folder with the original MNIST; fetched if not given")
    chosen = parser.parse_args()
    try:
        courses = _run(chosen)
    except StarlingError as error:
        sys.exit(f"error: {error}")
    print(json.dumps({who: asdict(course) for who, course in courses.items()}, indent=2))


def _run(chosen: argparse.Namespace) -> dict[str, Course]:
    parameters = {name: _value(text) for name, _, text in (item.partition("=") for item in chosen.parameter)}
    resources = Resources(chosen.device, chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        digits = obtain(Silent(), folder=chosen.data)
        shards = write_shards(digits, chosen.members, chosen.division, chosen.seed, Path(folder))
        name = "mnist"
        if chosen.update_rank:
            name, parameters = "low-rank", {"inner": name, "update_rank": chosen.update_rank, **parameters}
        members = open_members(name, parameters, shards, resources)
        print(f"{count_elements(members[0].shared)} values a round from each member", file=sys.stderr)
        if chosen.only:
            together = partial(_report, "together")
            return {"together": federate(members, chosen.rounds, chosen.seed, together, chosen.bits)}
        return compare(members, chosen.rounds, chosen.seed, _report, chosen.bits)


def _value(text: str) -> object:
    return int(text) if text.isdecimal() else text


def _report(who: str, number: int, metrics: Metrics) -> None:
    values = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    print(f"{who:>10}  round {number}  {values}", file=sys.stderr)


if __name__ == "__main__":
    main()
