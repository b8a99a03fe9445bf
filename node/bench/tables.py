"""The report for people: tables, drawn on a terminal, plain elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.bench.baselines import SAMPLE, SHIPPED_SAMPLE
from node.bench.report import Generations, Measured, Operations, Report, Target
from node.bench.targets import TWO_CORES
from node.cli.output import Column, Output

MILLION = 1_000_000

TITLES = {
    "encode": "quantise and pack",
    "encrypt": "encrypt",
    "prove": "prove plaintexts",
    "verify": "verify plaintexts",
    "prove range": "prove ranges",
    "verify range": "verify ranges",
    "add": "add",
    "partial decrypt": "partial decrypt",
    "prove share": "prove share",
    "verify share": "verify share",
    "combine": "combine",
}
COMPARED = {"encrypt": "encrypt", "add": "add", "partial decrypt": "decrypt"}
"""Our operations and those of others beside them. A decryption of phe is a whole one, with the factors."""


def show(report: Report) -> None:
    """Print everything."""
    output, machine = Output(as_json=False), report.machine
    print(
        f"{machine.processor}, {machine.cores} cores; fastest kernel {machine.kernel}; Python "
        f"{machine.python}; load average {machine.load:.1f} before, {report.load_after:.1f} after"
    )
    if report.operations is not None:
        _operations(output, report.operations)
    if report.keys:
        _keys(output, report.keys)
    if report.targets:
        _targets(output, report.targets)


def _operations(output: Output, given: Operations) -> None:
    facts, single = given.facts, list(given.on_one_core().values())
    print(
        f"\nAn update of {facts.parameters:,} parameters of 16 bits is {facts.ciphertexts:,} ciphertexts "
        f"under a key of {facts.modulus_bits} bits; {facts.members} members, {facts.threshold} decrypt.\n"
        f"phe as shipped has a ciphertext for every parameter: measured on {SHIPPED_SAMPLE} and scaled; "
        f"phe packed and single calls of gmpy2 on {SAMPLE} ciphertexts."
    )
    print(
        f"In a ranged round it is {single[0].ranged_ciphertexts:,} ciphertexts, and "
        f"{single[0].range_proof / facts.parameters:.2f} bytes of range proof per parameter."
    )
    print("\nMilliseconds of CPU per ciphertext, one core")
    output.table(_rows(given, single, 1e3, 1e3), _columns(single), "")
    print("\nSeconds of CPU per million parameters, one core")
    output.table(_rows(given, single, facts.per_parameter * MILLION, MILLION), _columns(single), "")
    for one in single:
        for more in given.measured:
            if more.backend == one.backend and more.cores > 1:
                _cores(output, one, more)


def _rows(
    given: Operations, single: Sequence[Measured], scale: float, shipped: float
) -> list[dict[str, Any]]:
    rows = []
    for name, title in TITLES.items():
        row: dict[str, Any] = {"operation": title}
        row |= {each.backend: each.costs[name].cpu * scale for each in single}
        if name in COMPARED:
            ours, theirs = row[single[0].backend], COMPARED[name]
            row["gmpy2"] = getattr(given.gmp, theirs).cpu * scale
            row["packed"] = getattr(given.packed, theirs).cpu * scale
            row["shipped"] = getattr(given.shipped, theirs).cpu * shipped
            row |= {f"{key} ratio": row[key] / ours for key in ("gmpy2", "packed", "shipped")}
        rows.append(row)
    return rows


def _columns(single: Sequence[Measured]) -> list[Column]:
    columns = [_text("operation"), *(_number(each.backend, each.backend) for each in single)]
    for title, key in (("gmpy2 calls", "gmpy2"), ("phe packed", "packed"), ("phe as shipped", "shipped")):
        columns += [_number(title, key), _number(f"/ {single[0].backend}", f"{key} ratio", "×")]
    return columns


def _cores(output: Output, one: Measured, more: Measured) -> None:
    """How much sooner several cores are done: as measured, and by the CPU time of the busiest worker."""
    rows = [
        {
            "operation": title,
            "one": one.costs[name].wall * 1e3,
            "more": more.costs[name].wall * 1e3,
            "wall": one.costs[name].wall / more.costs[name].wall,
            "path": one.costs[name].cpu / more.costs[name].path,
        }
        for name, title in TITLES.items()
    ]
    kind = "processes" if one.backend == "gmp" else "threads"
    print(f"\nMilliseconds of wall time per ciphertext, {one.backend}, split over {more.cores} {kind}")
    columns = [_text("operation"), _number("one core", "one"), _number(f"{more.cores} cores", "more")]
    columns += [_number("faster", "wall", "×"), _number("by CPU of the busiest", "path", "×")]
    output.table(rows, columns, "")


def _keys(output: Output, made: Sequence[Generations]) -> None:
    rows = [
        {
            "members": each.members,
            "bits": each.bits,
            "runs": len(each.runs),
            "wall": each.wall,
            "cpu": each.cpu,
            "idle": each.idle_wall(TWO_CORES),
            "tried": max(run.tried for run in each.runs),
            "rounds": max(run.rounds for run in each.runs),
            "sent": max(run.sent for run in each.runs) / 1e6,
        }
        for each in made
    ]
    print("\nKey generation, each member in its own process; medians in seconds")
    columns = [_number(name, name) for name in ("members", "bits", "runs", "wall")]
    columns += [_number("CPU of all", "cpu"), _number("two idle cores", "idle")]
    columns += [_number("most tried", "tried"), _number("most rounds", "rounds"), _number("most MB", "sent")]
    output.table(rows, columns, "")


def _targets(output: Output, targets: Sequence[Target]) -> None:
    rows = [
        {
            "claim": target.claim,
            "bound": f"{'≥' if target.floor else '≤'} {_digits(target.bound)}{target.unit}",
            "measured": f"{_digits(target.measured)}{target.unit}",
            "verdict": "pass" if target.reached else "FAIL",
        }
        for target in targets
    ]
    print("\nTargets")
    output.table(rows, [_text(name) for name in ("claim", "bound", "measured", "verdict")], "")


def _text(key: str) -> Column:
    return Column(key, lambda row: str(row[key]))


def _number(title: str, key: str, unit: str = "") -> Column:
    return Column(title, lambda row: f"{_digits(row[key])}{unit}" if key in row else "", right=True)


def _digits(number: float) -> str:
    """At least three significant digits, without an exponent."""
    if number >= 100 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.3g}" if number >= 0.001 else f"{number:.5f}"
