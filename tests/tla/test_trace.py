"""Legal logs fit the specification; each doctored one fails at the first event that does not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.toy_cohort import ToyCohort

from node.audit.trace import Checked, check_runs, main, trace_data
from node.audit.trace_log import Misfit, Run, parse_run
from node.audit.trace_merge import merge

Lines = list[dict[str, Any]]
SEEDS = range(1, 11)


def as_run(lines: Lines) -> Run:
    return parse_run([("log", [json.dumps(line) for line in lines])])


def checked(lines: Lines) -> Checked:
    try:
        run = as_run(lines)
    except Misfit as misfit:
        return Checked(0, misfit)
    return check_runs([run])[0]


def legal() -> Lines:
    return ToyCohort(seed=5, rounds=1, crashes=0.0).play()


def find(lines: Lines, event: str, member: int = 2, **arguments: Any) -> dict[str, Any]:
    wanted = {"event": event, "member": member, **arguments}
    return next(line for line in lines if wanted.items() <= line.items())


def renumber(lines: Lines) -> None:
    """Makes seq contiguous again, as a daemon that really behaved so would have logged."""
    seq: dict[tuple[int, int], int] = {}
    for line in lines[1:]:
        place = (line["member"], line["incarnation"])
        seq[place] = line["seq"] = seq.get(place, 0) + 1


def without(lines: Lines, line: dict[str, Any]) -> None:
    lines.remove(line)
    renumber(lines)


def repeated(lines: Lines, line: dict[str, Any]) -> dict[str, Any]:
    again = dict(line)
    lines.insert(lines.index(line) + 1, again)
    renumber(lines)
    return again


Doctor = Callable[[Lines], tuple[str, int]]
"""Changes a legal log and tells which event of which member must be the first that does not fit."""


def dropped_line(lines: Lines) -> tuple[str, int]:
    line = find(lines, "Verify")
    after = lines[lines.index(line) + 1]
    lines.remove(line)
    return after["event"], 2


def swapped_lines(lines: Lines) -> tuple[str, int]:
    at = lines.index(find(lines, "Train"))
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    return lines[at]["event"], 2


def upload_before_training(lines: Lines) -> tuple[str, int]:
    train, upload = find(lines, "Train"), find(lines, "Upload")
    train["event"], upload["event"] = "Upload", "Train"
    train["root"] = upload.pop("root")
    return "Upload", 2


def second_share(lines: Lines) -> tuple[str, int]:
    repeated(lines, find(lines, "SubmitShare"))
    return "SubmitShare", 2


def release_not_journalled(lines: Lines) -> tuple[str, int]:
    without(lines, find(lines, "Release"))
    return "SubmitShare", 2


def key_share_not_journalled(lines: Lines) -> tuple[str, int]:
    without(lines, find(lines, "HoldShare"))
    return "SubmitKeyShare", 2


def commit_not_journalled(lines: Lines) -> tuple[str, int]:
    without(lines, find(lines, "SubmitCommit"))
    return "Observe", 0


def another_root_committed(lines: Lines) -> tuple[str, int]:
    find(lines, "SubmitCommit")["root"] = "f00d"
    return "SubmitCommit", 2


def attested_before_committed(lines: Lines) -> tuple[str, int]:
    find(lines, "SubmitAttest")["verified"] = [1, 2, 3]
    first = next(line for line in lines if line["event"] == "SubmitAttest" and line["member"] == 2)
    first["round"] = 1
    return "SubmitAttest", 2


def wrong_aggregate(lines: Lines) -> tuple[str, int]:
    find(lines, "Aggregate")["aggregate"] = "bad"
    return "Aggregate", 2


def share_for_another_aggregate(lines: Lines) -> tuple[str, int]:
    find(lines, "SubmitShare")["aggregate"] = "bad"
    return "SubmitShare", 2


def wrong_model(lines: Lines) -> tuple[str, int]:
    find(lines, "Combine")["model"] = "bad"
    return "Combine", 2


def ignored_record_counted(lines: Lines) -> tuple[str, int]:
    line = find(lines, "Observe", kind="Seal")
    line["valid"] = not line["valid"]
    return "Observe", 2


def forged_seal(lines: Lines) -> tuple[str, int]:
    for line in lines:
        if line["event"] == "Observe" and line["kind"] == "Seal":
            line["author"] = line["author"] % 3 + 1
    return "Observe", 0


def forked_order(lines: Lines) -> tuple[str, int]:
    find(lines, "Observe", member=3, kind="Commit")["digest"] = "f04d"
    return "Observe", 3


def quorum_too_low(lines: Lines) -> tuple[str, int]:
    lines[:] = ToyCohort(seed=14, rounds=1, crashes=0.0, quorum=2).play()
    assert any(line["event"] == "Aggregate" and line["aggregate"].count("-r") == 2 for line in lines)
    lines[0]["quorum"] = 3
    return "SubmitSeal", 0


def honest_member_refused(lines: Lines) -> tuple[str, int]:
    find(lines, "Verify")["event"] = "Refuse"
    return "Refuse", 2


def ended_before_its_result(lines: Lines) -> tuple[str, int]:
    end, combine = find(lines, "EndRound"), find(lines, "Combine")
    end["event"], combine["event"] = "Combine", "EndRound"
    combine["discarded"] = end.pop("discarded")
    return "EndRound", 2


def released_unvouched(lines: Lines) -> tuple[str, int]:
    """With one colluder among three somebody else must vouch, too."""
    lines[:] = ToyCohort(seed=5, rounds=1, crashes=0.0, colluders=1, quorum=3).play()
    lines[:] = [line for line in lines if (line["event"], line.get("member")) != ("HearVouch", 2)]
    renumber(lines)
    return "Release", 2


def vouch_not_journalled(lines: Lines) -> tuple[str, int]:
    lines[:] = [line for line in lines if (line["event"], line.get("member")) != ("HearVouch", 2)]
    without(lines, find(lines, "Vouch"))
    return "Release", 2


def heard_what_nobody_said(lines: Lines) -> tuple[str, int]:
    without(lines, find(lines, "Vouch", member=1))
    return "HearVouch", 0


def refused_unseen(lines: Lines) -> tuple[str, int]:
    line = find(lines, "SubmitAttest")
    line["verified"], line["refused"] = line["refused"], line["verified"]
    return "SubmitAttest", 2


def honest_member_out(lines: Lines) -> tuple[str, int]:
    repeated(lines, find(lines, "Verify"))["event"] = "MemberOut"
    return "MemberOut", 2


def voted_twice(lines: Lines) -> tuple[str, int]:
    lines[:] = ToyCohort(seed=3, rounds=1, crashes=0.0, burned=(1,)).play()
    line = next(line for line in lines if line["event"] == "SubmitExpire")
    repeated(lines, line)
    return "SubmitExpire", line["member"]


def abandoned_another_attempt(lines: Lines) -> tuple[str, int]:
    lines[:] = ToyCohort(seed=3, rounds=1, crashes=0.0, burned=(1,)).play()
    line = next(line for line in lines if line["event"] == "SubmitAbandon")
    line["opening"] = 1
    return "SubmitAbandon", line["member"]


def sealed_round_burned(lines: Lines) -> tuple[str, int]:
    end = find(lines, "EndRound")
    end["event"] = "BurnRound"
    return "BurnRound", 2


def honest_sum_discarded(lines: Lines) -> tuple[str, int]:
    find(lines, "SubmitResult", member=next(x["member"] for x in lines if x["event"] == "SubmitResult"))[
        "discarded"
    ] = True
    return "SubmitResult", 0


def sealed_while_waiting(lines: Lines) -> tuple[str, int]:
    """Somebody who is waited for has not said what each commit is, and nobody's deadlines have passed."""
    seal = next(line for line in lines if line["event"] == "SubmitSeal")
    attest = [line for line in lines if line["event"] == "SubmitAttest" and line["member"] == seal["member"]]
    seal["event"], attest[-1]["event"] = "SubmitAttest", "SubmitSeal"
    seal["verified"], seal["refused"] = attest[-1].pop("verified"), attest[-1].pop("refused")
    return "SubmitSeal", seal["member"]


