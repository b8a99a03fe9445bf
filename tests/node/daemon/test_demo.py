"""`starling demo` as a process: interrupted, it leaves nothing running; wrong wishes cost one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

COMMAND = [sys.executable, "-m", "node.demo.command"]


def processes_below(folder):
    """Command lines of running processes that name the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line:
                found.append(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_running(tmp_path, number):
    folder = tmp_path / "cohort"
    options = ["--members", "2", "--division", "iid-64", "--key", "insecure-test-384", "--no-alone"]
    demo = subprocess.Popen(
        [*COMMAND, *options, "--rounds", "500", "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    for line in demo.stdout:
        if "keying" in line or "round 1/" in line:
            break
    assert any(b"node.daemon" in line for line in processes_below(folder))
    demo.send_signal(number)
    rest = demo.stdout.read()
    assert demo.wait(timeout=60) == 130, rest
    assert "everything was stopped" in rest
    deadline = time.monotonic() + 20
    while processes_below(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_below(folder) == []


def test_a_demo_ends_with_all_that_it_promises(tmp_path):
    folder = tmp_path / "cohort"
    options = ["--members", "2", "--rounds", "1", "--division", "iid-64", "--key", "insecure-test-384"]
    done = subprocess.run(
        [*COMMAND, *options, "--plain", "--json", "--folder", str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["settled"], outcome["mismatches"], outcome["trace_fits"]) == (True, [], True)
    assert outcome["joint"]["1"]["accuracy"] > 0
    assert set(outcome["alone"]) == set(outcome["memory"]) == {"member-1", "member-2"}
    assert outcome["plain"] > 0 < outcome["plain_cpu_seconds"]
    assert {"joint key", "train", "encrypt and prove", "close and settle"} <= set(outcome["stages"])
    page = (folder / "report.html").read_text()
    assert outcome["trace"] in page
    assert json.loads((folder / "report.json").read_text()) | {"right": True} == outcome
    assert np.load(folder / "joint.npz", allow_pickle=False).files
    assert processes_below(folder) == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--members", "1"], "2 to 10 members"),
        (["--members", "11"], "2 to 10 members"),
        (["--rounds", "0"], "rounds"),
        (["--folder", "/"], "not empty"),
        (["--data", "/nowhere"], "not a folder"),
    ],
)
def test_a_wrong_wish_costs_one_line(tmp_path, options, complaint):
    folder = [] if "--folder" in options else ["--folder", str(tmp_path / "new")]
    done = subprocess.run(
        [*COMMAND, *options, *folder],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
