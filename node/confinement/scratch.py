"""Scratch folders: a worker's home and temporary files, which end with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

PREFIX = "starling-scratch-"


def make_scratch() -> Path:
    """A new folder for one worker (0700), named after this process."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def erase(scratch: Path) -> None:
    """Remove it with all that is in it, as far as it can be; a worker may have made a maze of it."""
    shutil.rmtree(scratch, ignore_errors=True)


@asynccontextmanager
async def own_scratch() -> AsyncIterator[Path]:
    """A scratch folder while the body runs."""
    scratch = make_scratch()
    try:
        yield scratch
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(erase, scratch)


def erase_leftovers() -> None:
    """Remove the scratch of this user's processes that have ended without doing it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        with contextlib.suppress(OSError, ValueError):
            owner = int(folder.name.removeprefix(PREFIX).partition("-")[0])
            if folder.lstat().st_uid == os.getuid() and not Path(f"/proc/{owner}").exists():
                erase(folder)
