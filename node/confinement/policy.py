"""What a worker needs: its paths, its environment, and the command that gives up all else and starts it."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.confinement import launch
from node.confinement.kernel import Kept, kernel
from node.confinement.landlock import READ, RUN, USE_DEVICE, WRITE, Rights

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/opt/rocm")
"""Programs and libraries."""

SETTINGS = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/mime.types", "/proc", "/sys"),
)
"""What libraries read of the machine. Other processes' memory and environment below /proc are out of reach
for a confined process, whoever owns them."""

NETWORK_SETTINGS = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/pip.conf", "/run/systemd/resolve"),
)

PACKAGES = ("node", "protocol")

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
ACCELERATORS = ("/dev/nvidia*", "/dev/dri", "/dev/kfd", "/dev/dxg")
SHARED_MEMORY = "/dev/shm"  # noqa: S108

VARIABLES = (
    *("PATH", "LANG", "LANGUAGE", "TZ", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"),
    *("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"),
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    *("PYTORCH_CUDA_ALLOC_CONF", "CUBLAS_WORKSPACE_CONFIG"),
)
"""What a worker inherits, and all that begins with LC_: nothing that is, or leads to, a secret."""

NETWORK_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "PIP_CERT"),
    *("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"),
)


@dataclass(frozen=True)
class Confinement:
    """What a worker gets beside Python, the system's libraries and a scratch folder of its own.

    `devices` are accelerators; `network` is for fetching public files, never beside private data; `variables`
    are names in the environment. `off` leaves it everything but the environment, as its operator wants it.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    devices: bool = False
    network: bool = False
    shared_memory: bool = False
    variables: tuple[str, ...] = ()
    off: bool = False

    def rules(self, scratch: Path) -> list[tuple[str, Rights]]:
        """Paths with the rights beneath them; what is not there is passed over."""
        settings = (*SETTINGS, *(NETWORK_SETTINGS if self.network else ()))
        devices = [*DEVICES, *(found for each in ACCELERATORS for found in glob.glob(each) if self.devices)]
        shared = [Path(SHARED_MEMORY)] if self.shared_memory else []
        return [
            *_given(RUN, (*SYSTEM, *python_paths())),
            *_given(Rights.READ_DIR, (checkout(),)),
            *_given(READ, (*settings, *self.read)),
            *_given(USE_DEVICE, devices),
            *_given(WRITE, (scratch, *self.write, *shared)),
        ]

    def environment(self, scratch: Path, given: Mapping[str, str]) -> dict[str, str]:
        """What of a `given` environment a worker inherits, by name; home and temporary files are scratch."""
        names = (*VARIABLES, *self.variables, *(NETWORK_VARIABLES if self.network else ()))
        kept = {name: value for name, value in given.items() if name in names or name.startswith("LC_")}
        own = {"HOME": str(scratch), "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(cache_root())}
        return kept | own

    def kept(self) -> Kept:
        """What keeps a worker to this."""
        return Kept(0, seccomp=False, wanted=False) if self.off else kernel()

    def command(self, arguments: Sequence[str], scratch: Path) -> tuple[list[str], dict[str, str]]:
        """Command and environment of a process that runs Python with these arguments, confined."""
        kept = self.kept()
        wanted = {
            "landlock": kept.landlock,
            "seccomp": kept.seccomp,
            "network": self.network,
            "rules": self.rules(scratch),
            # Safe path: nothing is imported from the folder that the node happens to run in.
            "arguments": ["-P", *arguments],
        }
        environment = self.environment(scratch, os.environ)
        environment[launch.VARIABLE] = json.dumps(wanted)
        return [sys.executable, "-I", "-S", str(Path(launch.__file__))], environment


NOTHING_MORE = Confinement()
"""For who needs no files but Python's."""


def _given(rights: Rights, paths: Iterable[str | Path]) -> list[tuple[str, Rights]]:
    return [(str(path), rights) for path in dict.fromkeys(map(str, paths)) if os.path.exists(path)]


def python_paths() -> list[Path]:
    """Where a worker's Python finds modules: not in the current folder, nor beside the program that runs.

    Of a checkout only the packages, see `checkout`.
    """
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    passed_over = {Path.cwd().resolve(), Path(program or ".").resolve().parent}
    entries = (*sys.path, *os.environ.get("PYTHONPATH", "").split(os.pathsep))
    found = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent]
    found += [path for entry in entries if entry and (path := Path(entry).resolve()) not in passed_over]
    return [*found, *(checkout() / name for name in PACKAGES)]


def checkout() -> Path:
    """The folder with Starling's packages; it may be listed, which is how Python looks for them."""
    return Path(launch.__file__).parents[2]


def cache_root() -> Path:
    """The user's cache folder, following the XDG base directories."""
    named = os.environ.get("XDG_CACHE_HOME")
    return Path(named) if named else Path.home() / ".cache"


def cache() -> Path:
    """Starling's part of it, made where needed: converted base models and public files."""
    folder = cache_root() / "starling"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
