"""What a hostile task's code gets in a real worker process: its data, its scratch, and nothing else.

Without Landlock in this kernel the tests of files are skipped, by the node's own question to the kernel; that
such a kernel is told of, and what holds there nevertheless, is tested everywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from node.confinement import policy
from node.confinement.kernel import Kept, kernel
from node.confinement.policy import Confinement
from node.confinement.scratch import PREFIX, erase_leftovers
from node.keys import create_keys
from node.learning.errand import run_errand
from node.workers.process import WorkerLost, WorkerProcess
from protocol.errors import OperatorFault

HERE = Path(__file__).parent
ROOT = Path(policy.__file__).parents[2]
PATIENCE = 60
CANARIES = {
    "CREDENTIALS_DIRECTORY": "/run/credentials",
    "NOTIFY_SOCKET": "/run/notify",
    "AWS_SECRET_ACCESS_KEY": "CANARY",
    "STORJ_ACCESS": "CANARY",
    "STARLING_CONFIG": "/etc/starling",
    "HF_TOKEN": "CANARY",
    "SSH_AUTH_SOCK": "/run/agent",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus",
}
landlocked = pytest.mark.skipif(not kernel().landlock, reason="this kernel has no Landlock")
filtered = pytest.mark.skipif(not kernel().seccomp, reason="system calls cannot be filtered here")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A member's state, a folder of data, a control socket and a TCP server; the spy as a module beside."""
    create_keys(tmp_path / "state")
    (tmp_path / "state" / "journal.sqlite").write_bytes(b"secret")
    data, site = tmp_path / "data", tmp_path / "site"
    data.mkdir()
    site.mkdir()
    (data / "numbers").write_text("1 2 3")
    shutil.copy(HERE / "spy.py", site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT)]))
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    with socket.socket(socket.AF_UNIX) as control, socket.create_server(("127.0.0.1", 0)) as server:
        control.bind(str(tmp_path / "control.sock"))
        control.listen()
        told = {
            "data": str(data),
            "keys": str(tmp_path / "state" / "keys"),
            "journal": str(tmp_path / "state" / "journal.sqlite"),
            "elsewhere": str(tmp_path / "elsewhere"),
            "socket": str(tmp_path / "control.sock"),
            "port": server.getsockname()[1],
        }
        (site / "places").write_text(json.dumps(told))
        yield told


async def spied(confinement: Confinement) -> dict[str, Any]:
    """What the spy found as a worker."""
    worker = await WorkerProcess.start("spy", 1, PATIENCE, confinement)
    with trio.fail_after(PATIENCE), pytest.raises(WorkerLost) as ended:
        await worker.ask({"do": "nothing"}, lambda message: message, lambda progress: None)
    return json.loads(ended.value.stderr.strip().splitlines()[-1])


def learner(places: dict[str, Any]) -> Confinement:
    return Confinement((Path(places["data"]),), devices=True)


@landlocked
async def test_a_task_reads_its_data_writes_its_scratch_and_reaches_no_other_file(places):
    found = await spied(learner(places))
    assert {name for name in found if found[name] == "done"} - {"signal"} == {"read data", "scratch"}
    for forbidden in ("write data", "add to data", "remove data", "list keys", "read key", "read journal"):
        assert found[forbidden] == "PermissionError"
    assert found["write elsewhere"] == "PermissionError"
    assert Path(places["data"], "numbers").read_text() == "1 2 3"


@landlocked
async def test_a_task_sees_nothing_of_the_process_that_started_it(places):
    found = await spied(learner(places))
    assert found["parent's memory"] == found["parent's environment"] == "PermissionError"
    assert found["parent's files"] == "PermissionError"
    assert found["signal"] == ("PermissionError" if kernel().landlock >= 6 else "done")
    assert not any("socket" in each for each in found["descriptors"])


@filtered
async def test_a_task_has_no_socket_neither_to_the_network_nor_to_the_daemon(places):
    found = await spied(learner(places))
    for kind in ("tcp", "udp", "netlink", "control socket", "datagram pair"):
        assert found[kind] == "PermissionError", kind


async def test_a_task_inherits_no_credentials_whatever_the_kernel(places, monkeypatch):
    monkeypatch.setattr(policy, "kernel", lambda: Kept(0, seccomp=False))
    found = await spied(learner(places))
    assert found["read data"] == found["scratch"] == "done"
    assert not CANARIES.keys() & found["environment"].keys()
    assert not any("CANARY" in value for value in found["environment"].values())
    assert not [name for name in found["environment"] if name.startswith("STARLING")]
    assert (found["privileges"], found["core"], found["safe path"]) == (1, ["0", "0"], True)
    assert int(found["capabilities"], 16) == 0


