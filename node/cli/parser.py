"""The parser: global options before or after the command, and a function for each command."""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path

from node.cli.exits import MEANINGS
from node.cli.invocation import SYSTEM_CONFIG, Invocation

Run = Callable[[Invocation], int | None]

PREFIX_HELP = "the first four or more digits of the job's digest"
OR_FOREMOST_HELP = f"{PREFIX_HELP} (default: the one that runs, or else the newest)"


def job_prefix(argument: str) -> str:
    """An argument that names a job."""
    if not re.fullmatch("[0-9a-fA-F]{4,64}", argument):
        raise ArgumentTypeError(f"{argument!r} is not four or more hexadecimal digits")
    return argument.lower()


def _common() -> ArgumentParser:
    """Options of every command. They have no defaults, so that a command keeps what came before it."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    group = parser.add_argument_group("everywhere")
    group.add_argument("--json", action="store_true", default=SUPPRESS, help="print JSON")
    group.add_argument(
        "--config", type=Path, default=SUPPRESS, metavar="FILE", help="the node's configuration"
    )
    group.add_argument(
        "--socket", type=Path, default=SUPPRESS, metavar="PATH", help="the node's control socket"
    )
    return parser


class Commands:
    """The commands below one parser."""

    def __init__(self, parser: ArgumentParser, *, required: bool = True) -> None:
        self._commands = parser.add_subparsers(metavar="COMMAND", required=required)

    def add(
        self, name: str, run: Run, summary: str, details: str = "", examples: Sequence[str] = ()
    ) -> ArgumentParser:
        """A command that `run` carries out; the parser for its arguments."""
        parser = self._commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.\n\n{details}".rstrip(),
            epilog="\n  ".join(["examples:", *examples]) if examples else None,
            parents=[_common()],
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.set_defaults(run=run)
        return parser

    def delegate(
        self, name: str, run: Run, summary: str, own_parser: Callable[[], ArgumentParser] | None = None
    ) -> None:
        """A command whose arguments, --help included, `run` finds unread in the invocation's `rest`.

        `own_parser` makes the parser that will read them, for completion and manual.
        """
        parser = self._commands.add_parser(name, help=summary, add_help=False, allow_abbrev=False)
        parser.set_defaults(run=run, takes_rest=True, own_parser=own_parser)

    def group(self, name: str, summary: str, run: Run | None = None) -> Commands:
        """A command with commands of its own; `run` is what it does without one."""
        parser = self._commands.add_parser(
            name, help=summary, description=summary, parents=[_common()], allow_abbrev=False
        )
        if run is not None:
            parser.set_defaults(run=run)
        return Commands(parser, required=run is None)


def root_parser() -> ArgumentParser:
    """`starling` without commands."""
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
    return ArgumentParser(
        prog="starling",
        description="Operate a Starling node: one model, trained where the data are, with no coordinator.",
        epilog=f"exit codes:\n{codes}\n\nThe configuration is the first of --config, $STARLING_CONFIG,\n"
        "~/.config/starling/node.toml and /etc/starling/node.toml.",
        parents=[_common()],
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def starlingd_parser() -> ArgumentParser:
    """The arguments of `starlingd`."""
    parser = ArgumentParser(
        prog="starlingd",
        description="The daemon of one Starling member. It serves until SIGTERM or SIGINT; what is in\n"
        "flight is in its journal, and goes on when it is started again.",
        epilog="exit codes:\n"
        "    0  stopped as asked, or --check found nothing wrong\n"
        "    1  the operator has to mend something, which is said\n"
        "    2  the command line is wrong\n\n"
        "Told by the service manager, it says READY=1 when all services run, and feeds its watchdog.\n"
        "Keys come from its credentials ($CREDENTIALS_DIRECTORY), else from the state directory.\n\n"
        "examples:\n"
        "  starlingd --config ~/starling/node.toml\n"
        "  starlingd --config /etc/starling/node.toml --check",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=SYSTEM_CONFIG,
        metavar="FILE",
        help=f"the node's configuration (default: {SYSTEM_CONFIG})",
    )
    parser.add_argument("--check", action="store_true", help="check configuration and keys, then exit")
    return parser