DOCTORS: list[Doctor] = [
    released_unvouched,
    vouch_not_journalled,
    heard_what_nobody_said,
    refused_unseen,
    honest_member_out,
    voted_twice,
    abandoned_another_attempt,
    sealed_round_burned,
    honest_sum_discarded,
    sealed_while_waiting,
    dropped_line,
    swapped_lines,
    upload_before_training,
    second_share,
    release_not_journalled,
    key_share_not_journalled,
    commit_not_journalled,
    another_root_committed,
    attested_before_committed,
    wrong_aggregate,
    share_for_another_aggregate,
    wrong_model,
    ignored_record_counted,
    forged_seal,
    forked_order,
    quorum_too_low,
    honest_member_refused,
    ended_before_its_result,
]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, tuple[Checked, tuple[str, int]]]:
    """Every doctored log, those that parse in one run of TLC."""
    results: dict[str, tuple[Checked, tuple[str, int]]] = {}
    runs: dict[str, tuple[Run, tuple[str, int]]] = {}
    for doctor in DOCTORS:
        lines = legal()
        expected = doctor(lines)
        try:
            runs[doctor.__name__] = (as_run(lines), expected)
        except Misfit as misfit:
            results[doctor.__name__] = (Checked(0, misfit), expected)
    for (name, (_, expected)), one in zip(
        runs.items(), check_runs([run for run, _ in runs.values()]), strict=True
    ):
        results[name] = (one, expected)
    return results