async def test_the_scratch_ends_with_the_worker_or_at_the_next_start(places, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    found = await spied(learner(places))
    assert not Path(found["home"]).exists()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / "temporary" / f"{PREFIX}{ended.pid}-abc"
    mine = tmp_path / "temporary" / f"{PREFIX}{os.getpid()}-abc"
    for folder in (left, mine):
        (folder / "update").mkdir(parents=True)
    erase_leftovers()
    assert mine.exists()
    assert not left.exists()


async def test_a_kernel_that_does_less_than_it_said_costs_the_worker_not_its_confinement(places, monkeypatch):
    monkeypatch.setattr(policy, "kernel", lambda: Kept(99, seccomp=True))
    monkeypatch.setattr(policy, "READ", policy.Rights(1 << 40))
    worker = await WorkerProcess.start("spy", 1, PATIENCE, learner(places))
    with trio.fail_after(PATIENCE), pytest.raises(WorkerLost) as lost:
        await worker.ask({"do": "nothing"}, lambda message: message, lambda progress: None)
    assert "landlock_add_rule" in lost.value.stderr
    assert "environment" not in lost.value.stderr.splitlines()[-1]


@landlocked
async def test_an_errand_reaches_only_what_it_was_given(places, tmp_path):
    (tmp_path / "site" / "errand.py").write_text(
        "from pathlib import Path\nimport json\n"
        f"key = Path({places['keys']!r}, 'job.key').read_bytes()\n"
        "print(json.dumps({'key': len(key)}))\n"
    )
    with pytest.raises(OperatorFault, match="Permission"):
        await run_errand(["errand"], lambda *_: None)
    given = Confinement((Path(places["keys"]),))
    assert await run_errand(["errand"], lambda *_: None, given) == {"key": 32}


def test_nothing_is_imported_from_the_folder_that_the_node_runs_in(places, tmp_path):
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "json.py").write_text("raise SystemExit('planted')")
    (planted / "msgpack.py").write_text("raise SystemExit('planted')")
    script = tmp_path / "like-starlingd.py"
    script.write_text(LIKE_STARLINGD)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=planted,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert "planted" not in done.stdout
    assert json.loads(done.stdout.strip().splitlines()[-1])["safe path"]


LIKE_STARLINGD = """
import trio
from node.workers.process import WorkerProcess

async def main():
    worker = await WorkerProcess.start("spy", 1, 5)
    await worker._said_all.wait()
    print(worker._tail.decode())

trio.run(main)
"""


def test_accelerators_are_reached_by_who_computes_on_them_alone(tmp_path, monkeypatch):
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "sda", "null"):
        (tmp_path / name).touch()
    monkeypatch.setattr(policy, "ACCELERATORS", (f"{tmp_path}/nvidia*",))
    monkeypatch.setattr(policy, "DEVICES", (f"{tmp_path}/null",))

    def used(confinement: Confinement) -> set[str]:
        rules = confinement.rules(tmp_path / "scratch")
        return {Path(path).name for path, rights in rules if rights == policy.USE_DEVICE}

    assert used(Confinement(devices=True)) == {"nvidia0", "nvidiactl", "nvidia-uvm", "null"}
    assert used(Confinement()) == {"null"}


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (Kept(7, seccomp=True), "confined (Landlock ABI 7, no network)"),
        (Kept(1, seccomp=True), "confined (Landlock ABI 1, no network)"),
        (Kept(4, seccomp=False), "this user's sockets"),
        (Kept(0, seccomp=True), "offers no Landlock: this user's files"),
        (Kept(0, seccomp=False), "this user's files, and the network"),
        (Kept(0, seccomp=False, wanted=False), "learning.confine is false"),
    ],
)
def test_operators_are_told_what_keeps_tasks_and_what_does_not(kept: Kept, words: str):
    assert words in str(kept)
    assert str(kept).startswith("not confined (") == bool(kept.missing)


def test_a_node_without_landlock_says_so_once_at_its_start(monkeypatch):
    from structlog.testing import capture_logs

    from node import daemon
    from node.config import Learning

    for kept, confine, said in (
        (Kept(0, seccomp=True), True, ["LearnerNotConfined"]),
        (Kept(7, seccomp=True), False, ["LearnerNotConfined"]),
        (Kept(7, seccomp=True), True, []),
    ):
        monkeypatch.setattr(policy, "kernel", lambda kept=kept: kept)
        with capture_logs() as logs:
            daemon._tell_confinement(SimpleNamespace(learning=Learning(confine=confine)))
        assert [line["event"] for line in logs] == said
