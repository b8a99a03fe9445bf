"""Gives up what a worker does not need, then becomes the worker: nothing of it has run before.

python -I -S launch.py, with what to give up in the environment (see `confine`). It ends with an error if
the kernel does not do what it said it could: a worker is never less confined than the node believes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

VARIABLE = "STARLING_CONFINEMENT"


def main() -> None:
    """Confine this process and become the program that the variable names."""
    wanted = json.loads(os.environ.pop(VARIABLE))
    sys.path.append(str(Path(__file__).parents[2]))
    from node.confinement import landlock, privileges, seccomp

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    privileges.give_up_privileges()
    if wanted["landlock"]:
        landlock.restrict(wanted["landlock"], wanted["rules"], network=wanted["network"])
    known = seccomp.machine()
    if wanted["seccomp"] and known is None:
        raise OSError("there are no filters of system calls any more")
    if wanted["seccomp"] and known is not None:
        seccomp.install(seccomp.program(known, network=wanted["network"]))
    os.execv(sys.executable, [sys.executable, *wanted["arguments"]])  # noqa: S606 (no shell is wanted)


if __name__ == "__main__":
    main()
