"""The final table and picture of a language model's demo."""

import io

import pytest
from rich.console import Console

from node.demo.outcome import Outcome, show
from node.demo.plots import plot_losses
from node.demo.verdict import Verdict

FOUND = {
    "member-2": [4.4, 4.0],
    "member-1": [4.0, 4.6],
    "one place": [3.9, 4.0],
    "base": [4.5, 4.7],
    "joint": [4.0, 4.1],
    "samples": [{"prompt": "King:\n", "before": " 2 + 2", "after": "My lord"}],
    "adapter": "/somewhere/adapter",
}


@pytest.fixture
def outcome(tmp_path):
    made = Outcome(2, 2, "a play each", "fast", "loss")
    made.language = Verdict.of(FOUND, 2, str(tmp_path / "loss.png"))
    made.joint = {1: {"loss": 4.2}, 2: {"loss": 4.05}}
    made.by_member = {
        1: {"member-1": {"loss": 4.2}},
        2: {"member-1": {"loss": 4.0}, "member-2": {"loss": 4.1}},
    }
    made.training = {1: 4.6, 2: 4.3}
    made.stages = {"train": 30.0, "joint key": 5.0}
    made.bytes_in = made.bytes_out = made.memory = {"member-1": 3_000_000}
    made.learner_peak = {"member-1": 1_400_000_000}
    return made


def test_contenders_come_in_order_with_their_means(outcome):
    verdict = outcome.language
    assert list(verdict.losses) == ["base", "joint", "member-1", "member-2", "one place"]
    assert verdict.alone == ["member-1", "member-2"]
    assert verdict.mean("joint") == pytest.approx(4.05)


def test_the_tables_show_losses_samples_rounds_and_memory(outcome):
    shown = io.StringIO()
    show(outcome, Console(file=shown, width=200))
    text = shown.getvalue()
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if line.count("│") > 3}
    assert "57.4" in rows["joint adapter"]
    assert "4.050" in rows["joint adapter"]
    assert all(value in rows["members alone, mean"] for value in ("4.200", "4.300", "4.250"))
    assert "15.0" in rows["train"]
    assert text.index("before") < text.index("2 + 2") < text.index("after") < text.index("My lord")
    assert "learner 1400 MB at its peak" in text
    assert "/somewhere/adapter" in text


def test_the_picture_is_a_png_even_where_a_member_missed_a_round(outcome, tmp_path):
    plot_losses(tmp_path / "loss.png", outcome)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
