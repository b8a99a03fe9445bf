"""Real daemons: whole jobs, members killed at every stage, members that are away."""

import pytest
from support.small_cohort import small_cohort, spec

from node.ledger.emulator.remote import Emulator
from node.stages import ROUND_STAGES as STAGES
from protocol.errors import OperatorFault

KEY_STAGES = [("BeginKey", 1), ("HoldShare", 2), ("SubmitKeyShare", 2)]
ROUND_STAGES = [
    "Train",
    "Upload",
    "SubmitCommit",
    "SubmitAttest",
    "Aggregate",
    "Release",
    "SubmitShare",
    "Combine",
    "SubmitResult",
    "EndRound",
]

pytestmark = pytest.mark.xdist_group("cohort")


def outcomes(running):
    return {index: [each["outcome"] for each in rounds] for index, rounds in running.seen.rounds.items()}


async def test_a_job_runs_settles_and_fits_the_specification(tmp_path):
    async with small_cohort(tmp_path) as running:
        job = await running.propose(spec(2))
        await running.until_over()
        views = running.seen.jobs.values()
        assert {view["phase"] for view in views} == {"finished"}
        assert len({view["model"] for view in views}) == 1
        assert outcomes(running) == {index: ["opened", "opened"] for index in (1, 2, 3)}
        for index in (1, 2, 3):
            assert [e["mismatches"] for e in running.events(index) if e["event"] == "SettleJob"] == [[]]
        with running.client(2) as client:
            path = tmp_path / "model.npz"
            assert client.call("export_model", job=job, path=str(path))["tensors"] > 0
            assert path.exists()
            with pytest.raises(OperatorFault, match=r"cannot write .*: Not a directory"):
                client.call("export_model", job=job, path=str(path / "inside.npz"))
            settlement = client.call("head", job=job)["settlement"]
            assert [each["on_chain"] for each in settlement] == [True, True, True]
            moved = client.call("storage")["jobs"][0]
            assert min(moved["fetched_bytes"], moved["fetch_rate"], moved["sent_bytes"]) > 0
        running.check_trace()


async def test_what_is_known_of_a_job_that_is_over_survives_a_restart(tmp_path):
    async with small_cohort(tmp_path, members=2) as running:
        job = await running.propose(spec(1))
        await running.until_over()
        with running.client(2) as client:
            [told] = client.call("rounds", job=job)
            head = client.call("head", job=job)
        assert set(told["seconds"]) == {stage for stage, _, _ in STAGES}
        await running.until_without_workers()
        await running.restart(2)
        await running.until_over()
        with running.client(2) as client:
            assert client.call("rounds", job=job) == [told]
            again = client.call("head", job=job)
            for name in ("state", "head_id", "slot", "settlement"):
                assert again[name] == head[name]
        assert not running.has_workers()
        with running.client(2) as client:
            cleaned = client.call("clean", job=job)
            assert min(cleaned["removed"], cleaned["files"], cleaned["file_bytes"]) > 0
            assert client.call("export_model", job=job, path=str(tmp_path / "model.npz"))["tensors"] > 0


async def test_jobs_take_turns_each_in_a_head_of_its_own(tmp_path):
    async with small_cohort(tmp_path) as running:
        first = await running.propose_only(spec(1))
        await running.until_logged(2, "AcceptJob")
        with running.client(2) as client:
            with pytest.raises(OperatorFault, match="one job at a time"):
                client.call("propose", spec=spec(1, name="too early"))
            await running.until_logged(2, "BeginKey")
            with pytest.raises(OperatorFault, match="has begun"):
                client.call("decline", job=first)
        await running.until_logged(2, "FinishJob")
        await running.processes.kill_member(2)
        await running.until_logged(1, "SettleJob")
        # data that have been in a sum from this model are used again only where that is said
        with pytest.raises(OperatorFault, match=r"same data and model.*--reuse-data"):
            await running.propose_only(spec(1, name="the next"))
        second = await running.propose_only(spec(1, name="the next"), reuse_data=True)
        # comes back with the first job unsettled, is told of the second, and sees to one after the other
        await running.processes.start_member(2)
        await running.until_logged(2, "SettleJob", job=first)
        for index in (2, 3):
            await running.until_logged(index, "JobNeedsOperator", job=second)
            with running.client(index) as client:
                client.call("accept", job=second, reuse_data=True)
        await running.until_logged(2, "SettleJob", job=second)
        await running.until_over()
        with running.client(2) as client:
            assert [job["phase"] for job in client.call("jobs")] == ["finished", "finished"]
            heads = {client.call("head", job=job)["head_id"] for job in (first, second)}
            with pytest.raises(OperatorFault, match="is over"):
                client.call("decline", job=second)
        assert len(heads) == 2
        running.check_trace(first)
        running.check_trace(second)


