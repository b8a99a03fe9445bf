"""Memory that a key generation needed goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import os
from pathlib import Path
from node.memory import return_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

if {call}:
    return_large_blocks()
del (first := [bytes(30_000_000)])[:]
before = resident()
large, small = [], []
for n in range(32):
    large.append(bytes([n]) * 3_000_000)
    small.append(bytes([n]) * 3_000)
large.clear()
print(resident() - before)
"""


def _left(*, call: bool) -> int:
    """Bytes still resident after 96 MB in large blocks were freed, small ones between them not."""
    command = [sys.executable, "-c", SCRIPT.replace("{call}", str(call))]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_large_blocks_go_back_to_the_system():
    assert _left(call=True) < 10_000_000 < 50_000_000 < _left(call=False)
