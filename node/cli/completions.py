"""Completion of `starling` for bash, zsh and fish, made from the command line itself.

Each script walks the words before the cursor to the command that they name, and offers what may follow.
"""

from __future__ import annotations

from collections.abc import Iterator

from node.cli.tree import Command, Option

_BASH = """\
# Completion of `starling` for bash. Load it with: source <(starling completion bash)
_starling() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" at="" each
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$at/$each" in
            {paths}) at="$at/$each" ;;
        esac
    done
    local words=""
    case "$at $before" in
{values}
        *) case "$at" in
{words}
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [[ ${{#COMPREPLY[@]}} -eq 0 ]]; then
        compopt -o default
    fi
}}
complete -F _starling starling"""

_ZSH = """\
#compdef starling
# Completion of `starling` for zsh. Keep it as _starling in a folder of $fpath.
_starling() {{
    local at="" each
    for each in "${{(@)words[2,CURRENT-1]}}"; do
        case "$at/$each" in
            ({paths}) at="$at/$each" ;;
        esac
    done
    local -a commands options values
    case "$at ${{words[CURRENT-1]}}" in
{values}
    esac
    case "$at" in
{words}
    esac
    if (( $#values )); then
        [[ $values[1] == FILE ]] && _files || compadd -a values
    elif [[ $PREFIX == -* ]]; then
        _describe -o option options
    elif (( $#commands )); then
        _describe command commands
    else
        _files
    fi
}}
if [[ $funcstack[1] == _starling ]]; then
    _starling "$@"
else
    compdef _starling starling
fi"""

_FISH = """\
# Completion of `starling` for fish. Load it with: starling completion fish | source
function __starling_at
    set -l at ""
    for each in (commandline -opc)[2..]
        contains -- "$at/$each" {paths}; and set at "$at/$each"
    end
    test "$at" = "$argv[1]"
end
{lines}"""


def bash(command: Command) -> str:
    """The script for bash."""
    cases = []
    for each in command.walk():
        offered = [below.words[-1] for below in each.below] + [_long(option) for option in _flagged(each)]
        cases.append(f"            {_at(each)}) words={_quoted(' '.join(offered))} ;;")
    values = [
        f"        {places}) words={_quoted(' '.join(option.choices))} ;;"
        for places, option in _valued(command)
    ]
    return _BASH.format(paths=_paths(command, "|"), words="\n".join(cases), values="\n".join(values))


def zsh(command: Command) -> str:
    """The script for zsh."""
    cases = []
    for each in command.walk():
        commands = [_described(below.words[-1], below.summary) for below in each.below]
        options = [_described(_long(option), option.help) for option in _flagged(each)]
        offered = f"commands=({' '.join(commands)}); options=({' '.join(options)})"
        cases.append(f"        ({_at(each)}) {offered} ;;")
    values = [
        f"        ({places}) values=({' '.join(option.choices) or 'FILE'}) ;;"
        for places, option in _valued(command)
    ]
    return _ZSH.format(paths=_paths(command, "|"), words="\n".join(cases), values="\n".join(values))


def fish(command: Command) -> str:
    """The script for fish."""
    lines = []
    for each in command.walk():
        here = f'complete -c starling -n "__starling_at {_at(each)}"'
        for below in each.below:
            lines.append(f"{here} -f -a {below.words[-1]} -d {_quoted(below.summary)}")
        for option in _flagged(each):
            takes = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r"
            line = f"{here} -l {_long(option).removeprefix('--')}{takes if option.value else ''}"
            lines.append(f"{line} -d {_quoted(option.help)}")
    return _FISH.format(paths=_paths(command, " "), lines="\n".join(lines))


def _flagged(command: Command) -> Iterator[Option]:
    """The options of a command that have a long name."""
    return (option for option in command.options if any(flag.startswith("--") for flag in option.flags))


def _long(option: Option) -> str:
    return next(flag for flag in option.flags if flag.startswith("--"))


def _valued(command: Command) -> Iterator[tuple[str, Option]]:
    """Every option that takes a value, with the places after which its value stands, as a shell's pattern."""
    for each in command.walk():
        for option in _flagged(each):
            if option.value:
                yield "|".join(_quoted(f"{_path(each)} {flag}") for flag in option.flags), option


def _path(command: Command) -> str:
    return "".join(f"/{word}" for word in command.words)


def _at(command: Command) -> str:
    return _quoted(_path(command))


def _paths(command: Command, between: str) -> str:
    return between.join(_at(each) for each in command.walk() if each.words)


def _described(name: str, what: str) -> str:
    """A word with what it means, for zsh's _describe, which parts them at a colon."""
    return _quoted(f"{name}:{what}".replace("\\", "\\\\"))


def _quoted(text: str) -> str:
    """A word that all three shells take as it stands: help that has an apostrophe gets a typographic one."""
    return "'" + text.replace("'", "’") + "'"
