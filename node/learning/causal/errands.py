"""Errands for a program that has no training framework itself, each a process of its own.

    python -m node.learning.causal.errands shards --members 3 --out FOLDER
    python -m node.learning.causal.errands judge --model joint.npz --out ADAPTER MEMBER-FOLDER …
    python -m node.learning.causal.errands adapter --model joint.npz --out ADAPTER MEMBER-FOLDER
    python -m node.learning.causal.errands train alone --rounds 4 MEMBER-FOLDER …

They print progress and then their answer as lines of JSON (see `lines`). Losses are in nats per token on
every member's held-out text, in the order of the folders.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from node.learning.causal.base import open_base
from node.learning.causal.compare import Bench
from node.learning.causal.export import read_archive, write_adapter
from node.learning.causal.folder import open_folder
from node.learning.causal.sample import own_shards, sample_base, sample_shards
from node.learning.causal.task import CausalTask
from node.learning.lines import LineMonitor, answer, own_output
from node.learning.task import Monitor, Parameters, Resources
from protocol.errors import StarlingError

SAMPLE_TOKENS = 60
# The likeliest words of a small model repeat themselves; drawn with one seed, samples can be compared.
TEMPERATURE = 0.7
CONTENDERS = ("together", "alone", "one-place")


def make_shards(
    base: Path | None, texts: Path | None, members: int, out: Path, monitor: Monitor
) -> list[Path]:
    """Members' data folders below `out`: of the sample model and plays, or of a model and texts of one's own.

    Raises:
        OperatorFault: the samples cannot be fetched, or what is given is no base model or no text.
    """
    model = sample_base(monitor) if base is None else base
    open_base(model)
    if texts is None:
        return sample_shards(model, out, monitor, members=members)
    return own_shards(model, texts, out, members=members)


def judge(bench: Bench, model: Path, out: Path, base: Path, prompts: Sequence[str]) -> dict[str, Any]:
    """Losses and samples before the job and with the joint adapters in `model`, an archive that a node
    exported; writes them to `out` in peft's format, naming `base`.

    Raises:
        OperatorFault: the archive is not of this job.
    """
    first, joint = bench.task.initial(), read_archive(bench.adapters, model)
    return {
        "base": bench.evaluate(first),
        "joint": bench.evaluate(joint),
        "samples": [
            {
                "prompt": prompt,
                "before": bench.write(first, prompt, SAMPLE_TOKENS, TEMPERATURE),
                "after": bench.write(joint, prompt, SAMPLE_TOKENS, TEMPERATURE),
            }
            for prompt in prompts
        ],
        "adapter": str(write_adapter(bench.adapters, joint, base, out)),
    }


def convert(folder: Path, parameters: Parameters, model: Path, out: Path) -> Path:
    """Writes the joint adapters in `model` to `out` in peft's format, with a member's folder for the base.

    Raises:
        OperatorFault: the archive is not of a job with these parameters, or the base is not there.
    """
    task = CausalTask(parameters, Resources(data=folder))
    return write_adapter(task.adapters, read_archive(task.adapters, model), open_folder(folder).base, out)


def train(bench: Bench, contender: str, rounds: int, monitor: Monitor) -> dict[str, Any]:
    """Final losses by name of who trained: "together" without the protocol, "member-1" … each alone, or
    "one place" with all text and as many steps as the members take together."""
    sets = [text.train for text in bench.texts]
    match contender:
        case "together":
            runs = {"together": (sets, rounds, 0)}
        case "one-place":
            runs = {"one place": ([bench.pooled], rounds * len(sets), 0)}
        case _:
            # The seeds under which each of them trains together.
            runs = {f"member-{n}": ([own], rounds, n - 1) for n, own in enumerate(sets, start=1)}
    total = sum(count for _, count, _ in runs.values())
    done = 0
    found: dict[str, Any] = {}

    def tell(number: int, losses: object) -> None:
        monitor.progress(_stage(contender), done + number, total)

    monitor.progress(_stage(contender), 0, total)
    for name, (windows, count, seed) in runs.items():
        course, _ = bench.course(windows, count, seed, 0, tell, end_only=True)
        found[name] = course.losses[-1]
        done += count
    return found


def _stage(contender: str) -> str:
    return {
        "together": "all members without the protocol",
        "alone": "each member alone",
        "one-place": "all text at one place",
    }[contender]


def main() -> int:
    """The command."""
    chosen = _parser().parse_args()
    try:
        with own_output():
            answer(chosen.work(chosen, LineMonitor()))
    except StarlingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    shards = _add(commands, "shards", _shards)
    shards.add_argument("--members", type=int, required=True)
    shards.add_argument("--base", type=Path)
    shards.add_argument("--texts", type=Path)
    shards.add_argument("--out", type=Path, required=True)
    judging = _add(commands, "judge", _judge)
    judging.add_argument("--model", type=Path, required=True)
    judging.add_argument("--out", type=Path, required=True)
    judging.add_argument("--prompt", action="append", default=[])
    converting = _add(commands, "adapter", _convert)
    converting.add_argument("--model", type=Path, required=True)
    converting.add_argument("--out", type=Path, required=True)
    training = _add(commands, "train", _train)
    training.add_argument("contender", choices=CONTENDERS)
    training.add_argument("--rounds", type=int, required=True)
    for command in (judging, converting, training):
        command.add_argument("--parameters", type=json.loads, default={}, help="a JSON object")
        command.add_argument("folders", type=Path, nargs="+")
    return parser


def _add(
    commands: Any,  # noqa: ANN401  (argparse's type for it is private)
    name: str,
    work: Callable[[argparse.Namespace, Monitor], dict[str, Any]],
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name)
    made.set_defaults(work=work)
    return made


def _shards(chosen: argparse.Namespace, monitor: Monitor) -> dict[str, Any]:
    shards = make_shards(chosen.base, chosen.texts, chosen.members, chosen.out, monitor)
    return {"shards": [str(shard) for shard in shards]}


def _judge(chosen: argparse.Namespace, monitor: Monitor) -> dict[str, Any]:
    base = open_folder(chosen.folders[0]).base
    bench = Bench(chosen.folders, chosen.parameters, Resources(), monitor)
    return judge(bench, chosen.model, chosen.out, base, chosen.prompt)


def _convert(chosen: argparse.Namespace, monitor: Monitor) -> dict[str, Any]:
    made = convert(chosen.folders[0], chosen.parameters, chosen.model, chosen.out)
    return {"adapter": str(made)}


def _train(chosen: argparse.Namespace, monitor: Monitor) -> dict[str, Any]:
    bench = Bench(chosen.folders, chosen.parameters, Resources())
    return train(bench, chosen.contender, chosen.rounds, monitor)


if __name__ == "__main__":
    sys.exit(main())
