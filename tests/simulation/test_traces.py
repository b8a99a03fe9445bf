"""What simulated members log is a behaviour of the specification: TLC says so."""

from pathlib import Path

import pytest

from node.audit.trace import check_runs
from node.audit.trace_log import read_run
from simulation.lines import Lines
from simulation.runs import run
from simulation.scenario import Wishes, draw

SMALL = {"members": 3, "rounds": 2}


def seeds(wishes, count):
    """The first seeds with crashes, one order for all, and a ledger that confirms nothing twice (which
    Hydra's cannot)."""
    found = []
    seed = 0
    while len(found) < count:
        seed += 1
        faults = draw(seed, wishes).faults
        if faults.crash and not (faults.repeated_record or faults.vanishing or faults.forks):
            found.append(seed)
    return found


@pytest.mark.parametrize("byzantine", [False, True])
def test_runs_are_behaviours_of_the_specification(tmp_path, byzantine):
    wishes = Wishes(**SMALL, byzantine=byzantine)
    logs = []
    for seed in seeds(wishes, 6):
        report = run(seed, wishes, lines=str(tmp_path))
        assert not report.broken, str(report)
        logs.append(read_run(sorted(Path(tmp_path / f"seed-{seed}").iterdir())))
    assert any(line.event == "Restart" for log in logs for stream in log.streams.values() for line in stream)
    for seed, checked in zip(seeds(wishes, 6), check_runs(logs), strict=True):
        assert checked.accepted, f"seed {seed}: {checked.misfit}"


def test_declined_jobs_are_behaviours_of_the_specification(tmp_path):
    """In two of them an operator closes the head; in the last a crash kept the proposal out of the log."""
    wishes = Wishes(**SMALL, byzantine=False)
    logs = []
    for seed in (51, 804, 1260):
        report = run(seed, wishes, lines=str(tmp_path))
        assert report.covered["declined"], str(report)
        logs.append(read_run(sorted(Path(tmp_path / f"seed-{seed}").iterdir())))
    assert [str(checked.misfit) for checked in check_runs(logs) if not checked.accepted] == []


def test_lines_are_numbered_without_gaps(tmp_path):
    """`read_run` refuses a log in which a line is missing or malformed."""
    wishes = Wishes(members=4, rounds=2, byzantine=True)
    for seed in range(1, 6):
        run(seed, wishes, lines=str(tmp_path))
        log = read_run(sorted(Path(tmp_path / f"seed-{seed}").iterdir()))
        assert log.roster.members == 4
        assert log.roster.byzantine == tuple(sorted(draw(seed, wishes).byzantine))
        assert log.events > 50


def test_the_roster_line_states_the_job():
    scenario = draw(3, Wishes(members=5, rounds=7, byzantine=False))
    line = Lines(scenario).roster
    assert (line["event"], line["v"], line["members"], line["rounds"]) == ("Roster", 1, 5, 7)
    assert line["threshold"] == scenario.manifest.thresholds.shares
