"""Files that libraries leave behind in the folder for temporary ones."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path


def drop_unpacked_library() -> None:
    """Remove the file, 2.8 MB, that rbcl unpacks its library into: once loaded, nothing needs it."""
    loaded = sys.modules.get("rbcl._sodium")
    if loaded is not None:
        with contextlib.suppress(OSError):
            Path(loaded.lib_path).unlink(missing_ok=True)
