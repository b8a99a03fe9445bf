"""Programs that hold keys or private data are not dumped, and not read by others of their user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.keys import create_keys

SAY = """
import ctypes, resource, sys

def say(*given):
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE), flush=True)
    sys.exit(0)
"""
PROGRAMS = {
    "starlingd": "import node.daemon as d\nd.trio.run = say\nsys.argv[1:] = ['--config', PATH]\nd.main()",
    "learner": "import node.learning.worker as w\nw.private_pipe = say\nw.main()",
    "crypto worker": "import node.crypto.worker as w\nw.private_pipe = say\nw.main()",
}


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
@pytest.mark.parametrize("program", PROGRAMS)
def test_before_it_has_a_key_or_data_it_cannot_be_dumped(tmp_path: Path, program: str):
    create_keys(tmp_path / "state")
    config = tmp_path / "node.toml"
    config.write_text("[node]\nname = 'x'\nstate = 'state'\n")
    code = SAY + PROGRAMS[program].replace("PATH", repr(str(config)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "0 (0, 0)\n", done.stderr
