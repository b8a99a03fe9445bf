"""The machine's own service manager."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from protocol.errors import OperatorFault

SECONDS = 120
"""For one command; stopping a service may take the time that its unit grants."""

RUNNING = Path("/run/systemd/system")
"""Is there where systemd is the service manager: sd_booted(3)."""


def check_machine() -> None:
    """Raise `OperatorFault` unless services can be installed here, by this user."""
    if os.geteuid() != 0:
        raise OperatorFault("only root may install a service", remedy="use sudo, or stage with --root DIR")
    if shutil.which("systemd-sysusers") is None or shutil.which("systemd-tmpfiles") is None:
        raise OperatorFault(
            "this machine has no systemd", remedy="run starlingd by the service manager there is"
        )


def run(*command: str) -> None:
    """Run a command of the service manager. Raises `OperatorFault` with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        raise OperatorFault(f"{' '.join(command)}: {done.stderr.strip()[-500:]}", remedy="mend what it says")


def is_running() -> bool:
    """Whether systemd manages this machine at this moment, as it does not in a chroot."""
    return RUNNING.exists()


def reload() -> None:
    """Let the service manager read its units again."""
    if is_running():
        run("systemctl", "daemon-reload")
