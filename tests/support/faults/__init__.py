"""Faults for daemons that are started meanwhile: see `sitecustomize`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def fault(
    monkeypatch: pytest.MonkeyPatch, name: str, marker: Path, *, holds: bool = True
) -> Iterator[Callable[[], None]]:
    """Daemons started in the body have this fault, once it `holds`, until what this gives is called."""
    if holds:
        marker.touch()
    with monkeypatch.context() as changed:
        here = str(Path(__file__).parent)
        changed.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", os.getcwd())]))
        changed.setenv("STARLING_FAULT", name)
        changed.setenv("STARLING_FAULT_WHILE", str(marker))
        yield lambda: marker.unlink(missing_ok=True)
