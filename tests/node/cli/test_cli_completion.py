"""Completion, as bash itself carries it out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from node.cli.commands.completion import script
from node.cli.main import build_parser


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "starling.bash"
    path.write_text(script(build_parser()))
    return path


def completed(file: Path, line: str) -> set[str]:
    """What bash offers after this line."""
    words = line.split(" ")
    program = (
        f"source {file}; compopt() {{ :; }}; COMP_WORDS=({' '.join(repr(word) for word in words)}); "
        f"COMP_CWORD={len(words) - 1}; _starling; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    told = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert told.stderr == ""
    return set(told.stdout.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("starling st", {"status", "storage"}),
        ("starling job ex", {"export"}),
        ("starling job show 3fe1 --js", {"--json"}),
        ("starling --json peers r", {"remove"}),
        ("starling logs --fol", {"--follow"}),
        ("starling job decline --re", {"--reason"}),
        ("starling completion ", {"bash", "--help", "--json", "--config", "--socket"}),
        ("starling nonsense", set()),
    ],
)
def test_words_are_offered_where_they_may_stand(file: Path, line: str, offered: set[str]):
    assert completed(file, line) == offered


def test_the_command_prints_it(starling, file: Path):
    assert starling("completion", "bash").out == file.read_text() + "\n"
