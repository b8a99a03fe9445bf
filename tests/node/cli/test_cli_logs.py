"""`starling logs`: JSON lines as people read them, also while they are written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

LINES = [
    {"event": "DaemonReady", "level": "info", "timestamp": "2026-11-22T13:00:00.123456Z", "node": "a",
     "peer": "12D3"},
    {"event": "Train", "level": "info", "timestamp": "2026-11-22T13:00:01.5Z", "job": "3fe1" + 60 * "0",
     "member": 1, "v": 1, "incarnation": 1, "seq": 9, "slot": 12, "round": 2},
    {"event": "PeerAway", "level": "debug", "timestamp": "2026-11-22T13:00:02Z", "other": 2},
    {"event": "HeadStalled", "level": "warning", "timestamp": "2026-11-22T13:00:03Z",
     "reason": "evil \x1b[31m text", "members": [2, 3]},
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "node.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES) + "not json\n")
    return path


def test_lines_are_readable(starling, file: Path):
    shown = starling("logs", file).out.splitlines()
    assert shown[0].split() == ["13:00:00.123", "info", "DaemonReady", "peer=12D3"]
    assert shown[1].split() == ["13:00:01.5Z", "info", "Train", "job=3fe100000000", "member=1", "round=2"]
    assert "members=2, 3" in shown[3]
    assert "text=not json" in shown[4]


def test_the_text_of_others_cannot_control_the_terminal(starling, file: Path):
    assert "\x1b" not in starling("logs", file).out


@pytest.mark.parametrize(
    ("options", "events"),
    [
        (["--level", "info"], ["DaemonReady", "Train", "HeadStalled", ""]),
        (["--level", "warning"], ["HeadStalled"]),
        (["--job", "3FE1"], ["Train"]),
        (["--event", "Train", "--event", "PeerAway"], ["Train", "PeerAway"]),
        (["-n", "2"], ["HeadStalled", ""]),
        (["-n", "0"], []),
    ],
)
def test_lines_can_be_chosen(starling, file: Path, options: list[str], events: list[str]):
    told = starling("logs", file, "--json", *options)
    assert [json.loads(line)["event"] for line in told.out.splitlines()] == events


def test_the_configured_file_is_read(starling, file: Path, tmp_path: Path):
    config = tmp_path / "node.toml"
    config.write_text(f'[node]\nname = "a"\nstate = "s"\n[log]\nfile = "{file}"\n')
    assert "DaemonReady" in starling("logs", "--config", config).out


def test_without_a_file_the_journal_is_named(starling, tmp_path: Path):
    config = tmp_path / "node.toml"
    config.write_text('[node]\nname = "a"\nstate = "s"\n')
    told = starling("logs", "--config", config)
    assert told.code == 1
    assert "journalctl -u starlingd" in told.err


def test_standard_input_is_read(file: Path):
    command = [sys.executable, "-m", "node.cli.main", "logs", "-"]
    told = subprocess.run(command, input=file.read_text(), capture_output=True, text=True, cwd=ROOT)
    assert "HeadStalled" in told.stdout


def test_following_goes_on_with_new_lines_and_new_files(file: Path):
    command = [sys.executable, "-m", "node.cli.main", "logs", str(file), "-f", "-n", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["text"] == "not json"
        with file.open("a") as log:
            log.write('{"event": "Ad')
            log.flush()
            log.write('ded"}\n')
        assert json.loads(process.stdout.readline())["event"] == "Added"
        file.rename(file.with_suffix(".1"))
        file.write_text('{"event": "Rotated"}\n')
        assert json.loads(process.stdout.readline())["event"] == "Rotated"
        process.terminate()


def test_a_reader_that_has_seen_enough_ends_it_quietly(file: Path):
    file.write_text((json.dumps(LINES[0]) + "\n") * 5000)
    command = f"{sys.executable} -m node.cli.main logs {file} -n 5000 | head -n 1"
    told = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.count("\n") == 1
