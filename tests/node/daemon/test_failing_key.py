"""Real daemons of which one spoils every joint key: the job ends with a reason, the others go on."""

import os

import pytest
from support.small_cohort import KEY, small_cohort, spec

pytestmark = [pytest.mark.xdist_group("cohort"), pytest.mark.slow]

EVIL = 3
SPOILT = """
from protocol.crypto.jointkey import derive

honest = derive._Derivation._commit
derive._Derivation._commit = lambda self, mine: honest(self, mine + 1)
"""
"""Run by every Python process of the attacker: it raises to another share of the exponent than its own."""


async def test_a_member_that_spoils_the_joint_key_ends_the_job_and_no_daemon(tmp_path, monkeypatch):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "sitecustomize.py").write_text(SPOILT)
    async with small_cohort(tmp_path, away={EVIL}) as running:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "evil"), *_paths()]))
        await running.processes.start_member(EVIL)
        await running.until_answering(EVIL)
        key = {"profile": KEY, "allow_insecure": True, "attempts": 2}
        await running.propose(spec(1, key=key))
        for member in (1, 2):
            await running.until_logged(member, "AbortJob")
            failed = [event for event in running.events(member) if event["event"] == "KeyAttemptFailed"]
            assert [event["accused"] for event in failed] == [0, 0]
            await running.until_answering(member)
        running.processes.check()


def _paths() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
