"""`starling report` against a node: what it reads, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fake_node import JOB, FakeNode


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "node.jsonl"
    lines = [
        {"event": event, "level": "info", "timestamp": f"2026-11-22T10:00:0{second}Z", "job": JOB, "round": 1}
        for second, event in enumerate(("Train", "Trained", "Encrypted"))
    ]
    path.write_text("\n".join(json.dumps(each) for each in lines))
    return path


def test_a_page_is_written_beside(starling, node: FakeNode, log: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = starling("report", "3fe1", "--log", log, "--json")
    assert (told.code, told.json) == (0, {"file": "starling-3fe10000.html"})
    text = (tmp_path / "starling-3fe10000.html").read_text()
    assert text.startswith("<!doctype html>")
    assert "97.12 %" in text
    assert "round 1, encrypt and prove: 1.0 s" in text


def test_a_log_that_is_not_there_is_named(starling, node: FakeNode, tmp_path: Path):
    told = starling("report", "3fe1", "--log", tmp_path / "none.jsonl", "--out", tmp_path / "page.html")
    assert (told.code, "none.jsonl" in told.err) == (1, True)
    assert not (tmp_path / "page.html").exists()


def test_without_a_log_file_it_says_how_to_read_the_journal(starling, node: FakeNode, tmp_path: Path):
    config = tmp_path / "node.toml"
    config.write_text(f'[node]\nname = "a"\nstate = "{tmp_path}"\n')
    told = starling("report", "3fe1", "--config", config)
    assert (told.code, "--log /dev/stdin" in told.err) == (1, True)


def test_logs_that_cannot_be_checked_are_said_before_anything_is_written(
    starling, node: FakeNode, log: Path, tmp_path: Path
):
    told = starling("report", "3fe1", "--log", log, "--trace", log, "--out", tmp_path / "page.html")
    assert told.code == 1 or "do not fit" in (tmp_path / "page.html").read_text()


def test_a_job_that_is_not_there_is_refused(starling, node: FakeNode, log: Path):
    assert starling("report", "abcd", "--log", log).code == 1
