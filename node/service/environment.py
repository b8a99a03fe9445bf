"""The Python environment that the service runs from: the one in use, or one made for it."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from node.service.layout import SOURCES
from protocol.errors import OperatorFault

UNSEEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  (nothing is written there)
"""Folders that the unit hides from the service."""

PIP_SECONDS = 3600
"""PyTorch is hundreds of megabytes, over whatever line the operator has."""


def running_environment() -> Path:
    """The environment of this command."""
    return Path(sys.prefix)


def check_prefix(prefix: Path) -> None:
    """Raise `OperatorFault` for an environment that the service could not see."""
    if not prefix.is_absolute():
        raise OperatorFault(f"{prefix} is not absolute", remedy="name the environment from / on")
    if (hidden := hider(prefix)) is not None:
        raise OperatorFault(
            f"the service cannot see {prefix}: its unit hides {hidden}",
            remedy="let it have an environment of its own, with --prefix /opt/starling",
        )


def check_interpreter() -> None:
    """Raise `OperatorFault` for an interpreter below an environment that the service could not see."""
    if (hidden := hider(Path(sys.base_prefix))) is not None:
        raise OperatorFault(
            f"the service cannot see the Python at {sys.base_prefix}: its unit hides {hidden}",
            remedy="install with the system's own: /usr/bin/python3 -m venv /opt/starling, and so on",
        )


def hider(place: Path) -> str | None:
    """The folder by which the unit hides `place` from the service; None where the service sees it."""
    return next((folder for folder in UNSEEN if place.is_relative_to(folder)), None)


def default_source() -> str:
    """What to install into a new environment: the checkout that this command runs from.

    Raises `OperatorFault` where it runs from none.
    """
    if not (SOURCES / "pyproject.toml").exists():
        raise OperatorFault(
            "this Starling does not run from a checkout, which --prefix would install",
            remedy="name a checkout, a wheel or a requirement with --source, or leave --prefix out",
        )
    return str(SOURCES)


def make_environment(prefix: Path, source: str, extras: str) -> None:
    """Make, or bring up to date, a virtual environment at `prefix` with Starling from `source`.

    `extras` are comma-separated names of optional dependencies. Raises `OperatorFault` with what pip said.
    """
    try:
        venv.create(prefix, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise OperatorFault(
            f"no environment can be made at {prefix}: {error}", remedy="on Debian: apt install python3-venv"
        ) from error
    wanted = f"{source}[{extras}]" if extras else source
    pip = [str(prefix / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(
        [*pip, "--upgrade", wanted], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PIP_SECONDS,
        check=False, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise OperatorFault(
            f"pip could not install {wanted}: {done.stdout.strip()[-600:]}",
            remedy="mend what it says, then install again",
        )
    if not (prefix / "bin" / "starlingd").exists():
        raise OperatorFault(f"{source} has no starlingd", remedy="name a checkout or wheel of Starling")
