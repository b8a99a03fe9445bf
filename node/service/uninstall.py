"""Taking the service away again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from node.service import system
from node.service.install import MACHINE
from node.service.layout import CACHE, GPU_PART, LOGS, RECORD, SETTINGS, STATE, UNIT, within
from node.service.record import Installation, read_record
from protocol.errors import OperatorFault


def uninstall(root: Path, *, purge: bool) -> list[Path]:
    """Stop the service and remove what was installed; the places removed.

    Configuration, keys, journal and objects stay, unless `purge`: without the journal a member's key share
    is gone for good. The user stays, so that nobody else gets its number.

    Raises `OperatorFault` where nothing was installed.
    """
    found = read_record(root)
    if root == MACHINE:
        system.check_machine()
        if system.is_running():
            system.run("systemctl", "disable", "--now", UNIT)
    try:
        removed = list(_remove(root, found))
        if purge:
            removed += _purge(root)
    except OSError as error:
        raise OperatorFault(
            f"{error.filename} cannot be removed: {error.strerror}", remedy="remove it by hand"
        ) from error
    if root == MACHINE:
        system.reload()
    return removed


def _remove(root: Path, found: Installation) -> Iterator[Path]:
    for place in (*found.files, RECORD):
        path = within(root, place)
        if path.is_symlink() or path.exists():
            path.unlink()
            yield place
    with contextlib.suppress(OSError):  # not empty: the operator's own drop-ins
        within(root, GPU_PART.place.parent).rmdir()
    if found.made and (within(root, found.prefix) / "pyvenv.cfg").exists():
        shutil.rmtree(within(root, found.prefix))
        yield found.prefix


def _purge(root: Path) -> list[Path]:
    removed = []
    for place in (STATE, CACHE, LOGS, SETTINGS):
        path = within(root, place)
        if path.exists():
            shutil.rmtree(path)
            removed.append(place)
    return removed
