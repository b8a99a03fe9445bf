"""A served fake node, and the command run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.fake_node import FakeNode, served

from node.cli.main import main


@dataclass(frozen=True)
class Told:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Starling = Callable[..., Told]


@pytest.fixture
def starling(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Starling:
    """Runs `starling` with arguments, at a home of its own."""
    for name, folder in (("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("STARLING_CONFIG", raising=False)
    monkeypatch.delenv("STARLING_SOCKET", raising=False)

    def run(*arguments: object) -> Told:
        capsys.readouterr()
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return Told(code, printed.out, printed.err)

    return run


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starling: Starling) -> Iterator[FakeNode]:
    """A fake node that `starling` finds."""
    path = tmp_path / "s" / "control.sock"
    monkeypatch.setenv("STARLING_SOCKET", str(path))
    with served(path) as fake:
        yield fake
