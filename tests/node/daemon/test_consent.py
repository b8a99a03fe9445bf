"""Real daemons: no policy accepts what leaks, and no operator without knowing it."""

import pytest
from support.small_cohort import small_cohort, spec

from protocol.errors import OperatorFault

pytestmark = pytest.mark.xdist_group("cohort")

LEAKY = {"colluders": 0, "shares": 2, "quorum": 2, "acknowledge_leaks": True}
WEAK = {"colluders": 0, "shares": 2, "quorum": 3}


def accepted_by(running, index):
    return [event["job"] for event in running.events(index) if event["event"] == "AcceptJob"]


async def test_what_leaks_waits_for_an_operator_who_says_that_it_may(tmp_path):
    async with small_cohort(tmp_path) as running:
        leaky = await running.propose_only(spec(1, name="leaky", privacy=LEAKY))
        await running.until_logged(2, "JobNeedsOperator", job=leaky)
        await running.until_logged(3, "JobNeedsOperator", job=leaky)
        with running.client(2) as client:
            shown = client.call("job", job=leaky)
            assert (shown["accepted"], shown["learnt"]) == (False, "no secrecy")
            assert "1 of 2 contributors can subtract" in shown["disclosed"][-1]
            with pytest.raises(OperatorFault, match=r"this job leaks: 1 of 2 .*--acknowledge-leaks"):
                client.call("accept", job=leaky)
            assert accepted_by(running, 2) == []
            assert client.call("accept", job=leaky, acknowledge_leaks=True)["accepted"]
        with running.client(3) as client:
            client.call("decline", job=leaky, reason="terms")
        await running.until_logged(1, "JobDeclined", job=leaky)
        await running.until_logged(2, "JobDeclined", job=leaky)
        # below the defaults: no leak by the inequalities, but an operator's decision
        weak = await running.propose_only(spec(1, name="weak", privacy=WEAK))
        await running.until_logged(2, "JobNeedsOperator", job=weak)
        with running.client(2) as client:
            assert "one member alone may learn" in client.call("job", job=weak)["disclosed"][-1]
            assert client.call("accept", job=weak)["accepted"]
        assert accepted_by(running, 2) == [leaky, weak]
        assert accepted_by(running, 3) == []


async def test_a_job_of_two_waits_for_an_operator_also_after_a_restart(tmp_path):
    async with small_cohort(tmp_path, members=2) as running:
        job = await running.propose_only(spec(1))
        await running.until_logged(2, "JobNeedsOperator", job=job)
        await running.restart(2)
        await running.until_answering(2)
        with running.client(1) as client:
            assert "each learns the other's update" in client.call("job", job=job)["disclosed"][-1]
        assert accepted_by(running, 2) == []
        await running.accept(2, job)
        assert accepted_by(running, 2) == [job]


async def test_data_of_a_job_that_is_not_over_are_another_jobs_only_by_the_operators_word(tmp_path):
    async with small_cohort(tmp_path, accept="ask") as running:
        first = await running.propose(spec(1))
        await running.until_logged(2, "BeginKey", job=first)
        with running.client(1) as client:
            client.call("pause", job=first)
            with pytest.raises(OperatorFault, match=r"which is not over, has the same data.*--reuse-data"):
                client.call("propose", spec=spec(1, name="another"))
            second = client.call("propose", spec=spec(1, name="another"), reuse_data=True)["job"]
        await running.until_logged(2, "JobProposed", job=second)
        with running.client(2) as client:
            client.call("pause", job=first)
        await running.restart(2)
        await running.until_answering(2)
        with running.client(2) as client:
            with pytest.raises(OperatorFault, match=r"which is not over, has the same data"):
                client.call("accept", job=second)
            assert accepted_by(running, 2) == [first]
            assert client.call("accept", job=second, reuse_data=True)["accepted"]
