"""What to compare a job with: adapters trained together, by each member alone, and on all text at one place.

    python -m node.learning.causal.compare FOLDER FOLDER … --rounds 4 --bits 16

All in this process with a single copy of the base model, without cryptography; updates are quantised as a job
would. Prints JSON: losses in nats per token on every member's held-out text, in the order of the folders.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from node.learning.baseline import Silent, average
from node.learning.causal.adapters import Adapters
from node.learning.causal.model import AdaptedModel
from node.learning.causal.packing import Windows
from node.learning.causal.task import CausalTask
from node.learning.task import Assignment, Monitor, Parameters, Resources
from node.learning.tensors import Tensors
from protocol.errors import StarlingError

Losses = tuple[float, ...]
OnRound = Callable[[str, int, Losses], None]


@dataclass(frozen=True)
class Text:
    """One member's private text, packed."""

    train: Windows
    held_out: Windows


@dataclass(frozen=True)
class Course:
    """How training went: the losses on every held-out text before it and after each round (or at the end
    only), the largest element of any update as a part of its clip, and processor seconds per member and
    round."""

    losses: tuple[Losses, ...]
    reach: float
    cpu_seconds: float

    @property
    def perplexities(self) -> Losses:
        return tuple(math.exp(loss) for loss in self.losses[-1])


class Bench:
    """A base model with adapters, and the texts of all members."""

    def __init__(
        self,
        folders: Sequence[Path],
        parameters: Parameters,
        resources: Resources,
        monitor: Monitor | None = None,
    ) -> None:
        self._monitor = monitor or Silent()
        tasks = [
            CausalTask(parameters, Resources(resources.device, resources.threads, folder))
            for folder in folders
        ]
        self.texts = [
            Text(*task.read(folder, self._monitor)) for task, folder in zip(tasks, folders, strict=True)
        ]
        self.task = tasks[0]
        self.model: AdaptedModel = self.task.build()
        self.adapters: Adapters = self.task.adapters

    def evaluate(self, weights: Tensors) -> Losses:
        self.model.set(weights)
        return tuple(self.model.evaluate(text.held_out, self._monitor)["loss"] for text in self.texts)

    def write(self, weights: Tensors, prompt: str, tokens: int, temperature: float) -> str:
        """What the model with these adapters writes after the prompt: equal weights, equal words."""
        self.model.set(weights)
        return self.model.generate(prompt, tokens, temperature=temperature)

    @property
    def pooled(self) -> Windows:
        """All members' training text at one place."""
        train = [text.train for text in self.texts]
        return Windows(
            np.concatenate([windows.inputs for windows in train]),
            np.concatenate([windows.labels for windows in train]),
        )

    def course(
        self,
        sets: Sequence[Windows],
        rounds: int,
        seed: int,
        bits: int,
        on_round: Callable[[int, Losses], None],
        *,
        end_only: bool = False,
    ) -> tuple[Course, Tensors]:
        """Federated averaging over these training sets, equally weighted, and the final adapters.

        `bits` for each value of an update; 0 sends them as they are. With `end_only`, losses are measured
        after the last round alone, and `on_round` hears of none.
        """
        weights = self.task.initial()
        losses = [] if end_only else [self.evaluate(weights)]
        reach = spent = 0.0
        for number in range(1, rounds + 1):
            started = time.process_time()
            deltas = [
                self._delta(weights, windows, Assignment(number, rounds, seed + index))
                for index, windows in enumerate(sets, start=1)
            ]
            spent += time.process_time() - started
            reach = max(reach, *(self._reach(delta) for delta in deltas))
            means = average(self.adapters.shared, deltas, [1] * len(deltas), bits)
            weights = tuple(old + mean for old, mean in zip(weights, means, strict=True))
            if number == rounds or not end_only:
                losses.append(self.evaluate(weights))
            on_round(number, () if end_only else losses[-1])
        return Course(tuple(losses), reach, spent / (rounds * len(sets))), weights

    def _delta(self, weights: Tensors, windows: Windows, assignment: Assignment) -> Tensors:
        self.model.set(weights)
        self.model.train(windows, assignment, self._monitor)
        return tuple(new - old for new, old in zip(self.model.get(), weights, strict=True))

    def _reach(self, delta: Tensors) -> float:
        return max(float(np.abs(part).max()) for part in delta) / self.adapters.recipe.clip


def compare(bench: Bench, rounds: int, seed: int, bits: int, on_round: OnRound) -> dict[str, Course]:
    """Courses by name: "together", "one place", and "member 1" … for each alone.

    At one place, all text is trained on by as many steps as the members take together.
    """

    def tell(who: str) -> Callable[[int, Losses], None]:
        return lambda number, losses: on_round(who, number, losses)

    train = [text.train for text in bench.texts]
    courses = {
        "together": bench.course(train, rounds, seed, bits, tell("together"))[0],
        "one place": bench.course([bench.pooled], rounds * len(train), seed, 0, tell("one place"))[0],
    }
    for number, windows in enumerate(train, start=1):
        who = f"member {number}"
        courses[who] = bench.course([windows], rounds, seed + number - 1, 0, tell(who))[0]
    return courses


def main() -> None:
    parser = argparse.ArgumentParser(description="Adapters trained together, alone, and at one place.")
    parser.add_argument("folders", type=Path, nargs="+", help="a data folder for each member")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--bits", type=int, default=16, help="of each value of an update; 0: not quantised")
    parser.add_argument("--only", choices=["together"], help="leave the others out")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    try:
        parameters = {
            name: json.loads(text) for name, _, text in (p.partition("=") for p in chosen.parameter)
        }
        bench = Bench(chosen.folders, parameters, Resources(chosen.device, chosen.threads))
        courses = _courses(bench, chosen)
    except StarlingError as error:
        sys.exit(f"error: {error}")
    report = {who: asdict(course) | {"perplexities": course.perplexities} for who, course in courses.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"device": bench.task.device, "peak_bytes": peak, "courses": report}, indent=2))


def _courses(bench: Bench, chosen: argparse.Namespace) -> dict[str, Course]:
    if not chosen.only:
        return compare(bench, chosen.rounds, chosen.seed, chosen.bits, _report)
    train = [text.train for text in bench.texts]
    course, _ = bench.course(
        train,
        chosen.rounds,
        chosen.seed,
        chosen.bits,
        lambda number, losses: _report("together", number, losses),
    )
    return {"together": course}


def _report(who: str, number: int, losses: Losses) -> None:
    shown = "  ".join(f"{loss:.4f}" for loss in losses)
    print(f"{who:>10}  round {number}  {shown}  mean {np.mean(losses):.4f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