def test_legal_logs_fit() -> None:
    runs = [as_run(ToyCohort(seed=seed, burned=(1,) if seed % 3 == 0 else ()).play()) for seed in SEEDS]
    assert [str(one.misfit) for one in check_runs(runs) if not one.accepted] == []
    assert any(line.event == "Restart" for run in runs for stream in run.streams.values() for line in stream)
    assert any(
        line.event == "BurnRound" for run in runs for stream in run.streams.values() for line in stream
    )


@pytest.mark.parametrize("doctor", DOCTORS, ids=lambda doctor: doctor.__name__)
def test_doctored_log_fails_at_its_first_wrong_event(
    doctor: Doctor, verdicts: dict[str, tuple[Checked, tuple[str, int]]]
) -> None:
    found, (event, member) = verdicts[doctor.__name__]
    assert found.misfit is not None
    assert found.misfit.line is not None
    assert found.misfit.line.event == event
    assert member in {0, found.misfit.line.member}


def test_a_member_may_learn_that_the_head_is_open_while_another_closes_it() -> None:
    """As one does that comes back at the end: what it sees of the head is older than what the other did."""
    lines = legal()
    settled = find(lines, "SettleJob", member=2)
    late = {name: settled[name] for name in settled if name != "mismatches"} | {"event": "OpenHead"}
    lines.insert(lines.index(settled), late)
    renumber(lines)
    assert lines.index(find(lines, "CloseHead", member=1)) < lines.index(late)
    assert checked(lines).accepted


def test_unsafe_roster_is_refused() -> None:
    lines = legal()
    lines[0]["byzantine"] = [3]
    with pytest.raises(Misfit, match="unsafe"):
        check_runs([as_run(lines)])


def test_byzantine_member_is_known_by_its_records_only() -> None:
    lines = ToyCohort(seed=5, rounds=1, crashes=0.0, colluders=1, quorum=3).play()
    lines[0]["byzantine"] = [3]
    silent = [line for line in lines if line.get("member") != 3]
    assert checked(silent).accepted


