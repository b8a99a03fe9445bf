"""`starling demo`: a whole cohort on this machine."""

from __future__ import annotations

from argparse import ArgumentParser

from node.cli.invocation import Invocation
from node.cli.parser import Commands


def register(commands: Commands) -> None:
    summary = "train across real daemons on this machine, with no coordinator"
    commands.delegate("demo", run, summary, _parser)


def _parser() -> ArgumentParser:
    from node.demo.command import parser

    return parser()


def run(call: Invocation) -> int:
    from node.demo import main

    code: int = main(call.rest)
    return code
