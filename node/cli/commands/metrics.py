"""`starling metrics`: the node's figures for Prometheus."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from node.cli.exits import OK, UNREACHABLE
from node.cli.invocation import Invocation
from node.cli.parser import Commands
from node.control.errors import Unreachable
from protocol.errors import OperatorFault


def register(commands: Commands) -> None:
    parser = commands.add(
        "metrics",
        run,
        "the node's figures in the text format of Prometheus",
        "For the textfile collector of node_exporter, from a timer of every minute.\n"
        "Where no node answers it says `starling_up 0`, and the exit code is 3.",
        examples=("starling metrics --out /var/lib/prometheus/node-exporter/starling.prom",),
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there, whole or not at all")


def run(call: Invocation) -> int:
    from node.metrics import DOWN, collect, text

    config, code = call.config(), OK
    try:
        with call.node() as node:
            samples = collect(node, config.node.state)
    except Unreachable:
        samples, code = list(DOWN), UNREACHABLE
    if call.arguments.out:
        _write(call.arguments.out, text(samples))
    told = [{"name": each.name, "labels": dict(each.labels), "value": each.value} for each in samples]
    if call.out.as_json or not call.arguments.out:
        call.out.show(told, lambda: print(text(samples), end=""))
    return code


def _write(path: Path, content: str) -> None:
    """Readable by everyone, for another user's collector; it never sees half a file."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise OperatorFault(
            f"{path} cannot be written: {error.strerror}", remedy="name another file"
        ) from error
