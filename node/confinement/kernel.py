"""What keeps a worker to what it needs, and what operators are told of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import lru_cache

from node.confinement import landlock, seccomp


@dataclass(frozen=True)
class Kept:
    """Landlock's ABI version (0: there is none), and whether system calls are filtered; `wanted` at all?"""

    landlock: int
    seccomp: bool
    wanted: bool = True

    @property
    def missing(self) -> str:
        """What a worker can reach nevertheless, and why; empty where it is kept to what it needs."""
        if not self.wanted:
            return "learning.confine is false: it reaches this user's files, processes and the network"
        if not self.landlock:
            network = "" if self.seccomp else ", and the network"
            return f"{platform.system()} {platform.release()} offers no Landlock: this user's files{network}"
        if not self.seccomp:
            return (
                f"system calls of {platform.machine()} cannot be filtered here: UDP, and this user's sockets"
            )
        return ""

    def __str__(self) -> str:
        if self.missing:
            return f"not confined ({self.missing})"
        return f"confined (Landlock ABI {self.landlock}, no network)"


@lru_cache
def kernel() -> Kept:
    """What this kernel offers."""
    return Kept(landlock.abi(), seccomp.machine() is not None)
