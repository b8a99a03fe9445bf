"""Model-checks the specification: `python -m node.audit.models [--fast|--all|NAME…] [--mutants] [--json]`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from node.audit.manifest import Model, Mutant, models, mutants
from node.audit.tlc import Limits, Outcome, TlcUnavailable, Verdict, run_tlc, specification

FAST = Limits(seconds=600.0, heap_mb=1536, short=True)
LONG = Limits(seconds=14_400.0, heap_mb=6144)
JOBS = 2
"""Models checked at once; each is a Java process of one worker."""


@dataclass(frozen=True)
class Report:
    """Whether a model or mutant did what its entry says, and what TLC found."""

    name: str
    kind: str  # "model" or "mutant"
    ok: bool
    why: str  # what was expected and not found; empty when ok
    outcome: Outcome


def check_model(model: Model, limits: Limits | None = None) -> Report:
    """Runs `model` and compares verdict, number of states and depth with its entry."""
    outcome = run_tlc(
        model.module, model.config(), limits=limits or _limits(model.fast), options=_options(model)
    )
    return Report(model.name, "model", not (why := _differs(model, outcome)), why, outcome)


def check_mutant(mutant: Mutant, limits: Limits | None = None) -> Report:
    """Runs the mutant's model for the property it must break, and nothing else; the counterexample must
    be as long as its entry says."""
    base = models()[mutant.model]
    model = dataclasses.replace(base, constants={**base.constants, **mutant.constants})
    outcome = run_tlc(
        model.module,
        model.config(only=mutant.breaks),
        sources=mutant.apply(specification()),
        limits=limits or _limits(mutant.fast),
        options=_options(model),
    )
    return Report(mutant.name, "mutant", not (why := _survives(mutant, outcome)), why, outcome)


def _survives(mutant: Mutant, outcome: Outcome) -> str:
    if outcome.verdict not in {Verdict.INVARIANT, Verdict.PROPERTY}:
        return f"survived: {mutant.breaks} was not violated ({outcome.verdict.value})"
    if outcome.verdict is Verdict.PROPERTY:
        return ""  # the behaviour that TLC shows for a property of all behaviours need not be the shortest
    if mutant.counterexample not in {None, outcome.depth}:
        return f"a counterexample of {outcome.depth} states, expected {mutant.counterexample}"
    return ""


def _limits(fast: bool) -> Limits:
    return FAST if fast else LONG


def _options(model: Model) -> Sequence[str]:
    if model.simulate is None:
        return ()
    run = model.simulate
    return ("-simulate", f"num={run.behaviours}", "-depth", str(run.depth), "-seed", str(run.seed))


def _differs(model: Model, outcome: Outcome) -> str:
    if model.violates is not None:
        temporal = model.violates in model.properties  # of those TLC does not say which it was
        found = outcome.verdict is Verdict.PROPERTY if temporal else outcome.violated == model.violates
        return "" if found else f"{model.violates} must be violated, found: {outcome.verdict.value}"
    if outcome.verdict is not Verdict.PASSED:
        return f"{outcome.verdict.value}: {outcome.violated or 'see the output'}"
    for what, expected, counted in (
        ("states", model.states, outcome.distinct),
        ("depth", model.depth, outcome.depth),
    ):
        if expected is not None and expected != counted:
            return f"{counted} {what}, expected {expected}"
    return ""


def run(
    chosen_models: Sequence[Model], chosen_mutants: Sequence[Mutant], jobs: int = JOBS
) -> Iterator[Report]:
    """Checks all, `jobs` at a time; reports come in the order given."""
    with ThreadPoolExecutor(jobs) as pool:
        reports = [pool.submit(check_model, model) for model in chosen_models]
        reports += [pool.submit(check_mutant, mutant) for mutant in chosen_mutants]
        for report in reports:
            yield report.result()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m node.audit.models", description="Model-check Starling.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="models or mutants; default: the fast ones")
    parser.add_argument("--all", action="store_true", help="also the long models and mutants")
    parser.add_argument("--fast", action="store_true", help="the fast models and mutants (the default)")
    parser.add_argument("--mutants", action="store_true", help="mutants only")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--config", action="store_true", help="print the configurations for TLC instead")
    return parser


def _chosen(options: argparse.Namespace) -> tuple[list[Model], list[Mutant]]:
    known = {**models(), **mutants()}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        raise SystemExit(f"no model or mutant named {', '.join(unknown)}; there are: {', '.join(known)}")

    def wanted(item: Model | Mutant) -> bool:
        return item.name in options.names if options.names else options.all or item.fast

    only_mutants = options.mutants and not options.names
    return (
        [] if only_mutants else [model for model in models().values() if wanted(model)],
        [mutant for mutant in mutants().values() if wanted(mutant)],
    )


def _line(report: Report) -> str:
    out = report.outcome
    verdict = "ok" if report.ok else f"FAILED: {report.why}"
    what = "killed by" if report.kind == "mutant" else "states"
    found = (out.violated or out.verdict.value) if report.kind == "mutant" else f"{out.distinct:,}"
    return f"{report.name:26} {what} {found:24} depth {out.depth:4} {out.seconds:7.1f} s  {verdict}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all as expected, 1 something was not, 2 TLC could not be run."""
    options = _parser().parse_args(arguments)
    chosen = _chosen(options)
    if options.config:
        for model in chosen[0]:
            print(f"\\* {model.name}: {model.module}\n{model.config()}")
        return 0
    total, failed = len(chosen[0]) + len(chosen[1]), 0
    try:
        for done, report in enumerate(run(*chosen), 1):
            failed += not report.ok
            print(_json(report) if options.json else f"{done:3}/{total} {_line(report)}", flush=True)
            if not report.ok:
                print(report.outcome.tail(), file=sys.stderr)
    except TlcUnavailable as missing:
        print(missing, file=sys.stderr)
        return 2
    return 1 if failed else 0


def _json(report: Report) -> str:
    out = report.outcome
    return json.dumps(
        {
            "name": report.name,
            "kind": report.kind,
            "ok": report.ok,
            "why": report.why,
            "verdict": out.verdict.value,
            "violated": out.violated,
            "states": out.distinct,
            "depth": out.depth,
            "seconds": round(out.seconds, 1),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
