"""Commands against a node: what they ask, what they print, and how they end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_node import JOB, PEERS, FakeNode

from node.cli.exits import BUG, MEMBER_FAULT, OK, REFUSED, UNREACHABLE, USAGE
from node.cli.main import build_parser, main
from protocol.words import Reason

ROOT = Path(__file__).parents[3]

JOB_FILE = """
name = "digits"
task = "mnist"
rounds = 3

[parameters]
model = "cnn3"
"""


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("status", ["clinic-a", "1 of 2 connected", "1 h 6 min", "3fe100000000", "members' updates (3)"]),
        ("status", ["warning  clinic-c", "is not connected", "→ call that member's operator"]),
        ("status", ["from bucket of member 2", "12.0 MB of 48.0 MB, 25 %", "4.0 MB/s"]),
        ("head", ["open", "17"]),
        ("head 3fe1", ["finalised", "41", "ON L1", "clinic-b", "aaaaaaaaaaaa"]),
        ("storage", ["/srv/bucket", "2.0 MB", "2, 3", "5.0 MB/s", "efefefefefef"]),
        ("peers", ["clinic-b", "yes", "12 ms", "1.2 MB", "clinic-c"]),
        ("peers list", ["clinic-b"]),
        ("job", ["digits", "running", "1 of 5"]),
        ("job list", ["digits"]),
        ("job show", ["mnist (model cnn3)", "3 contributions seal", "clinic-b", "COMMITTED"]),
        ("job show 3fe1", ["digits"]),
        ("rounds", ["opened", "1, 2, 3", "97.12 %", "cdcdcdcdcdcd"]),
        ("rounds 3fe1", ["opened", "TRAIN", "1 min", "STORE", "0.2 s"]),
    ],
)
def test_what_people_see(starling, node: FakeNode, command: str, shown: list[str]):
    told = starling(*command.split())
    assert told.code == OK
    for text in shown:
        assert text in told.out


@pytest.mark.parametrize(
    "command",
    ["status", "head", "storage", "peers", "job", "job show", "rounds", "card", "shutdown"],
)
def test_everything_is_there_as_json(starling, node: FakeNode, command: str):
    before, after = starling("--json", *command.split()[:1], *command.split()[1:]), None
    assert before.code == OK
    json.loads(before.out)
    if command != "shutdown":
        after = starling(*command.split(), "--json")
        assert after.out == before.out


def test_json_is_what_the_node_said(starling, node: FakeNode):
    assert starling("peers", "--json").json == PEERS
    assert starling("rounds", "--json").json[0]["metrics"] == {"accuracy": 0.9712, "loss": None}


def test_what_others_wrote_cannot_control_the_terminal(starling, node: FakeNode):
    assert "\x1b" not in starling("peers").out
    assert "\x1b" not in starling("status").out


def test_a_job_file_is_proposed(starling, node: FakeNode, tmp_path: Path):
    file = tmp_path / "job.toml"
    file.write_text(JOB_FILE)
    told = starling("job", "propose", file)
    assert (told.code, JOB in told.out) == (OK, True)
    spec = {"name": "digits", "task": "mnist", "rounds": 3, "parameters": {"model": "cnn3"}}
    assert node.calls == [("propose", spec)]


def test_a_card_is_added_from_a_file(starling, node: FakeNode, tmp_path: Path):
    file = tmp_path / "card.json"
    file.write_text('{"name": "clinic-b"}')
    assert starling("peers", "add", file).out == "added clinic-b\n"
    assert node.calls == [("add_peer", {"name": "clinic-b"})]


def test_the_addresses_of_a_card_can_be_given(starling, node: FakeNode):
    told = starling("card", "--address", "/dns4/a.example/tcp/4711")
    assert told.json["addresses"] == ["/dns4/a.example/tcp/4711"]
    assert told.err == ""


def test_a_card_that_others_cannot_use_is_warned_of(starling, node: FakeNode):
    told = starling("card")
    assert told.json["addresses"] == ["/ip4/0.0.0.0/tcp/4711"]
    assert "--address" in told.err


def test_a_model_is_exported_to_where_the_caller_is(starling, node: FakeNode, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert starling("job", "export", "3FE1", "model").code == OK
    assert node.calls == [("export_model", "3fe1", str(tmp_path / "model.npz"))]


def test_a_model_that_only_the_node_can_see_is_not_called_exported(starling, node: FakeNode, tmp_path: Path):
    node.writes = False
    done = starling("job", "export", "3fe1", tmp_path / "model.npz")
    assert done.code == REFUSED
    assert "only the node sees it" in done.err


def test_only_a_language_model_has_an_adapter_to_export(starling, node: FakeNode, tmp_path: Path):
    done = starling("job", "export", "3FE1", str(tmp_path / "model"), "--adapter", str(tmp_path / "adapter"))
    assert done.code == REFUSED
    assert "the task mnist of this job has no adapters" in done.err


def test_declining_gives_the_reason(starling, node: FakeNode):
    assert starling("job", "decline", "3fe1", "--reason", "approval", "--note", "no vote").code == OK
    assert node.calls == [("decline", "3fe1", Reason.APPROVAL, "no vote")]


@pytest.mark.parametrize(
    ("command", "code", "what", "remedy"),
    [
        ("peers remove x", REFUSED, "no peer is called 'x'", "see `starling peers`"),
        ("job show beef", REFUSED, "no job begins with 'beef'", "see `starling job list`"),
        ("job propose /nowhere.toml", REFUSED, "/nowhere.toml cannot be read", "name a job file"),
        ("peers add /nowhere.json", REFUSED, "/nowhere.json cannot be read", "name a peer's card"),
        ("job accept 3fe1", MEMBER_FAULT, "another key", ""),
        ("job resume 3fe1", REFUSED, "the job is not paused", "see `starling job show`"),
        ("job stop 3fe1", BUG, "the node met a bug", "ControlRequestFailed"),
        ("watch", REFUSED, "needs a terminal", "starling logs -f"),
    ],
)
def test_faults_have_a_line_a_remedy_and_a_code(
    starling, node: FakeNode, command: str, code: int, what: str, remedy: str
):
    told = starling(*command.split())
    assert (told.code, told.out.strip().splitlines()[1:]) == (code, [])
    assert what in told.err.splitlines()[0]
    assert remedy in told.err
    assert "Traceback" not in told.err
    as_json = json.loads(starling("--json", *command.split()).err) if "watch" not in command else None
    if as_json is not None:
        assert (what in as_json["error"], as_json["exit"]) == (True, code)


def test_no_node_is_a_code_of_its_own(starling, tmp_path: Path):
    told = starling("status", "--socket", tmp_path / "no.sock")
    assert told.code == UNREACHABLE
    assert "start starlingd" in told.err


def test_no_configuration_says_how_to_make_one(starling, tmp_path: Path):
    told = starling("status", "--config", tmp_path / "no.toml")
    assert told.code == REFUSED
    assert "starling init" in told.err


@pytest.mark.parametrize(
    "command", ["", "nonsense", "job accept", "job accept zz", "status extra", "status --jsn"]
)
def test_a_wrong_command_line_is_a_code_of_its_own(starling, command: str):
    assert starling(*command.split()).code == USAGE


@pytest.mark.parametrize("command", ["demo", "bench ledger"])
def test_commands_of_their_own_get_their_arguments_unread(command: str):
    program = [sys.executable, "-m", "node.cli.main", *command.split(), "--help"]
    told = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
    assert "--members" in told.stdout or "--parties" in told.stdout


def test_a_bug_in_the_command_itself_is_said_to_be_one(starling, node: FakeNode, monkeypatch):
    monkeypatch.setattr("node.cli.commands.status._head_line", None)
    told = starling("status")
    assert told.code == BUG
    assert "this is a bug" in told.err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]):
    for path in paths(build_parser()):
        with pytest.raises(SystemExit) as ended:
            main([*path, "--help"])
        assert ended.value.code == 0
        assert "usage: starling" in capsys.readouterr().out


def paths(parser, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [before]
    for action in parser._actions:
        for name, each in (action.choices or {}).items() if hasattr(action, "add_parser") else ():
            if not each.get_default("takes_rest"):
                found += paths(each, (*before, name))
    return found


def test_status_loads_nothing_heavy(node: FakeNode):
    program = (
        "import sys\nfrom node.cli.main import main\nmain(['status'])\n"
        "heavy = {'torch', 'libp2p', 'numpy', 'trio', 'rich', 'gmpy2', 'nacl', 'structlog'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert told.stderr.strip() == ""
    assert "clinic-a" in told.stdout


def in_terminal(*command: str) -> tuple[int, str]:
    """The exit code and the screen of `starling` at a terminal; at the sight of a job it is interrupted."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "LINES": "50", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", *command],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    screen, interrupted = b"", False
    try:
        while piece := os.read(ours, 65536):
            screen += piece
            if b"joint model" in screen and not interrupted:
                process.send_signal(signal.SIGINT)
                interrupted = True
    except OSError:  # the terminal of a process that ended
        pass
    os.close(ours)
    return process.wait(30), screen.decode(errors="replace")


def test_tables_are_drawn_on_a_terminal(node: FakeNode):
    code, screen = in_terminal("peers")
    assert code == OK
    assert "\x1b[1m" in screen
    assert "clinic-b" in screen


def test_watch_draws_until_it_is_interrupted(node: FakeNode):
    code, screen = in_terminal("watch")
    assert code == 130
    for text in ("clinic-b", "waits for", "accuracy"):
        assert text in screen
    assert "\x1b[?1049l" in screen, "the terminal is given back"


def test_a_job_is_paused_here(starling, node: FakeNode):
    told = starling("job", "pause", "3fe1")
    assert (told.code, "starling job resume" in told.out) == (OK, True)
    assert node.calls == [("pause", "3fe1")]


def test_a_settled_job_is_cleaned_from_the_bucket(starling, node: FakeNode):
    told = starling("--json", "job", "clean", "3fe1")
    assert told.code == OK
    assert told.json["removed"] == 3
    assert node.calls == [("clean", "3fe1")]
