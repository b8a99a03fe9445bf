"""Learner, cryptography and network do their work with the system calls that the unit leaves them."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from node.confinement.kernel import kernel

ROOT = Path(__file__).parents[2]


def library_is_there() -> bool:
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not library_is_there(),
    reason="systemd-analyze or libseccomp is not installed here",
)


@cache
def calls_of(word: str) -> frozenset[str]:
    """The system calls in a set such as @system-service, or the one named."""
    if not word.startswith("@"):
        return frozenset({word})
    told = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", word], capture_output=True, text=True, check=True
    )
    words = re.findall(r"^ +([-@a-z_0-9]+)$", told.stdout, re.MULTILINE)
    return frozenset().union(*(calls_of(each) for each in words))


def allowed() -> frozenset[str]:
    """What the unit's lines leave, taken in their order."""
    left = calls_of("@default")
    unit = (ROOT / "systemd" / "starlingd.service").read_text()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        named = frozenset().union(*(calls_of(word) for word in line.lstrip("~").split()))
        left = left - named if line.startswith("~") else left | named
    return left


def test_the_lists_are_read_as_they_are_meant():
    assert {"read", "socket", "setpriority"} <= allowed()
    assert not {"mount", "reboot", "init_module", "ptrace", "chroot"} & allowed()


@pytest.mark.parametrize("work", ["train", "encrypt", "worker", "network"])
def test_it_works_with_what_the_unit_leaves(work: str):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("confined.py")), work],
        input="\n".join(sorted(allowed())),
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LANDLOCK_ABI": str(kernel().landlock)},
    )
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr
