"""Fixed seeds: whatever goes wrong within the assumptions, no invariant breaks and every job ends."""

from collections import Counter

import pytest

from simulation.__main__ import reports
from simulation.runs import run
from simulation.scenario import SIZES, Wishes, draw

SEEDS = range(1, 241)


def test_hundreds_of_cohorts_keep_every_invariant():
    covered = Counter()
    broken = []
    for report in reports(SEEDS, Wishes(), jobs=2):
        covered.update(report.covered)
        if report.broken:
            broken.append(str(report))
    assert not broken, "\n".join(broken)
    for fault in (
        "crash before Append",
        "crash after Append",
        "crash before Persisted",
        "crash before Submit",
        "crash after ReleaseShare",
        "record lost on its way",
        "message lost",
        "message doubled",
        "partition",
        "ledger stall",
        "ledger disconnected",
        "storage outage",
        "bit flip",
        "gone for good",
        "declined",
        "Byzantine: bad proof",
        "Byzantine: copied update",
        "Byzantine: mauled update",
        "Byzantine: withheld update",
        "Byzantine: early seal",
        "Byzantine: wrong share",
        "Byzantine: false result",
        "Byzantine: false accusation",
        "Byzantine: junk record",
        "Byzantine: record with a false view",
        "key generation: split",
        "key generation: cheat",
    ):
        assert covered[fault] > 0, f"no seed had: {fault}"


@pytest.mark.parametrize("members", sorted(set(SIZES)))
def test_cohorts_of_every_size_open_all_rounds_when_nothing_fails(members):
    report = run(1, Wishes(members=members, rounds=3, byzantine=False, faultless=True))
    assert (report.broken, report.phase, report.opened, report.burned) == ("", "finished", 3, 0)


@pytest.mark.parametrize("members", [2, 3, 4, 5, 7, 10])
def test_real_cryptography(members):
    report = run(members, Wishes(members=members, rounds=2, real_crypto=True))
    assert not report.broken, str(report)


@pytest.mark.parametrize("members", [2, 3, 4, 5, 10])
def test_one_silent_member_stops_nobody_who_can_do_without_it_and_is_named_by_the_others(members):
    covered = Counter()
    for seed in range(1, 6):
        report = run(seed, Wishes(members=members, rounds=5, silent=True))
        assert not report.broken, str(report)
        covered += report.covered
    assert covered["check: goes on without one"] + covered["check: ends without one"] > 2


def test_a_seed_is_one_behaviour():
    said = [[], []]
    for words in said:
        run(5, Wishes(members=4, rounds=2), trace=words.append)
    assert said[0] == said[1]
    assert len(said[0]) > 100


def test_a_broken_seed_names_the_command_that_replays_it(monkeypatch):
    monkeypatch.setattr("simulation.checks.Checks.progress", lambda self: 1 / 0)
    report = run(5, Wishes(members=3, rounds=1, byzantine=False))
    assert report.broken == "Crash"
    assert report.replay == (
        "PYTHONPATH=tests python -m simulation --seed 5 --trace --members 3 --rounds 1 --byzantine no"
    )


def test_seeds_differ_in_what_goes_wrong():
    drawn = [draw(seed) for seed in range(300)]
    assert {scenario.size for scenario in drawn} == set(SIZES)
    assert {bool(scenario.byzantine) for scenario in drawn} == {True, False}
    for scenario in drawn:
        thresholds = scenario.manifest.thresholds
        gone = scenario.faults.vanishing + len(scenario.byzantine)
        assert len(scenario.byzantine) <= thresholds.colluders
        assert scenario.size - gone >= thresholds.shares
