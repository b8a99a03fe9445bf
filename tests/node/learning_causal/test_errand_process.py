"""Commands that the demo runs in processes of their own: their progress, answer, failure and end."""

from pathlib import Path

import pytest
import trio

from node.confinement.policy import Confinement
from node.learning.errand import run_errand
from protocol.errors import OperatorFault


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Writes a module that `python -m` finds, and returns its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(text):
        (tmp_path / "an_errand.py").write_text(f"import json, os, sys, time\n{text}")
        return "an_errand"

    return write


async def test_progress_is_heard_and_the_last_line_is_the_answer(script):
    heard = []
    name = script(
        'print(json.dumps({"stage": "train", "done": 1, "total": 2}), flush=True)\n'
        'sys.stderr.write("noise\\n" * 10_000)\n'
        'print(json.dumps({"value": sys.argv[1]}))\n'
    )
    assert await run_errand([name, "x" * 70_000], lambda *told: heard.append(told)) == {"value": "x" * 70_000}
    assert heard == [("train", 1, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sys.exit("error: no model")', "^no model$"),
        ("1 / 0", "ZeroDivisionError"),
        ("pass", "no output"),
    ],
)
async def test_a_failure_is_told_in_its_last_words(script, text, message):
    with pytest.raises(OperatorFault, match=message):
        await run_errand([script(text)], lambda *told: None)


async def test_cancelled_it_ends_the_process(script, tmp_path):
    pid_file = tmp_path / "pid"
    name = script(
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n"
        'print(json.dumps({"stage": "wait", "done": 0, "total": 1}), flush=True)\n'
        "time.sleep(600)"
    )
    with trio.CancelScope() as scope:
        await run_errand([name], lambda *told: scope.cancel(), Confinement(write=(tmp_path,)))
    assert scope.cancelled_caught
    assert not Path(f"/proc/{pid_file.read_text()}").exists()