def test_command_names_the_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = legal()
    find(lines, "Combine")["model"] = "bad"
    path = tmp_path / "cohort.ndjson"
    path.write_text("\n".join(["not json", '{"event": "other"}', *map(json.dumps, lines)]))
    assert main([str(path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["member"], told["accepted"]) == ("Combine", 2, False)


def test_files_of_members_are_merged(tmp_path: Path) -> None:
    lines = ToyCohort(seed=5, rounds=1, crashes=0.02).play()
    for member in (1, 2, 3):
        own = [line for line in lines if line.get("member", member) == member]
        (tmp_path / f"{member}.ndjson").write_text("\n".join(map(json.dumps, own)))
    assert main([str(path) for path in sorted(tmp_path.iterdir())]) == 0


def test_a_log_of_several_jobs_is_checked_a_job_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = "3fa1" * 16, "b0b1" * 16
    wrong = legal()
    find(wrong, "Combine")["model"] = "bad"
    lines = [line | {"job": good} for line in legal()] + [line | {"job": bad} for line in wrong]
    path = tmp_path / "node.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert main([str(path)]) == 1
    assert "more than one job, such as 3fa13fa1 and b0b1b0b1" in capsys.readouterr().out
    assert main([str(path), "--job", "3fa1"]) == 0
    assert main([str(path), "--job", "b0b1"]) == 1
    assert "Combine" in capsys.readouterr().out
    assert main([str(path), "--job", "77"]) == 1
    assert "no Roster line of a job 77" in capsys.readouterr().out


INJECTED = '", z |-> LET I == INSTANCE TLC IN I!PrintT(<<"matched", 1, 3>>), y |-> "'
"""Text that made TLC say that a log of three events was matched whole."""


def test_only_known_names_become_text_of_the_specification() -> None:
    """A record of no known kind, made by a member whose log tells of no such step."""
    lines = legal()
    line = find(lines, "Observe", author=2, kind="Attest")
    for read in lines:
        if read.get("event") == "Observe" and read["digest"] == line["digest"]:
            read["kind"], read["valid"] = "Decree", False
    assert "Decree" not in trace_data([merge(as_run(lines))])
    assert not checked(lines).accepted


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"event": "Verify", "round": 1, "other": "two"}, "other must be"),
        ({"event": "Observe", "kind": "Decree", "author": 1, "valid": True, "digest": "d"}, "unknown kind"),
        ({"event": "Train", "round": -1}, "round must be"),
        ({"event": "Train", "round": 1, "member": 9}, "no member 9"),
        ({"event": "Train", "round": 1, "slot": 7}, "slot 0"),
        ({"event": INJECTED, "seq": 2}, "an event cannot be named"),
        ({"event": "Observe", "kind": INJECTED, "author": 1, "valid": False}, "kind must be"),
        ({"event": "Upload", "round": 1, "root": INJECTED}, "root must be"),
        ({"event": "Train", "round": INJECTED}, "round must be"),
    ],
)
def test_malformed_lines_are_refused_at_the_door(change: dict[str, Any], told: str) -> None:
    lines = legal()
    place = {"v": 1, "member": 1, "incarnation": 1, "seq": 2, "slot": 0}
    with pytest.raises(Misfit, match=told):
        as_run([lines[0], lines[1], {**place, **change}])


def test_a_log_without_a_roster_is_refused() -> None:
    with pytest.raises(Misfit, match="no Roster line"):
        as_run(legal()[1:])


@pytest.mark.slow
def test_each_step_of_a_legal_log_is_a_step_of_the_whole_specification() -> None:
    runs = [as_run(ToyCohort(seed=seed, burned=(1,) if seed == 3 else ()).play()) for seed in (1, 2, 3)]
    assert all(one.accepted for one in check_runs(runs, refine=True))


@pytest.mark.slow
def test_ten_members_ten_rounds() -> None:
    lines = ToyCohort(
        members=10, threshold=5, quorum=6, rounds=10, round_limit=12, seed=3, crashes=0.001
    ).play()
    assert checked(lines).accepted
