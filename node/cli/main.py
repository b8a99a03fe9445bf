"""The command `starling`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Sequence

from node import VERSION
from node.cli.commands import (
    audit,
    bench,
    completion,
    config,
    demo,
    init,
    install,
    job,
    keys,
    logs,
    metrics,
    peers,
    report,
    status,
    watch,
)
from node.cli.exits import BUG, INTERRUPTED, OK, exit_code
from node.cli.formats import clean
from node.cli.invocation import Invocation
from node.cli.parser import Commands, root_parser
from protocol.errors import StarlingError

GROUPS = (
    init,
    install,
    config,
    status,
    peers,
    job,
    watch,
    report,
    logs,
    metrics,
    keys,
    audit,
    bench,
    demo,
    completion,
)


def build_parser() -> ArgumentParser:
    """The whole command line."""
    parser = root_parser()
    parser.add_argument("--version", action="version", version=f"starling {VERSION}")
    commands = Commands(parser)
    for group in GROUPS:
        group.register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; its exit code (see `exits`)."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and not getattr(arguments, "takes_rest", False):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    call = Invocation(arguments, rest)
    try:
        code: int | None = arguments.run(call)
        sys.stdout.flush()
        return code or OK
    except StarlingError as error:
        complain(error, as_json=call.out.as_json)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception:
        traceback.print_exc()
        sys.stderr.write("starling: this is a bug; please report the lines above\n")
        return BUG


def complain(error: StarlingError, *, as_json: bool) -> None:
    """One line and the remedy, or the same as JSON, to standard error."""
    what, remedy = clean(error.what), clean(error.remedy)
    if as_json:
        told = {"error": what, "remedy": remedy, "exit": exit_code(error)}
        sys.stderr.write(json.dumps(told, ensure_ascii=False) + "\n")
        return
    sys.stderr.write(f"starling: {what}\n")
    if remedy:
        sys.stderr.write(f"  → {remedy}\n")


if __name__ == "__main__":
    sys.exit(main())
