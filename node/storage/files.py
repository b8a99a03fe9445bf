"""Files that are there whole, or not at all, whenever the machine stops."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NO_FILE = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}


class NotAFile(Exception):
    """Under a name lies a link, a folder, a pipe, a socket or a device; or a link on the way there."""


def open_regular(root: Path, path: str) -> BinaryIO:
    """Open the regular file `path` (with `/` between its parts) below `root`, for reading.

    Never follows a link below `root`, and never waits for who writes into a pipe: the folder may be
    somebody else's. Raises NotAFile for anything but a file, OSError as the system says.
    """
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *folders, name = path.split("/")
        for folder in folders:
            outer, directory = (
                directory,
                os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory),
            )
            os.close(outer)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise NotAFile(f"{path} is no file") from error
        raise
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFile(f"{path} is no file")
    return os.fdopen(descriptor, "rb")


def sync_directory(directory: Path) -> None:
    """Make the directory's entries durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Create the directory (0700) and its missing parents, durably."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    sync_directory(directory.parent)


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A new file (0600) that becomes `path`, durably, when the block ends without an error."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:32]}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(path.parent)


@contextmanager
def locked_file(directory: Path) -> Iterator[tuple[BinaryIO, str]]:
    """A new file (0600) and its path, removed when the block ends; locked, so that a sweep spares it."""
    descriptor, temporary = tempfile.mkstemp(dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield file, temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def sweep_unlocked(directory: Path) -> None:
    """Remove the files in the directory that no living process has locked; what is no file stays."""
    for path in directory.iterdir():
        with suppress(FileNotFoundError, NotAFile), open_regular(directory, path.name) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            path.unlink()
