"""A member's own update is in no file in the clear: not while it is encrypted, and not if that fails."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import trio
from support.dealer import deal
from support.manifests import job_secret, manifest

from node.crypto.service import CryptoFailed, CryptoWorker
from node.engine.objects import Objects
from node.engine.rounds import RoundWork
from node.learning.task import Update
from node.storage import Admission
from node.workers.process import WorkerProcess
from protocol import effects
from protocol.inputs import Contributed, ContributionFailed, Input
from protocol.keyring import StoredShare

DEALT = deal(3, 2)
MANIFEST = manifest(3)
SPECS = MANIFEST.encoding.tensors
VALUE = np.float32(0.1171875)
PLAIN = VALUE.tobytes() * 4


class Learner:
    async def train(self, *given: Any) -> Update:
        await trio.lowlevel.checkpoint()
        return Update(tuple(np.full(spec.shape, VALUE, np.float32) for spec in SPECS), 10, {})


class Weights:
    def get(self, digest: bytes) -> dict[str, Any]:
        return {spec.name: np.zeros(spec.shape, np.float32) for spec in SPECS}


class Store(Objects):
    """Nothing is stored elsewhere."""

    async def publish(self, number: int, blob: Any) -> None:
        await trio.lowlevel.checkpoint()


def work(folder: Path, crypto: Any, given: list[Input]) -> RoundWork:
    objects = Store(
        MANIFEST.job,
        folder,
        SimpleNamespace(),
        SimpleNamespace(),
        {},
        "",
        Admission(),
        {},
        1,  # type: ignore[arg-type]
    )
    return RoundWork(
        MANIFEST,
        1,
        objects,
        Weights(),
        Learner(),
        crypto,
        b"",
        given.append,
        lambda *_: None,  # type: ignore[arg-type]
    )


def in_the_clear(*folders: Path) -> list[str]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if PLAIN in path.read_bytes()]


class Crypto:
    """Looks at the disk whenever it is asked, then does what the test wants."""

    def __init__(self, folder: Path, then: Callable[[], Awaitable[Any]]) -> None:
        self.folder, self.then = folder, then
        self.asked = 0

    async def ask(self, request: dict[str, Any]) -> Any:
        self.asked += 1
        assert PLAIN in request["update"], "the test would not notice the update"
        assert in_the_clear(self.folder) == []
        return await self.then()


@pytest.mark.parametrize("error", [CryptoFailed("lost twice", remedy="memory"), OSError(28, "disk full")])
async def test_a_failure_while_it_is_encrypted_leaves_nothing(tmp_path: Path, error: Exception):
    async def fail() -> None:
        raise error

    given: list[Input] = []
    crypto = Crypto(tmp_path, fail)
    await work(tmp_path, crypto, given).contribute(effects.Contribute(1, MANIFEST.model))
    assert crypto.asked == 1
    assert isinstance(given[0], ContributionFailed)
    assert list(tmp_path.iterdir()) == []


async def test_a_round_that_is_cancelled_leaves_nothing(tmp_path: Path):
    with trio.CancelScope() as scope:

        async def cancelled() -> None:
            scope.cancel()
            await trio.sleep_forever()

        await work(tmp_path, Crypto(tmp_path, cancelled), []).contribute(
            effects.Contribute(1, MANIFEST.model)
        )
    assert scope.cancelled_caught
    assert list(tmp_path.iterdir()) == []


async def test_a_crash_leaves_nothing_and_what_older_releases_left_is_erased(tmp_path: Path):
    whole = tmp_path / ("ab" * 32)
    whole.write_bytes(b"a whole object")
    for name in (f"{'cd' * 32}.update", f"{'cd' * 32}.encrypted", f".{'ef' * 32}.1f2e", f"{'0a' * 32}.share"):
        (tmp_path / name).write_bytes(PLAIN)
    work(tmp_path, None, [])._objects.sweep()
    assert list(tmp_path.iterdir()) == [whole]


@pytest.mark.parametrize("killed", [False, True])
async def test_a_real_worker_writes_only_the_ciphertext(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
):
    """Killed while it encrypts, the worker is replaced, and has nothing from a file to begin again with."""
    objects, scratch = tmp_path / "objects", tmp_path / "scratch"
    objects.mkdir()
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    crypto, given = (
        CryptoWorker(MANIFEST, 1, job_secret(1), 0, 1, lambda progress: None, objects),
        list[Input](),
    )
    whole, deaths = WorkerProcess._exchange, []

    async def exchange(self: WorkerProcess, frame: bytes, on_progress: Any) -> Any:
        if killed and PLAIN in frame and not deaths:
            deaths.append(self.pid)
            os.kill(self.pid, 9)
        return await whole(self, frame, on_progress)

    monkeypatch.setattr(WorkerProcess, "_exchange", exchange)
    try:
        await crypto.use_key(StoredShare.of(DEALT.key, DEALT.shares[1]).to_bytes())
        await work(objects, crypto, given).contribute(effects.Contribute(1, MANIFEST.model))
    finally:
        await crypto.aclose()
    assert isinstance(given[0], Contributed)
    assert len(deaths) == killed
    assert [path.name for path in objects.iterdir()] == [given[0].blob.object.hex()]
    assert in_the_clear(tmp_path) == []
