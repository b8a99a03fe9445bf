"""The command line of `starling demo`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import trio
from rich.console import Console

from node.demo.digits import Digits
from node.demo.language import PARAMETERS, Language
from node.demo.outcome import Outcome, show
from node.demo.paper import run_paper
from node.demo.run import run_cohort
from node.demo.wish import Subject, Wish
from node.logs import setup_logs
from protocol.errors import OperatorFault, StarlingError

INTERRUPTED = 130
TASKS = ("mnist", "qlora")
ROUNDS = {"mnist": 5, "qlora": 4}


def parser() -> argparse.ArgumentParser:
    """All options, with defaults that work."""
    made = argparse.ArgumentParser(
        prog="starling demo",
        description="Train a model across real daemons on this machine, with no coordinator to trust: MNIST, "
        "or adapters of a language model on texts of different owners.",
        epilog="Exit code 0: the job settled as recorded and its logs fit the specification; "
        "1: it did not, or could not run; 130: interrupted.",
    )
    made.add_argument("--task", choices=TASKS, default=TASKS[0], help="mnist, or qlora: a language model")
    made.add_argument("--members", type=int, default=3, help="2 to 10, each a process of its own")
    made.add_argument("--rounds", type=int, help="5 for mnist, 4 for qlora if not given")
    digits = made.add_argument_group("mnist")
    digits.add_argument("--division", help="iid, iid-N (N samples each), dirichlet-A, labels-K")
    digits.add_argument("--model", choices=("cnn3", "cnn", "mlp"), help="the network; cnn3 if not given")
    language = made.add_argument_group("qlora")
    language.add_argument(
        "--base", type=Path, help="a base model, safetensors or GGUF; a small one is fetched"
    )
    language.add_argument("--parameter", action="append", metavar="NAME=JSON", help="of the task causal-lm")
    made.add_argument("--key", default="fast", help="fast (2048 bits), standard (3072), insecure-test-BITS")
    made.add_argument("--data", type=Path, help="a folder with the original MNIST, or a text for each member")
    made.add_argument("--folder", type=Path, help="where everything is kept; a new folder if not given")
    made.add_argument("--seed", type=int, default=0, help="of the division into shards")
    made.add_argument("--keep", action="store_true", help="leave the cohort running, and say how to stop it")
    made.add_argument("--no-alone", action="store_true", help="do not train each member alone to compare")
    made.add_argument("--plain", action="store_true", help="also train without the protocol, to compare")
    made.add_argument("--experiment", choices=("paper",), help="the paper's table, with 2, 4 and 10 members")
    made.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code says whether all was as it should be."""
    chosen = parser().parse_args(arguments)
    console = Console(stderr=chosen.json, highlight=False)
    try:
        subject = _subject(chosen)
        folder = _folder(chosen.folder)
        setup_logs(folder / "demo.log", "info", node="demo")
        if chosen.experiment == "paper":
            return trio.run(run_paper, folder, chosen.key, chosen.data, chosen.seed, console)
        outcome = trio.run(run_cohort, _wish(chosen, folder, subject), console)
    except StarlingError as error:
        sys.stderr.write(f"starling demo: {error}\n")
        return 1
    except BaseExceptionGroup as group:
        return _explain(group)
    except KeyboardInterrupt:
        return _interrupted()
    _tell(outcome, chosen, console)
    return 0 if outcome.right else 1


def _folder(wanted: Path | None) -> Path:
    if wanted is None:
        base = Path(tempfile.gettempdir())
        return Path(tempfile.mkdtemp(prefix=time.strftime("starling-%H%M%S-"), dir=base))
    if wanted.exists() and any(wanted.iterdir()):
        raise OperatorFault(f"{wanted} is not empty", remedy="name a new folder with --folder")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted.resolve()


def _wish(chosen: argparse.Namespace, folder: Path, subject: Subject) -> Wish:
    if not 2 <= chosen.members <= 10:
        raise OperatorFault(f"a demo has 2 to 10 members, not {chosen.members}", remedy="choose --members")
    rounds = ROUNDS[chosen.task] if chosen.rounds is None else chosen.rounds
    if not 1 <= rounds <= 1000:
        raise OperatorFault(f"{rounds} rounds are not 1 to 1000", remedy="choose --rounds")
    return Wish(
        members=chosen.members,
        rounds=rounds,
        key_profile=chosen.key,
        folder=folder,
        subject=subject,
        seed=chosen.seed,
        alone=not chosen.no_alone,
        plain=chosen.plain,
        keep=chosen.keep,
    )


def _subject(chosen: argparse.Namespace) -> Subject:
    """What is learned; options of another task are refused, not ignored."""
    foreign = ("base", "parameter") if chosen.task == "mnist" else ("division", "model", "experiment")
    for name in foreign:
        if getattr(chosen, name) is not None:
            raise OperatorFault(f"--{name} means nothing with --task {chosen.task}", remedy="leave it out")
    if chosen.task == "mnist":
        return Digits(chosen.division or "iid", chosen.model or "cnn3", chosen.data)
    language = Language(chosen.base, chosen.data, {**PARAMETERS, **_parameters(chosen.parameter or [])})
    language.check_installed()
    return language


def _parameters(given: Sequence[str]) -> dict[str, object]:
    try:
        return {name: json.loads(text) for name, _, text in (each.partition("=") for each in given)}
    except json.JSONDecodeError as error:
        raise OperatorFault(f"--parameter: {error}", remedy="give NAME=JSON, such as steps=20") from error


def _tell(outcome: Outcome, chosen: argparse.Namespace, console: Console) -> None:
    if chosen.json:
        print(json.dumps(asdict(outcome) | {"right": outcome.right}, ensure_ascii=False))
        return
    show(outcome, console)
    if chosen.keep:
        console.print(f"The cohort is running. Try: starling --config {outcome.folder}/member-1.toml status")
        console.print(f"Stop members and head with: kill {' '.join(map(str, outcome.running))}")


def _explain(group: BaseExceptionGroup[BaseException]) -> int:
    """One line for what was foreseen; a traceback for what was not."""
    if group.subgroup(KeyboardInterrupt) is not None:
        return _interrupted()
    known, other = group.split(StarlingError)
    if other is not None or known is None:
        raise group
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    sys.stderr.write(f"starling demo: {first}\n")
    return 1


def _interrupted() -> int:
    sys.stderr.write("starling demo: interrupted; everything was stopped\n")
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
