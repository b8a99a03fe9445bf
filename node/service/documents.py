"""Manual pages and shell completion, made for the version that is installed, and where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from node.cli import completions
from node.cli.main import build_parser
from node.cli.manual import starling_page, starlingd_page
from node.cli.parser import starlingd_parser
from node.cli.tree import tree

SHARE = Path("/usr/local/share")
"""Where the shells and man(1) look for what the administrator installed."""


def manuals_and_completions() -> Iterator[tuple[Path, str]]:
    """Every file's place on the machine, and its text."""
    command = tree(build_parser())
    yield SHARE / "man/man1/starling.1", starling_page(command)
    yield SHARE / "man/man8/starlingd.8", starlingd_page(tree(starlingd_parser()))
    yield SHARE / "bash-completion/completions/starling", completions.bash(command) + "\n"
    yield SHARE / "zsh/site-functions/_starling", completions.zsh(command) + "\n"
    yield SHARE / "fish/vendor_completions.d/starling.fish", completions.fish(command) + "\n"