async def test_a_paused_member_stays_away_also_when_it_is_restarted_and_catches_up(tmp_path):
    deadlines = {"contribute_seconds": 20, "attest_seconds": 5}
    async with small_cohort(tmp_path, members=4) as running:
        job = await running.propose(spec(4, deadlines=deadlines))
        await running.until_logged(1, "EndRound", round=1)
        with running.client(4) as client:
            assert client.call("pause", job=job)["paused"]
            with pytest.raises(OperatorFault, match="paused already"):
                client.call("pause", job=job)
        await running.until_logged(1, "EndRound", round=2)
        await running.restart(4)
        await running.until_logged(1, "EndRound", round=3)
        with running.client(4) as client:
            summary = client.call("jobs")[0]
            assert (summary["paused"], summary["opened"] < 3) == (True, True)
            with pytest.raises(OperatorFault, match="paused here"):
                client.call("stop", job=job)
            assert not client.call("resume", job=job)["paused"]
            with pytest.raises(OperatorFault, match="is not paused"):
                client.call("resume", job=job)
        await running.until_over()
        assert len({view["model"] for view in running.seen.jobs.values()}) == 1
        assert 4 not in running.seen.rounds[1][2]["members"]
        running.check_trace()


async def test_a_member_killed_at_every_stage_of_the_key_rejoins(tmp_path):
    async with small_cohort(tmp_path) as running:
        await running.propose(spec(1))
        for stage, attempt in KEY_STAGES:
            # a record that was journalled is sent again without a second line: then the key is adopted next
            await running.until_logged(2, stage, "AdoptKey", attempt=attempt)
            await running.restart(2)
        await running.until_over()
        assert outcomes(running) == {index: ["opened"] for index in (1, 2, 3)}
        running.check_trace()


async def test_a_member_killed_at_every_stage_of_a_round_finishes_with_the_others(tmp_path):
    async with small_cohort(tmp_path) as running:
        await running.propose(spec(len(ROUND_STAGES)))
        for number, stage in enumerate(ROUND_STAGES, start=1):
            victim = number % 3 + 1
            # a member that is late may find the round ended by the others, and skip the last stages
            await running.until_logged(victim, stage, "EndRound", round=number)
            await running.restart(victim)
        await running.until_over()
        assert outcomes(running) == {index: ["opened"] * len(ROUND_STAGES) for index in (1, 2, 3)}
        assert len({view["model"] for view in running.seen.jobs.values()}) == 1
        running.check_trace()


async def test_who_closes_the_head_may_be_killed_before_the_fan_out(tmp_path):
    async with small_cohort(tmp_path, members=2) as running:
        await running.propose(spec(1))
        await running.until_logged(1, "HeadClosed")
        await running.restart(1)
        await running.until_over()
        running.check_trace()


async def test_rounds_go_on_without_a_member_that_is_away_and_it_catches_up(tmp_path):
    deadlines = {"contribute_seconds": 20, "attest_seconds": 5}
    async with small_cohort(tmp_path, members=4) as running:
        await running.propose(spec(4, deadlines=deadlines))
        await running.until_logged(1, "EndRound", round=1)
        await running.processes.kill_member(4)
        await running.until_logged(1, "EndRound", round=3)
        await running.processes.start_member(4)
        await running.until_over()
        assert len({view["model"] for view in running.seen.jobs.values()}) == 1
        rounds = running.seen.rounds[1]
        assert 4 not in rounds[2]["members"]
        assert 4 in rounds[0]["members"]
        running.check_trace()


async def test_a_member_whose_hydra_node_forgot_the_order_gets_it_from_the_others(tmp_path):
    deadlines = {"contribute_seconds": 20, "attest_seconds": 5}
    async with small_cohort(tmp_path, members=4) as running:
        await running.propose(spec(4, deadlines=deadlines))
        await running.until_logged(1, "EndRound", round=1)
        await running.processes.kill_member(4)
        await running.until_logged(1, "EndRound", round=2)
        await Emulator(f"http://127.0.0.1:{running.plan.control_port}").party(4, "rotate")
        await running.processes.start_member(4)
        await running.until_logged(4, "OrderGapFilled")
        await running.until_over()
        assert len({view["model"] for view in running.seen.jobs.values()}) == 1
        running.check_trace()
