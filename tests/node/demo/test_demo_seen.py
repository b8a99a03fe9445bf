"""What the demo knows of its members: metrics are averages over them, and waited for."""

import pytest

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
