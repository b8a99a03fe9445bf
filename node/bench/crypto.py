"""How fast the cryptography is on this machine: python -m node.bench crypto [--profile fast] [--keys 2048].

Measures every operation of a round on one update, with the AVX-512 kernel where the CPU has it and with the
GMP fallback, on one core and split over several, beside `phe` as shipped (one number per ciphertext), `phe`
with the same packing, and single calls of gmpy2. Ratios compare CPU seconds, which other programs on a busy
machine stretch far less than wall time. With --keys, also makes joint keys for 2, 3 and 5 members.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from node.bench import baselines, keys, operations, tables, targets
from node.bench.dealer import deal
from node.bench.report import Machine, Operations, Report
from protocol.crypto import kernel
from protocol.crypto.profiles import FAST, STANDARD
from protocol.errors import StarlingError
from protocol.thresholds import Thresholds

PARAMETERS = 100_000
PROFILES = {profile.name: profile for profile in (FAST, STANDARD)}
KEY_MEMBERS = (2, 3, 5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0, or 1 when a target was missed."""
    options = _parser().parse_args(arguments)
    try:
        report = _measure(options)
    except StarlingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(asdict(report) | {"targets": [target.as_json() for target in report.targets]}))
    else:
        tables.show(report)
    return 0 if all(target.reached for target in report.targets) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="starling bench crypto", description=__doc__.split("\n\n")[1], allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--profile", choices=PROFILES, default=FAST.name, help="key size (default: fast)")
    parser.add_argument("--members", type=int, default=3, metavar="N", help="of the joint key (default: 3)")
    parser.add_argument("--parameters", type=int, default=PARAMETERS, metavar="COUNT", help="in an update")
    parser.add_argument("--cores", type=int, default=2, metavar="COUNT", help="to split over (default: 2)")
    parser.add_argument("--keys", type=int, nargs="+", default=[], metavar="BITS", help="make joint keys")
    parser.add_argument("--key-members", type=int, nargs="+", default=KEY_MEMBERS, metavar="N")
    parser.add_argument("--runs", type=int, default=3, help="of every key generation (default: 3)")
    parser.add_argument("--only-keys", action="store_true", help="measure key generation alone")
    return parser


def _say(text: str) -> None:
    """Progress, on a line of its own that the next one replaces."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _measure(options: argparse.Namespace) -> Report:
    report = Report(_machine())
    if not options.only_keys:
        report.operations = _operations(options)
        report.targets += targets.of_operations(report.operations)
    for bits in options.keys:
        for members in options.key_members:
            report.keys.append(keys.generate(members, bits, options.runs, _say))
    report.targets += targets.of_keys(report.keys)
    report.load_after = os.getloadavg()[0]
    _say("")
    return report


def _machine() -> Machine:
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        kernel=kernel.available()[0],
        python=platform.python_version(),
        load=os.getloadavg()[0],
    )


def _processor() -> str:
    """Linux tells the model only here."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _operations(options: argparse.Namespace) -> Operations:
    _say("making a key and an update")
    threshold = Thresholds.default(options.members).shares
    dealt = deal(PROFILES[options.profile], options.members, threshold)
    case = operations.prepare(dealt, options.parameters)
    _say("phe and gmpy2")
    return Operations(
        case.facts,
        shipped=baselines.phe_as_shipped(dealt, case.update["weights"].tolist()),
        packed=baselines.phe_packed(dealt, case.plaintexts),
        gmp=baselines.plain_gmp(dealt, case.ciphertexts),
        measured=[
            operations.measure(case, backend, cores, _say)
            for backend in kernel.available()
            for cores in sorted({1, options.cores})
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
