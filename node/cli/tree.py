"""The whole command line as data, read from its parser: completion and manual pages are made from it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """An option or, without `flags`, an argument that stands by itself; `value` is empty for a switch."""

    flags: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...] = ()
    required: bool = True
    many: bool = False

    @property
    def usage(self) -> str:
        """As a synopsis shows it."""
        shown = " ".join([*self.flags[-1:], *([self.value] if self.value else [])])
        shown += " …" if self.many else ""
        return shown if self.required else f"[{shown}]"


@dataclass(frozen=True)
class Command:
    """A command: the words that call it, what it does, and the commands below it."""

    words: tuple[str, ...]
    summary: str
    description: str
    epilog: str
    options: tuple[Option, ...]
    below: tuple[Command, ...]

    def walk(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for each in self.below:
            yield from each.walk()


def tree(parser: argparse.ArgumentParser, summary: str = "", words: tuple[str, ...] = ()) -> Command:
    """What `parser` understands; that of a command which parses for itself is asked for its own."""
    own = parser.get_default("own_parser")
    read = own() if own is not None else parser
    below: list[Command] = []
    options: list[Option] = []
    for action in read._actions:  # argparse offers no public way to read a parser
        if isinstance(action, argparse._SubParsersAction):
            told = {each.dest: each.help or "" for each in action._choices_actions}
            below = [tree(each, told.get(name, ""), (*words, name)) for name, each in action.choices.items()]
        else:
            options.append(_option(action))
    return Command(words, summary, read.description or "", read.epilog or "", tuple(options), tuple(below))


def _option(action: argparse.Action) -> Option:
    choices = tuple(str(each) for each in action.choices or ())
    names = f"{{{','.join(choices)}}}" if choices else action.dest.upper()
    value = "" if action.nargs == 0 else _text(action.metavar) or names
    return Option(
        flags=tuple(action.option_strings),
        value=value,
        help=(action.help or "") % {"default": action.default, "prog": "starling"},
        choices=choices,
        required=action.required or (not action.option_strings and action.nargs not in ("?", "*")),
        many=action.nargs in ("+", "*"),
    )


def _text(metavar: str | tuple[str, ...] | None) -> str:
    return " ".join(metavar) if isinstance(metavar, tuple) else metavar or ""
