"""Manual pages, made from the command line itself, in the macros of man(7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from node import VERSION
from node.cli.exits import MEANINGS
from node.cli.invocation import CONFIG_VARIABLE, SOCKET_VARIABLE, SYSTEM_CONFIG
from node.cli.tree import Command, Option

EVERYWHERE = ("--help", "--json", "--config", "--socket")
"""Options of every command, which the page describes once."""

FILES = {
    str(SYSTEM_CONFIG): "the configuration of the system's node; every key is documented in it",
    "~/.config/starling/node.toml": "that of a user's own node",
    "/var/lib/starling": "state of the system's node: keys, journal, peer book, objects",
    "/run/starling/control.sock": "its control socket, for its own user and root",
}
ENVIRONMENT = {
    CONFIG_VARIABLE: "the configuration, where --config is not given",
    SOCKET_VARIABLE: "the control socket, where --socket is not given",
    "NO_COLOR": "starling logs does not colour lines where it is set",
}
SERVICE_FILES = {name: FILES[name] for name in (str(SYSTEM_CONFIG), "/var/lib/starling")}
CREDENTIALS = {"CREDENTIALS_DIRECTORY": "where the service manager puts the keys that it decrypted"}


def starling_page(command: Command) -> str:
    """starling(1)."""
    lines = [*_title("starling", 1, "operate a Starling node"), ".SH SYNOPSIS"]
    lines += [".B starling", "[\\fIoption\\fR ...] \\fIcommand\\fR [\\fIargument\\fR ...]"]
    lines += [".SH DESCRIPTION", *_text(command.description), ".PP", *_text(_CONFIGURATION)]
    lines += [".SH OPTIONS", *_options(option for option in command.options if _common(option))]
    lines.append(".SH COMMANDS")
    for each in command.walk():
        if each.words and not each.below:
            lines += _command(each)
    codes = {str(code): meaning for code, meaning in MEANINGS.items()}
    lines += [".SH EXIT STATUS", *_listed(codes)]
    lines += [".SH ENVIRONMENT", *_listed(ENVIRONMENT), ".SH FILES", *_listed(FILES)]
    lines += [".SH SEE ALSO", ".BR starlingd (8),", ".BR systemctl (1)"]
    return "\n".join(lines) + "\n"


def starlingd_page(command: Command) -> str:
    """starlingd(8)."""
    lines = [*_title("starlingd", 8, "the daemon of one Starling member"), ".SH SYNOPSIS", ".B starlingd"]
    lines += [_escaped(" ".join(option.usage for option in command.options))]
    lines += [".SH DESCRIPTION", *_text(command.description)]
    lines += [".SH OPTIONS", *_options(command.options), ".SH NOTES", *_asis(command.epilog)]
    lines += [".SH ENVIRONMENT", *_listed(CREDENTIALS), ".SH FILES", *_listed(SERVICE_FILES)]
    lines += [".SH SEE ALSO", ".BR starling (1),", ".BR systemd.exec (5)"]
    return "\n".join(lines) + "\n"


_CONFIGURATION = (
    "Commands talk to a running node through its control socket, which its configuration names. Those that "
    "need no node say so. Every command takes --json; a job is named by the first four or more digits of its "
    "digest."
)


def _title(name: str, section: int, what: str) -> list[str]:
    return [
        f'.TH {name.upper()} {section} "" "Starling {VERSION}" "Starling"',
        ".nh",
        ".SH NAME",
        f"{name} \\- {what}",
    ]


def _command(command: Command) -> Iterator[str]:
    own = [option for option in command.options if not _common(option)]
    usage = " ".join(option.usage for option in sorted(own, key=lambda each: not each.flags))
    yield f'.SS "{_escaped(" ".join(("starling", *command.words, usage)).strip())}"'
    yield from _text(command.description or f"{command.summary[:1].upper()}{command.summary[1:]}.")
    yield from _options(own)
    if command.epilog:
        yield from (".PP", *_asis(command.epilog))


def _common(option: Option) -> bool:
    return any(flag in EVERYWHERE for flag in option.flags)


def _options(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        names = ", ".join(f"\\fB{_escaped(flag)}\\fR" for flag in option.flags)
        value = f"\\fI{_escaped(option.value)}\\fR" if option.value else ""
        yield from (".TP", " ".join(filter(None, (names, value))), *_text(option.help))


def _listed(rows: dict[str, str]) -> Iterator[str]:
    for name, meaning in rows.items():
        yield from (".TP", f"\\fB{_escaped(name)}\\fR", *_text(meaning))


def _text(text: str) -> Iterator[str]:
    """Paragraphs, and lines that are indented as they stand."""
    for index, paragraph in enumerate(text.strip().split("\n\n")):
        if index:
            yield ".PP"
        indented = False
        for line in paragraph.split("\n"):
            if line.startswith(" ") != indented:
                indented = not indented
                yield ".nf" if indented else ".fi"
            yield _line(line)
        if indented:
            yield ".fi"


def _asis(text: str) -> list[str]:
    return [".nf", *(_line(line) for line in text.strip("\n").split("\n")), ".fi"]


def _line(line: str) -> str:
    """A line of text: one that begins with a control character must not be taken for a request."""
    shown = _escaped(line)
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
