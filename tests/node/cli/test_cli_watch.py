"""The live view: what it keeps, and what it draws."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import trio
from rich.console import Console
from support.fake_node import JOB, PEERS, ROUNDS, STATUS, VIEW, FakeNode, served

from node.cli.commands.watch import Watcher
from node.cli.screen import draw
from node.cli.view import EVENTS_SHOWN, JobView

ROOT = Path(__file__).parents[3]


def drawn(view: JobView) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    console.print(draw(view))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_stage_is_timed_from_its_first_to_its_last_word():
    view = JobView()
    for done, now in ((0, 10.0), (5, 12.0), (10, 15.0)):
        view.take({"event": "Progress", "stage": "encrypt", "done": done, "total": 10}, now)
    (stage,) = view.working(16.0)
    assert (stage.over, stage.changed - stage.started, stage.share) == (True, 5.0, 1.0)
    assert view.working(100.0) == []


def test_a_stage_that_begins_again_is_timed_anew():
    view = JobView()
    for done, now in ((10, 10.0), (1, 50.0), (2, 60.0)):
        view.take({"event": "Progress", "stage": "train", "done": done, "total": 10}, now)
    assert view.stages["train"].started == 50.0


def test_only_the_last_events_are_kept():
    view = JobView()
    for number in range(100):
        view.take({"event": "Verify", "round": number})
        view.take({"event": "Observe", "round": number})
    assert [event["round"] for event in view.events] == list(range(100 - EVENTS_SHOWN, 100))


def test_curves_leave_out_what_was_not_measured():
    rounds = [{"metrics": {"loss": 0.5, "wall_seconds": 3.0}}, {"metrics": {}}, {"metrics": {"loss": 0.25}}]
    view = JobView(rounds=rounds)
    assert (view.metrics, view.curve("loss")) == (["loss"], [0.5, 0.25])


def test_everything_is_drawn():
    rounds = [row | {"metrics": {"accuracy": 0.9 + n / 100}} for n, row in enumerate(ROUNDS * 3)]
    view = JobView(status=dict(STATUS), job=dict(VIEW), rounds=rounds, peers=PEERS)
    view.take({"event": "Progress", "stage": "encrypt", "done": 3, "total": 10})
    view.take({"event": "Verify", "round": 2, "other": 3})
    screen = drawn(view)
    for text in ("clinic-b", "digits", "1 of 5 rounds", "3 of 10", "▁▅█", "92.00 %", "Verify", "other=3"):
        assert text in screen


def test_what_others_wrote_cannot_control_the_terminal():
    view = JobView(status=dict(STATUS), job=VIEW | {"name": "\x1b[2J[red]boo"}, peers=PEERS)
    screen = drawn(view)
    assert "\x1b" not in screen
    assert "[red]boo" in screen


def test_a_node_without_jobs_is_drawn():
    assert "none yet" in drawn(JobView(status=dict(STATUS)))


def test_the_watcher_follows_a_job_and_comes_back_after_the_node_does(tmp_path: Path):
    path = tmp_path / "s" / "control.sock"
    with served(path) as node:
        watcher = Watcher(path, None)
        watcher.step(0.01)
        assert (watcher.view.job["job"], watcher.view.trouble) == (JOB, "")
        trio.from_thread.run_sync(node.listeners[0].send_nowait, {"event": "Verify"}, trio_token=node.token)
        while not watcher.view.events:
            watcher.step(0.05)
    watcher.step(0.01)
    assert "closed the connection" in watcher.view.trouble
    with served(path) as again:
        while watcher.view.trouble:
            watcher.step(0.01)
        assert len(again.listeners) == 1
        watcher.close()


def test_events_can_be_had_as_json_lines(node: FakeNode):
    command = [sys.executable, "-m", "node.cli.main", "watch", "3fe1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        trio.from_thread.run(node.listened.wait, trio_token=node.token)
        trio.from_thread.run_sync(node.listeners[0].send_nowait, {"event": "Train"}, trio_token=node.token)
        assert json.loads(process.stdout.readline()) == {"event": "Train"}
        process.terminate()
