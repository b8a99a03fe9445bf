"""No start of a program leaves a library behind in the folder for temporary files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.keys import create_keys

PROGRAMS = {
    "starlingd": ["node.daemon", "--check", "--config", "node.toml"],
    "starling": ["node.cli.main", "--config", "node.toml", "config", "check"],
    "a crash": ["node.daemon", "--config", "nothing.toml"],
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, program: list[str]):
    temporary, home = tmp_path / "temporary", tmp_path / "home"
    temporary.mkdir()
    home.mkdir()
    create_keys(home / "state")
    (home / "node.toml").write_text("[node]\nname = 'x'\nstate = 'state'\n")
    path = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-m", *program], cwd=home, env=environment, capture_output=True)
    assert b"Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []
