"""`starling completion bash`: completion of commands and options, made from the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from node.cli.invocation import Invocation
from node.cli.parser import Commands

_SCRIPT = """\
# Completion of `starling` for bash. Load it with: source <(starling completion bash)
_starling() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" path="" each
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$path $each" in
            {paths}) path="$path $each" ;;
        esac
    done
    local words
    case "$path" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [[ ${{#COMPREPLY[@]}} -eq 0 ]]; then
        compopt -o default
    fi
}}
complete -F _starling starling"""


def register(commands: Commands) -> None:
    group = commands.group("completion", "completion for shells")
    group.add(
        "bash", bash, "print the completion for bash", "Load it with: source <(starling completion bash)"
    )


def bash(call: Invocation) -> None:
    from node.cli.main import build_parser

    print(script(build_parser()))


def script(parser: argparse.ArgumentParser) -> str:
    """The completion for `parser` and all its commands."""
    found = list(_walk(parser, ""))
    paths = "|".join(f'"{path}"' for path, _ in found if path)
    cases = "\n".join(f'        "{path}") words="{" ".join(words)}" ;;' for path, words in found)
    return _SCRIPT.format(paths=paths, cases=cases)


def _walk(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, list[str]]]:
    """Every command's path, and the words that may follow it."""
    words: list[str] = []
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # argparse offers no public way to read a parser
        words += [option for option in action.option_strings if option.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            below = dict(action.choices)
    yield path, [*below, *words]
    for name, each in below.items():
        yield from _walk(each, f"{path} {name}")
