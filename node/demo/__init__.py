"""`starling demo`: a whole cohort on this machine, with real parts, from nothing to a settled job."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Its parts are imported here, not above: the command line itself must start fast."""
    from node.demo.command import main as command

    return command(arguments)
