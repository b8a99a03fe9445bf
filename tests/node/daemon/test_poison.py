"""Real daemons, of which one encrypts what its clip does not allow: its sum is discarded, then it is out."""

import os
from pathlib import Path

import pytest
from support.small_cohort import small_cohort, spec

POISONER = Path(__file__).parents[2] / "support" / "poisoner"
CULPRIT, HONEST = 4, (1, 2, 3)

pytestmark = pytest.mark.xdist_group("cohort")


async def test_who_voids_a_sum_is_named_in_the_next_round_and_the_job_goes_on(tmp_path, monkeypatch):
    async with small_cohort(tmp_path, members=4, away=[CULPRIT]) as running:
        path = os.environ.get("PYTHONPATH", "")
        monkeypatch.setenv("PYTHONPATH", f"{POISONER}{os.pathsep}{POISONER.parents[1]}{os.pathsep}{path}")
        await running.processes.start_member(CULPRIT)
        monkeypatch.setenv("PYTHONPATH", path)
        await running.until_answering(CULPRIT)
        await running.propose(spec(1))
        await running.until_over()
        assert len({view["model"] for view in running.seen.jobs.values()}) == 1
        refused = []
        for member in HONEST:
            events = running.events(member)
            ends = [(e["round"], e["discarded"]) for e in events if e["event"] == "EndRound"]
            assert ends == [(1, True), (2, False)]
            refused += [(e["round"], e["other"]) for e in events if e["event"] == "Refuse"]
            assert [e["other"] for e in events if e["event"] == "MemberOut"] == [CULPRIT]
        assert set(refused) == {(2, CULPRIT)}
        assert len(refused) >= 2  # the third may learn from them that the culprit is out
