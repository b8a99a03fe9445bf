"""A real job's secrets are nowhere but in the keys' folders and, encrypted, in the journals."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from support.small_cohort import Running, small_cohort, spec

from node.cli.main import main
from node.journal import Journal
from node.keys import IDENTITY, JOB, JOURNAL, PAYMENT, load_keys
from protocol.journal import HeldShare
from protocol.keyring import StoredShare

MEMBERS = 2
SHORTEST = 16
"""Bytes below which a find may be chance."""


def forms(secret: bytes) -> set[bytes]:
    """How the secret may have been written: raw, in hexadecimal, decimal, base64, as Python shows it."""
    found = set()
    for each in (secret, secret[::-1]):
        number = int.from_bytes(each, "big")
        found |= {each, each.hex().encode(), each.hex().upper().encode(), str(number).encode()}
        found |= {f"{number:x}".encode(), repr(each)[2:-1].encode(), ", ".join(map(str, each)).encode()}
        for offset in range(3):  # what stands before it shifts base64
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                found.add(encode(bytes(offset) + each)[4 if offset else 0 :].rstrip(b"=")[:-1])
    return found


def own_secrets(state: Path) -> Iterator[tuple[str, bytes]]:
    """The secrets in a member's keys' folder."""
    keys = state / "keys"
    yield JOB, (keys / JOB).read_bytes()
    yield JOURNAL, (keys / JOURNAL).read_bytes()
    yield PAYMENT, bytes.fromhex(json.loads((keys / PAYMENT).read_text())["cborHex"])[-32:]
    yield IDENTITY, (keys / IDENTITY).read_bytes()[-32:]


def kept_secrets(state: Path) -> Iterator[tuple[str, bytes]]:
    """The secrets in a stopped member's journal."""
    journal = Journal(state / "journal.sqlite", load_keys(state).journal)
    try:
        for stored in journal.jobs():
            for entry in journal.entries(stored.manifest.job):
                if isinstance(entry, HeldShare) and entry.secret:
                    share = StoredShare.from_bytes(entry.secret)
                    yield "additive share", share.additive
                    yield "Shamir share", share.shamir
            for token in journal.grants(stored.manifest.job).values():
                yield "grant", token
    finally:
        journal.close()


def answers(running: Running, job: str) -> dict[str, Any]:
    """Everything that can be asked of a member."""
    with running.client(1) as node:
        told = {name: node.call(name) for name in ("status", "card", "peers", "jobs", "head", "storage")}
        return told | {name: node.call(name, job=job) for name in ("job", "rounds")}


def pages(running: Running, job: str, folder: Path) -> None:
    """What is made of it for people and collectors."""
    config = ["--config", str(running.plan.members[0].config)]
    assert main(["report", job[:8], *config, "--out", str(folder / "report.html")]) == 0
    assert main(["metrics", *config, "--out", str(folder / "metrics.prom")]) == 0
    assert main(["job", "export", job[:8], str(folder / "model.npz"), *config]) == 0


async def run_job(folder: Path) -> None:
    async with small_cohort(folder, MEMBERS) as running:
        job = await running.propose(spec(1))
        await running.until_over()
        told = await trio.to_thread.run_sync(answers, running, job)
        (folder / "answers.json").write_text(json.dumps(told))
        await trio.to_thread.run_sync(pages, running, job, folder)


def written(folder: Path) -> dict[Path, bytes]:
    """All files that the job left but those that hold keys."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "keys")
    return {path.relative_to(folder): path.read_bytes() for path in files}


def finds(secret: bytes, files: dict[Path, bytes]) -> list[str]:
    return [str(path) for path, data in files.items() if any(form in data for form in forms(secret))]


async def test_no_secret_is_in_anything_that_a_job_writes(tmp_path: Path):
    await run_job(tmp_path)
    states = [tmp_path / f"member-{index}" for index in range(1, MEMBERS + 1)]
    secrets = [(name, secret) for state in states for name, secret in own_secrets(state)]
    secrets += [(name, secret) for state in states for name, secret in kept_secrets(state)]
    names = [name for name, _ in secrets]
    for wanted in (JOB, JOURNAL, PAYMENT, IDENTITY, "additive share", "Shamir share"):
        assert names.count(wanted) == MEMBERS, f"not every member has a {wanted}"
    assert "grant" in names
    assert all(len(secret) >= SHORTEST for _, secret in secrets)
    files = written(tmp_path)
    for wanted in (
        "member-1.log",
        "member-2.err",
        "answers.json",
        "report.html",
        "metrics.prom",
        "model.npz",
    ):
        assert Path(wanted) in files
    assert {name: places for name, secret in secrets if (places := finds(secret, files))} == {}


@pytest.mark.parametrize(
    "written_as",
    [
        lambda secret: secret.hex(),
        lambda secret: f'"key": "{base64.b64encode(b"abcd" + secret).decode()}"',
        lambda secret: base64.urlsafe_b64encode(b"a" + secret).decode(),
        lambda secret: str(int.from_bytes(secret, "little")),
        lambda secret: repr(secret),
        lambda secret: str(list(secret)),
    ],
)
def test_a_secret_that_is_written_would_be_found(written_as: Any):
    secret = bytes(range(100, 132))
    planted = {Path("log"): f"some text {written_as(secret)} and more".encode(), Path("other"): b"nothing"}
    assert finds(secret, planted) == ["log"]
