"""`python -m simulation`: thousands of seeds, or one with a readable trace."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from simulation.runs import Report, run
from simulation.scenario import Wishes

BATCH = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if a seed broke an invariant."""
    options = _parser().parse_args(arguments)
    byzantine = {"yes": True, "no": False}.get(options.byzantine)
    wishes = Wishes(
        options.members,
        options.rounds,
        byzantine,
        options.faultless,
        options.real_crypto,
        options.silent,
        options.lies,
    )
    if options.seed is not None:
        report = run(options.seed, wishes, trace=print if options.trace else None, lines=options.lines)
        print(report)
        return 1 if report.broken else 0
    seeds = range(options.start, options.start + options.seeds)
    return _soak(seeds, wishes, options.jobs, options.lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds")
    parser.add_argument("--from", type=int, default=1, dest="start", metavar="K", help="the first seed")
    parser.add_argument("--seed", type=int, help="this seed only")
    parser.add_argument("--trace", action="store_true", help="tell what happens (with --seed)")
    parser.add_argument("--members", type=int, help="2 to 10, instead of what the seed draws")
    parser.add_argument("--rounds", type=int, help="rounds to open, instead of what the seed draws")
    parser.add_argument("--byzantine", choices=("yes", "no"), help="instead of what the seed draws")
    parser.add_argument("--faultless", action="store_true", help="no faults but Byzantine members")
    parser.add_argument("--real-crypto", action="store_true", help="Paillier at test size, not the stand-in")
    parser.add_argument("--silent", action="store_true", help="one member says nothing once the key is made")
    parser.add_argument("--lies", action="store_true", help="some hydra-nodes show another order")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--lines", metavar="DIR", help="write each member's event lines there")
    return parser


def reports(seeds: Sequence[int], wishes: Wishes, jobs: int, lines: str | None = None) -> Iterator[Report]:
    """One report per seed, as they come in, from `jobs` processes."""
    work = partial(run, wishes=wishes, lines=lines)
    if jobs == 1:
        yield from map(work, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(work, seeds, chunksize=BATCH)


def _soak(seeds: Sequence[int], wishes: Wishes, jobs: int, lines: str | None) -> int:
    console = Console(stderr=True)
    covered: Counter[str] = Counter()
    began, done, rounds, seconds, failed = time.monotonic(), 0, 0, 0.0, []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for report in reports(seeds, wishes, jobs, lines):
            progress.advance(task)
            done += 1
            if report.broken:
                failed.append(report)
                console.print(str(report), style="red", highlight=False)
                continue
            covered.update(report.covered)
            rounds += report.opened + report.burned
            seconds += report.seconds
            progress.update(task, description=f"seeds, {rounds} rounds, {len(failed)} failed")
    minutes = (time.monotonic() - began) / 60
    console.print(_coverage(covered))
    print(
        f"{done} seeds ({done / minutes:.0f} per minute), "
        f"{rounds} rounds ({rounds / minutes:.0f} per minute), "
        f"{seconds / 86400:.1f} simulated days, {len(failed)} failed"
    )
    return 1 if failed else 0


def _coverage(covered: Counter[str]) -> Table:
    table = Table("what happened", "times")
    for what, times in sorted(covered.items()):
        table.add_row(what, str(times))
    return table


if __name__ == "__main__":
    sys.exit(main())
