"""The page of a job: what it tells, and that nothing in it can do harm."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from node.demo.stages import read_events
from node.report.charts import Curve, curves, ticks
from node.report.markup import element
from node.report.page import Checked, page
from node.report.story import Story, tell
from protocol.thresholds import Thresholds

JOB = "3fe1" + 60 * "0"
EVIL = "<script>alert(1)</script>\x1b[31m"
HEAD = {"state": "finalised", "head_id": "ab" * 28, "since": 1_800_000_000.0, "slot": 9, "snapshot": 12}

VIEW: dict[str, Any] = {
    "job": JOB,
    "name": f"digits {EVIL}",
    "members": 2,
    "phase": "finished",
    "reason": "",
    "rounds": 2,
    "opened": 1,
    "task": "mnist",
    "parameters": {"model": EVIL},
    "key_profile": "fast",
    "key": "ab" * 32,
    "model": "cd" * 32,
    "terms": Thresholds.default(2).in_words(2),
    "disclosed": Thresholds.default(2).learnt(2),
    "roster": [{"index": 1, "name": "clinic-a"}, {"index": 2, "name": EVIL}],
    "slots": 9,
    "settled": True,
}

ROUNDS = [
    {
        "round": 1,
        "outcome": "opened",
        "model": "ee" * 32,
        "members": [1, 2],
        "metrics": {"accuracy": 0.875, "loss": None},
        "seconds": {"train": 9.0, "store": 0.5},
    },
    {"round": 2, "outcome": "burned", "model": None, "members": [], "metrics": {}, "seconds": {}},
]


def line(second: float, event: str, **fields: Any) -> str:
    stamp = f"2026-11-22T10:00:{second:06.3f}Z"
    return json.dumps({"event": event, "level": "info", "timestamp": stamp, "job": JOB} | fields)


def observe(second: float, slot: int, author: int, kind: str, **fields: Any) -> str:
    return line(
        second, "Observe", slot=slot, author=author, kind=kind, valid=True, digest="aa" * 32, **fields
    )


LOG = [
    line(0, "Start"),
    line(1, "Train", round=1),
    line(5, "Trained", round=1, samples=60, loss=0.5, accuracy=0.75, wall_seconds=4.0, member=1),
    line(6, "Encrypted", round=1, bytes=10),
    observe(7, 1, 1, "Commit", round=1),
    observe(8, 2, 2, "Commit", round=1),
    observe(8, 2, 2, "Commit", round=1),
    observe(9, 3, 2, "Result", round=1, ignored="that round is not the current one"),
    line(10, "Evaluated", round=1, samples=10, loss=float("nan"), accuracy=0.5),
    line(11, "Refuse", round=1, other=2, reason=EVIL),
    line(12, "StorageUnavailable", level="warning", why=EVIL),
    line(13, "Trained", round=1, loss=9.0).replace(JOB, "ff" * 32),
    line(20, "SettleJob", mismatches=[]),
    "half a li",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "node.jsonl"
    path.write_text("\n".join(LOG))
    return path


def story(log: Path, **changes: Any) -> Story:
    return tell(VIEW | changes, ROUNDS, HEAD, read_events(log))


def test_the_story_has_what_the_log_and_the_node_know(log: Path):
    told = story(log)
    first, second = told.rounds
    assert (first.outcome, second.outcome) == ("opened", "burned")
    assert first.metrics["accuracy"] == 0.875, "the node's own word stands over the log's"
    assert first.training["loss"] == 0.5
    assert first.stages == {"train": 4.0, "encrypt and prove": 1.0, "store": 0.5}, "the log's word first"
    assert (told.ended or 0) - (told.began or 0) == 20
    assert told.mismatches == ()


def test_who_took_part_and_what_was_anchored(log: Path):
    told = story(log)
    assert told.rounds[0].part == {1: {"Commit": True}, 2: {"Commit": True, "Result": False}}
    assert [(each.slot, each.author, each.counts) for each in told.anchors] == [
        (1, 1, True),
        (2, 2, True),
        (3, 2, False),
    ]


class Reader(HTMLParser):
    """Notes every tag and attribute, that tags are closed in order, and the text."""

    VOID = frozenset({"meta", "line", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_nothing_that_others_wrote_becomes_markup(log: Path):
    text = page(story(log), f"node {EVIL}", Checked(False, EVIL))
    reader = read(text)
    assert "script" not in reader.tags
    assert not [name for name in reader.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in reader.text, "it is there, as text"
    assert "\x1b" not in text


def test_the_page_loads_nothing(log: Path):
    text = page(story(log), "clinic-a")
    reader = read(text)
    assert not reader.attributes & {"src", "href", "srcset", "action"}
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text


def test_the_page_says_what_an_auditor_asks(log: Path):
    text = read(page(story(log), "clinic-a", Checked(True, "All 12 events fit."))).text
    for expected in (
        "finished", "1 of 2", "87.50 %", "20 s", "Settled: every member", "All 12 events fit.",
        "Refuse:", "ab" * 28, "any 2 of 2 members decrypt", "each learns the other's update",
        "all 3 records",
    ):  # fmt: skip
        assert expected in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"settled": False}, "Not settled yet"), ({"phase": "aborted", "reason": "stop asked"}, "stop asked")],
)
def test_a_job_that_is_not_over_or_went_wrong_is_told_too(
    tmp_path: Path, changes: Mapping[str, Any], said: str
):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    text = read(page(story(empty, **changes), "clinic-a")).text
    assert said in text
    assert "no records" in text


def test_a_settlement_that_differs_and_a_result_that_differs_are_said(tmp_path: Path):
    path = tmp_path / "log"
    path.write_text("\n".join([line(1, "ResultDiffers", round=2), line(2, "SettleJob", mismatches=[1])]))
    text = read(page(story(path), "clinic-a")).text
    assert "On L1 the last datum of clinic-a is not" in text
    assert "another model than the others in round 2" in text


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.5, 0.98), (-3, 12_000), (7, 7), (0, 0), (1e-9, 2e-9)])
def test_ticks_hold_the_range_and_are_few(low: float, high: float):
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8


def test_curves_leave_out_what_is_no_number():
    drawn = read(curves("loss", [Curve("a", {1: 1.0, 2: math.nan, 3: math.inf, 4: 0.5})], str))
    assert "nan" not in drawn.text
    assert re.findall("round ([0-9])", drawn.text) == ["1", "4"]
    assert "nothing was measured" in curves("loss", [Curve("a", {1: math.nan})], str)


def test_elements_escape_content_and_attributes():
    made = element("p", "<&", element("b", "x"), title='"><script>', class_="a", aria_label=None)
    assert made == '<p title="&quot;&gt;&lt;script&gt;" class="a">&lt;&amp;<b>x</b></p>'
