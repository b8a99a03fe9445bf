"""`starling completion`: completion of commands and options, for three shells."""

from __future__ import annotations

from collections.abc import Callable

from node.cli import completions
from node.cli.invocation import Invocation
from node.cli.parser import Commands, Run
from node.cli.tree import Command, tree

SHELLS: dict[str, tuple[Callable[[Command], str], str]] = {
    "bash": (completions.bash, "source <(starling completion bash)"),
    "zsh": (completions.zsh, "starling completion zsh > ~/.zfunc/_starling   # a folder of your $fpath"),
    "fish": (completions.fish, "starling completion fish | source"),
}


def register(commands: Commands) -> None:
    group = commands.group("completion", "completion for shells; `starling install` puts all in place")
    for shell, (script, loading) in SHELLS.items():
        group.add(shell, _printer(script), f"print the completion for {shell}", examples=[loading])


def _printer(script: Callable[[Command], str]) -> Run:
    def run(call: Invocation) -> None:
        from node.cli.main import build_parser

        print(script(tree(build_parser())))

    return run
