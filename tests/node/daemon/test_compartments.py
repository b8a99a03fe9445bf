"""Real daemons in which something fails that should not: a job is tried again or set aside, the rest runs."""

import pytest
import trio
from support.faults import fault
from support.small_cohort import PATIENCE, small_cohort, spec

from protocol.errors import OperatorFault

pytestmark = pytest.mark.xdist_group("cohort")


async def test_a_fault_in_the_work_of_a_round_costs_attempts_and_no_daemon(tmp_path, monkeypatch):
    async with small_cohort(tmp_path, away=(2,)) as running:
        with fault(monkeypatch, "effect", tmp_path / "fault") as mend:
            await running.processes.start_member(2)
            await running.until_answering(2)
            job = await running.propose(spec(1))
            await running.until_logged(2, "JobFailed", error="ZeroDivisionError")
            mend()
        await running.until_over()
        assert {view["phase"] for view in running.seen.jobs.values()} == {"finished"}
        failed = [event for event in running.events(2) if event["event"] == "JobFailed"]
        assert failed[0]["job"] == job
        assert failed[0]["reason"].startswith("a bug, ZeroDivisionError at sitecustomize.py")
        assert "4711" not in running.plan.members[1].log.read_text()


async def test_a_job_that_cannot_be_opened_is_set_aside_also_at_the_next_start(tmp_path, monkeypatch):
    async with small_cohort(tmp_path) as running:
        job = await running.propose(spec(1))
        await running.until_logged(2, "BeginKey")
        await running.processes.kill_member(2)
        with fault(monkeypatch, "open", tmp_path / "fault") as mend:
            await running.processes.start_member(2)
            await running.until_logged(2, "JobSetAside", job=job)
            await running.restart(2)  # also at the next start
            await running.until_answering(2)
            with running.client(2) as client:
                with trio.fail_after(PATIENCE):
                    while client.call("status")["jobs"][0]["phase"] != "set aside":
                        await trio.sleep(0.5)
                assert "KeyError" in client.call("job", job=job)["trouble"]
                assert client.call("head", job=job)["state"] == "set aside here"
                with pytest.raises(OperatorFault, match="set aside here"):
                    client.call("stop", job=job)
                mend()
                client.call("resume", job=job)
        await running.until_over()
        assert {view["phase"] for view in running.seen.jobs.values()} == {"finished"}


async def test_a_full_disk_stops_nothing_but_what_depends_on_it_until_there_is_room(tmp_path, monkeypatch):
    async with small_cohort(tmp_path, away=(2,)) as running:
        with fault(monkeypatch, "disk", tmp_path / "fault", holds=False) as mend:
            await running.processes.start_member(2)
            await running.until_answering(2)
            await running.propose(spec(1))
            await running.until_logged(2, "SubmitJoin")
            (tmp_path / "fault").touch()
            await running.until_logged(2, "JournalNotWritten")
            with running.client(2) as client:
                assert client.call("status")["warnings"]
            mend()
        await running.until_over()
        assert {view["phase"] for view in running.seen.jobs.values()} == {"finished"}
        assert [event for event in running.events(2) if event["event"] in ("JobFailed", "DaemonFailed")] == []
