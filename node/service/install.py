"""Putting the service in place: environment, units, user, directories, a first configuration and keys."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from node.config import load_config
from node.files import write_whole
from node.keys import create_keys
from node.service import system
from node.service.documents import manuals_and_completions
from node.service.environment import (
    check_interpreter,
    check_prefix,
    default_source,
    make_environment,
    running_environment,
)
from node.service.layout import (
    COMMAND,
    CONFIG,
    GPU_PART,
    PARTS,
    RECORD,
    SHIPPED_PREFIX,
    SOCKET,
    SOURCES,
    STATE,
    SYSUSERS,
    TMPFILES,
    USER,
    Part,
    within,
)
from node.service.record import Installation, read_record
from protocol.errors import OperatorFault

MACHINE = Path("/")


@dataclass(frozen=True)
class Wish:
    """What the operator wants installed. `root` other than / is a tree to be packed or copied elsewhere."""

    name: str
    root: Path = MACHINE
    prefix: Path | None = None
    source: str | None = None
    extras: str = ""
    gpu: bool = False

    @property
    def staging(self) -> bool:
        """Whether the machine itself is left alone."""
        return self.root != MACHINE


def install(wish: Wish) -> Installation:
    """Put everything in place; what is there already is brought up to date, configuration and keys are kept.

    Raises `OperatorFault` naming what is in the way, before anything was changed where that can be known.
    """
    prefix = wish.prefix or running_environment()
    check_prefix(prefix)
    if not wish.staging:
        system.check_machine()
        check_interpreter()
        if wish.prefix is not None:
            make_environment(prefix, wish.source or default_source(), wish.extras)
    parts = (*PARTS, GPU_PART) if wish.gpu else PARTS
    try:
        files = [_put(wish.root, part, prefix) for part in parts]
        files += [_write(wish.root, place, text) for place, text in manuals_and_completions()]
        files += _link(wish.root, prefix)
        if not wish.gpu:
            within(wish.root, GPU_PART.place).unlink(missing_ok=True)
        _first_config(wish)
        made = wish.prefix is not None and not wish.staging
        found = Installation(prefix, made or _made_before(wish.root, prefix), tuple(files))
        found.write(wish.root)
    except OSError as error:
        raise OperatorFault(
            f"{error.filename} cannot be written: {error.strerror}", remedy="run as root, or with --root"
        ) from error
    if not wish.staging:
        _bring_to_life()
    return found


def _put(root: Path, part: Part, prefix: Path) -> Path:
    """Write one file of the service, with the environment's place in it."""
    text = (SOURCES / part.source).read_text().replace(f"{SHIPPED_PREFIX}/", f"{prefix}/")
    return _write(root, part.place, text)


def _write(root: Path, at: Path, text: str) -> Path:
    """Write a file for everyone to read."""
    place = within(root, at)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, text.encode())
    place.chmod(0o644)
    return at


def _link(root: Path, prefix: Path) -> list[Path]:
    """Put `starling` where shells look for it, unless another is there."""
    place = within(root, COMMAND)
    if place.exists() and not place.is_symlink():
        return []
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(prefix / "bin" / "starling")
    return [COMMAND]


def _first_config(wish: Wish) -> None:
    """The documented example as a first configuration, with this member's name and the service's places."""
    place = within(wish.root, CONFIG)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        return
    text = (SOURCES / "config" / "node.example.toml").read_text()
    changes = {
        'name = "clinic-a" ': f"name = {json.dumps(wish.name)} ",
        f'# socket = "{SOCKET}"': f'socket = "{SOCKET}"',
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    write_whole(place, text.encode())
    place.chmod(0o640)


def _made_before(root: Path, prefix: Path) -> bool:
    """Whether an earlier installation made the environment that this one goes on to use."""
    if not within(root, RECORD).exists():
        return False
    before = read_record(root)
    return before.made and before.prefix == prefix


def _bring_to_life() -> None:
    """User, directories and keys; the service manager reads the units. Nothing is started."""
    system.run("systemd-sysusers", str(SYSUSERS.place))
    system.run("systemd-tmpfiles", "--create", str(TMPFILES.place))
    config = load_config(CONFIG)
    if config.node.state == STATE:
        create_keys(STATE)
        _give_to_service(STATE)
    system.reload()


def _give_to_service(folder: Path) -> None:
    """Make the service's user the owner of the keys in `folder`, which root has just made."""
    for path in (folder, folder / "keys", *(folder / "keys").iterdir()):
        if path.is_symlink():
            raise OperatorFault(f"{path} is a link", remedy="remove it: somebody put it there")
        shutil.chown(path, USER, USER)
