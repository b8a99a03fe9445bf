"""Completion, as the shells themselves carry it out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from node.cli import completions
from node.cli.main import build_parser
from node.cli.tree import Command, tree

LINES = [
    ("starling st", {"status", "storage"}),
    ("starling job ex", {"export"}),
    ("starling job show 3fe1 --js", {"--json"}),
    ("starling --json peers r", {"remove"}),
    ("starling logs --fol", {"--follow"}),
    ("starling logs --level w", {"warning"}),
    ("starling job decline --re", {"--reason"}),
    ("starling demo --divi", {"--division"}),
    ("starling completion ", {"bash", "zsh", "fish"}),
]


@pytest.fixture(scope="module")
def command() -> Command:
    return tree(build_parser())


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def completed(shell: str, file: Path, line: str) -> set[str]:
    """What the shell offers after this line."""
    words = line.split(" ")
    listed, last = " ".join(repr(word) for word in words), len(words)
    programs = {
        "bash": f"source {file}; compopt() {{ :; }}; COMP_WORDS=({listed}); COMP_CWORD={last - 1}; "
        "_starling; printf '%s\\n' \"${COMPREPLY[@]}\"",
        # zsh completes at a prompt only: stand-ins print what its functions would be given
        "zsh": "compdef() { :; }; _files() { :; }; compadd() { print -l -- ${(P)2}; }; "
        "_describe() { print -l -- ${${(P)@[-1]}%%:*}; }; "
        f"source {file}; words=({listed}); CURRENT={last}; PREFIX={words[-1]!r}; _starling",
        "fish": f"source {file}; complete -C {line!r}",
    }
    told = subprocess.run([shell, "-c", programs[shell]], capture_output=True, text=True, check=True)
    assert told.stderr == ""
    offered = {row.split("\t")[0] for row in told.stdout.splitlines()}
    return {word for word in offered if word.startswith(words[-1])}


@pytest.mark.parametrize(("line", "offered"), LINES)
def test_words_are_offered_where_they_may_stand(
    shell: str, command: Command, tmp_path: Path, line: str, offered: set[str]
):
    file = tmp_path / "completion"
    file.write_text(getattr(completions, shell)(command))
    found = completed(shell, file, line)
    assert found >= offered
    assert not {"init", "nonsense"} & found


def test_nothing_is_offered_after_a_word_that_is_no_command(command: Command, tmp_path: Path):
    file = tmp_path / "completion"
    file.write_text(completions.bash(command))
    assert completed("bash", file, "starling job accept --json 3fe1 stat") == set()
    assert completed("bash", file, "starling report --out ") == {""}, "a file"


def test_the_commands_print_them(starling, command: Command):
    for shell in ("bash", "zsh", "fish"):
        assert starling("completion", shell).out == getattr(completions, shell)(command) + "\n"
