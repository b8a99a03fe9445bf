"""What the demo knows of its members: metrics are averages over them, and waited for."""

import io

import pytest
from rich.console import Console

from node.demo.cohort import MemberPlace, Plan
from node.demo.view import LiveView
from node.demo.watching import Seen


def round_view(number, loss=None, outcome="opened"):
    metrics = {} if loss is None else {"loss": loss, "perplexity": 2 * loss}
    return {"round": number, "outcome": outcome, "members": [1, 2], "metrics": metrics}


def test_metrics_are_averaged_over_the_members_that_have_them():
    seen = Seen(rounds={1: [round_view(1, 4.0)], 2: [round_view(1, 5.0)], 3: [round_view(1)]})
    assert seen.metrics(1) == {"loss": 4.5, "perplexity": 9.0}
    assert seen.by_member(1).keys() == {1, 2}
    assert seen.metrics(2) == {}


@pytest.mark.parametrize(
    ("last", "evaluated"),
    [(round_view(2, 3.0), True), (round_view(2), False), (round_view(2, outcome="burned"), True)],
)
def test_all_members_are_waited_for(last, evaluated):
    seen = Seen(rounds={1: [round_view(1, 4.0), round_view(2, 3.0)], 2: [round_view(1, 5.0), last]})
    assert seen.evaluated is evaluated


@pytest.fixture
def shown(tmp_path):
    """A view of two members, and what it prints."""
    members = tuple(
        MemberPlace(n, f"member-{n}", tmp_path, tmp_path, tmp_path, tmp_path, tmp_path) for n in (1, 2)
    )
    seen, text = Seen(), io.StringIO()
    console = Console(file=text, width=160)
    return seen, LiveView(Plan(tmp_path, members, 1, 2), seen, "a title", "loss", console), console, text


def test_a_round_is_printed_once_when_all_have_measured_it_or_at_the_end(shown):
    seen, view, _, text = shown
    seen.rounds = {1: [round_view(1, 4.0)], 2: [round_view(1)]}
    view.print_changes()
    assert "ROUND" not in text.getvalue()
    seen.rounds[2] = [round_view(1, 5.0), round_view(2, 3.0)]
    view.print_changes()
    assert "[ROUND 1] loss 4.5000" in text.getvalue()
    assert "[ROUND 2]" not in text.getvalue()
    view.print_changes(final=True)
    assert text.getvalue().count("[ROUND 1]") == 1


def test_the_live_view_shows_the_loss_while_a_member_trains(shown):
    seen, view, console, text = shown
    seen.jobs[1] = {
        "phase": "running",
        "round": 2,
        "rounds": 4,
        "waits_for": "the local update",
        "progress": {"train": {"done": 3, "total": 8, "metrics": {"loss": 4.25}}},
    }
    seen.rounds[1] = [round_view(1, 4.5)]
    console.print(view.picture())
    assert "train 3/8 loss 4.250" in text.getvalue()
    assert "4.5000" in text.getvalue()
