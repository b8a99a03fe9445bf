"""Metrics, and the alert rules, dashboard and log format that name them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import structlog
import yaml
from support.fake_node import JOB, FakeNode, served

from node import logs
from node.cli.main import main
from node.control.client import Client
from node.ledger.interface import LedgerState, StallReason
from node.metrics import METRICS, Sample, collect, text

CONFIG = Path(__file__).parents[3] / "config"
SAMPLE = re.compile(r'^(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$')
SUFFIXES = {"counter": "_total"}


def events() -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", (CONFIG / "events.md").read_text(), re.MULTILINE))


@pytest.fixture
def node(tmp_path: Path):
    with served(tmp_path / "s" / "control.sock") as fake:
        yield fake


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(
        f'[node]\nname = "a"\nstate = "{tmp_path}"\n[control]\nsocket = "{tmp_path}/s/control.sock"\n'
    )
    return path


def test_everything_that_the_node_tells_becomes_well_formed_samples(node: FakeNode, tmp_path: Path):
    with Client(tmp_path / "s" / "control.sock") as client:
        samples = collect(client, tmp_path)
    lines = text(samples).splitlines()
    told = [line for line in lines if not line.startswith("#")]
    assert len(told) == len(samples)
    for line in told:
        found = SAMPLE.match(line)
        assert found, line
        float(found[3])
    assert "starling_up 1" in told
    assert 'starling_head_state{state="open"} 1' in told
    assert 'starling_head_state{state="stalled"} 0' in told
    assert 'starling_events_total{event="PeerConnected"} 3' in told
    assert f'starling_model{{job="{JOB}",metric="accuracy"}} 0.9712' in told
    assert 'starling_peer_connected{peer="clinic-b"} 1' in told
    assert 'starling_peer_clock_ahead_seconds{peer="clinic-b"} -0.25' in told
    assert 'starling_transfer_bytes_per_second{direction="down"} 4000000' in told
    assert f'starling_job_waits{{job="{JOB}",reason="members\' updates (3)"}} 1' in told
    assert {sample.name for sample in samples} <= METRICS.keys()


def test_samples_of_a_metric_stand_together_below_what_it_is():
    mixed = [Sample("starling_up", 1), Sample("starling_head_slot", 3), Sample("starling_up", 0)]
    assert text(mixed).splitlines() == [
        f"# HELP starling_up {METRICS['starling_up'].help}",
        "# TYPE starling_up gauge",
        "starling_up 1",
        "starling_up 0",
        f"# HELP starling_head_slot {METRICS['starling_head_slot'].help}",
        "# TYPE starling_head_slot gauge",
        "starling_head_slot 3",
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [(True, "1"), (0.5, "0.5"), (math.nan, "NaN"), (math.inf, "+Inf"), (-math.inf, "-Inf")],
)
def test_values_are_written_as_prometheus_reads_them(value: float, written: str):
    assert text([Sample("starling_up", value)]).splitlines()[-1] == f"starling_up {written}"


def test_labels_that_others_chose_cannot_break_a_line():
    line = text([Sample("starling_peer_connected", 1, {"peer": 'a"} 1\nstarling_up 0\\'})]).splitlines()[-1]
    assert line == 'starling_peer_connected{peer="a\\"} 1\\nstarling_up 0\\\\"} 1'
    assert SAMPLE.match(line)


def test_counters_are_named_as_such():
    assert [
        name for name, known in METRICS.items() if (known.kind == "counter") != name.endswith("_total")
    ] == []


def test_the_command_writes_a_file_that_a_collector_may_read(node: FakeNode, config: Path, tmp_path: Path):
    out = tmp_path / "starling.prom"
    assert main(["metrics", "--config", str(config), "--out", str(out)]) == 0
    assert "starling_up 1" in out.read_text()
    assert out.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.glob(".starling*")) == []


def test_a_node_that_does_not_answer_is_down(config: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["metrics", "--config", str(config)]) == 3
    assert capsys.readouterr().out.endswith("starling_up 0\n")


def test_events_are_counted_as_they_are_written(tmp_path: Path):
    before = logs.counted["HeadStalled"]
    try:
        logs.setup_logs(tmp_path / "log", "info")
        structlog.get_logger().warning("HeadStalled", reason="a test")
        structlog.get_logger().debug("HeadStalled")
    finally:
        structlog.reset_defaults()
    assert logs.counted["HeadStalled"] == before + 1


# What is made of them


def expressions() -> dict[str, str]:
    """Every alert rule's and every panel's expression."""
    rules = yaml.safe_load((CONFIG / "alerts.yml").read_text())["groups"][0]["rules"]
    found = {rule["alert"]: rule["expr"] for rule in rules}
    for panel in json.loads((CONFIG / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


@pytest.mark.parametrize(("where", "expression"), expressions().items())
def test_expressions_name_metrics_and_events_that_exist(where: str, expression: str):
    assert set(re.findall(r"\bstarling_\w+", expression)) <= METRICS.keys()
    assert re.findall(r"\bstarling_\w+", expression)
    named = "|".join(re.findall(r'event=~?"([^"]+)"', expression))
    assert set(filter(None, named.split("|"))) <= events()
    states = re.findall(r'state="([^"]+)"', expression)
    assert set(states) <= {state.value for state in LedgerState}


def test_the_alerts_are_those_that_operators_need():
    names = {name for name in expressions() if name.startswith("Starling")}
    wanted = (
        "HeadStalled",
        "MemberMissing",
        "ResultDiffers",
        "StorageFailing",
        "LowFunds",
        "DiskFull",
        "ClockSkew",
        "Down",
    )
    assert {f"Starling{name}" for name in wanted} <= names


def test_every_alert_says_what_to_do():
    for rule in yaml.safe_load((CONFIG / "alerts.yml").read_text())["groups"][0]["rules"]:
        assert {"summary", "remedy"} <= rule["annotations"].keys()
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_alarming_events_of_the_catalogue_have_an_alert():
    alarms = set(re.findall(r"^\| `(\w+)` \| \*\*al", (CONFIG / "events.md").read_text(), re.MULTILINE))
    alerts = "".join(expr for name, expr in expressions().items() if name.startswith("Starling"))
    by_metric = {
        "HeadStalled",
        "PeerLost",
        "DaemonFailed",
    }  # by the head's state, the peers', and the service's
    assert {alarm for alarm in alarms - by_metric if alarm not in alerts} == set()


def test_the_alert_for_funds_knows_the_words_of_the_stall():
    pattern = re.search(r'starling_head_waits\{reason=~"([^"]+)"\}', expressions()["StarlingLowFunds"])
    assert pattern
    assert [reason for reason in StallReason if re.fullmatch(pattern[1], reason.value)] == [
        StallReason.OUT_OF_FUNDS
    ]


def test_the_dashboard_overlaps_nowhere():
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((CONFIG / "grafana.json").read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_the_format_for_lnav_names_what_there_is():
    form = json.loads((CONFIG / "starling.lnav.json").read_text())["starling_log"]
    listed = (CONFIG / "events.md").read_text()
    for highlight in form["highlights"].values():
        assert set(highlight["pattern"].split("|")) <= events()
    task_fields = {"accuracy", "loss"}  # the tasks' own, which the catalogue leaves to them
    for name in form["value"].keys() - task_fields:
        assert f"`{name}`" in listed
    for each in form["line-format"]:
        if isinstance(each, dict):
            assert each["field"] in form["value"].keys() | {"__timestamp__"}
    sample = json.loads(form["sample"][0]["line"])
    assert {
        form["timestamp-field"],
        form["level-field"],
        form["body-field"],
        form["opid-field"],
    } <= sample.keys()
    assert re.fullmatch(form["file-pattern"], "/var/log/starling/node.jsonl")
