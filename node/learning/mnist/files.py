"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from protocol.errors import OperatorFault


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes a file, readable by its owner only, then puts it in place of any older one.

    Raises:
        OperatorFault: the folder cannot be written or the disk is full; nothing is left behind.
    """
    name = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
            name = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if name is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def make_folder(path: Path) -> None:
    """Makes a private folder, with its parents, unless it is there.

    Raises:
        OperatorFault: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> OperatorFault:
    return OperatorFault(
        f"{path} cannot be written: {error.strerror}",
        remedy="make room, or name a folder this user can write",
    )
