"""What is wrong with one member's hydra-node is said there, and ends no daemon."""

from __future__ import annotations

import pytest
import trio
from support.small_cohort import spec, write_shards

from node.control.client import Client
from node.demo import cohort
from node.demo.watching import propose_to_all

pytestmark = pytest.mark.xdist_group("cohort")


def _head(member):
    with Client(member.socket) as client:
        return client.call("head")


async def test_a_mistyped_address_of_a_hydra_node_is_shown_and_the_daemon_lives(tmp_path):
    plan = cohort.prepare(tmp_path, "mnist", write_shards(tmp_path, 2), threads=1, nice=0)
    mistyped = plan.members[1]
    text = mistyped.config.read_text()
    url = f"http://127.0.0.1:{plan.api_port + 1}"
    assert url in text
    mistyped.config.write_text(text.replace(url, "http://127.0.0.1:99999"))
    async with cohort.running(plan) as processes:
        await propose_to_all(plan.members, spec(1))
        with trio.fail_after(300):
            while "ledger.url" not in (await trio.to_thread.run_sync(_head, mistyped))["waits_for"]:
                await trio.sleep(0.1)
        processes.check()
        mistyped.config.write_text(text)
        await processes.kill_member(2)
        await processes.start_member(2)
        with trio.fail_after(300):
            while (await trio.to_thread.run_sync(_head, plan.members[0]))["state"] != "open":
                processes.check()
                await trio.sleep(0.1)
