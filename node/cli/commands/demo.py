"""`starling demo`: a whole cohort on this machine."""

from __future__ import annotations

from node.cli.invocation import Invocation
from node.cli.parser import Commands


def register(commands: Commands) -> None:
    commands.delegate("demo", run, "train MNIST across real daemons on this machine, with no coordinator")


def run(call: Invocation) -> int:
    from node.demo import main

    code: int = main(call.rest)
    return code
