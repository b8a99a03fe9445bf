"""Which files make the service, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import node

SOURCES = Path(node.__file__).parents[1]
"""Where `systemd/` and `config/` lie: beside `node/`, in a checkout and where it is installed alike."""

SHIPPED_PREFIX = "/opt/starling"
"""The environment that the shipped units name."""

USER = "starling"
UNIT = "starlingd.service"
STATE, CACHE, SETTINGS = Path("/var/lib/starling"), Path("/var/cache/starling"), Path("/etc/starling")
LOGS = Path("/var/log/starling")
CONFIG = SETTINGS / "node.toml"
RECORD = SETTINGS / "installed.json"
SOCKET = "/run/starling/control.sock"
COMMAND = Path("/usr/local/bin/starling")


@dataclass(frozen=True)
class Part:
    """A file of the service: `source` below the sources, `place` on the machine."""

    source: str
    place: Path


SYSUSERS = Part("systemd/starling.sysusers.conf", Path("/etc/sysusers.d/starling.conf"))
TMPFILES = Part("systemd/starling.tmpfiles.conf", Path("/etc/tmpfiles.d/starling.conf"))
PARTS = (Part("systemd/starlingd.service", Path("/etc/systemd/system") / UNIT), SYSUSERS, TMPFILES)
GPU_PART = Part("systemd/starlingd-gpu.conf", Path("/etc/systemd/system") / f"{UNIT}.d" / "gpu.conf")


def within(root: Path, place: Path) -> Path:
    """Where `place` of the machine lies in the tree at `root`."""
    return root / place.relative_to("/")
