"""What people are told of a job: stages of rounds are timed, figures survive, slow listeners miss some."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from node.engine.bulletin import MAX_UNREAD, Bulletin
from node.journal import Journal, new_journal_key
from node.stages import ROUND_EVENTS, ROUND_STAGES, seconds_of
from node.workers.wire import Progress

JOB = bytes(32)


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal(tmp_path / "journal.sqlite", new_journal_key())
    yield journal
    journal.close()


def tell_round(bulletin: Bulletin, number: int) -> None:
    """All events of a round, in their order."""
    bulletin.tell("Train", {"round": number})
    for _, _, last in ROUND_STAGES:
        bulletin.tell(last, {"round": number})


def test_a_stage_needs_both_of_its_ends():
    assert seconds_of({"Train": 1.0, "Trained": 3.5, "Upload": 9.0}) == {"train": 2.5}
    assert seconds_of({"Train": 5.0, "Trained": 3.5}) == {}
    assert {"Train", "EndRound"} <= ROUND_EVENTS


async def test_what_a_round_measured_and_took_is_there_after_a_restart(journal: Journal):
    bulletin = Bulletin(JOB, 1, journal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bulletin.run)
        tell_round(bulletin, 1)
        bulletin.measured(1, {"accuracy": 0.5})
        bulletin.tell("Train", {"round": 2})
        while b"accuracy" not in journal.rounds(JOB).get(1, b""):
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    again = Bulletin(JOB, 1, journal)
    again.recall()
    assert again.rounds[1] == bulletin.rounds[1]
    assert list(again.rounds[1].seconds) == [name for name, _, _ in ROUND_STAGES]
    assert 2 not in again.rounds


async def test_listeners_hear_everything_but_what_they_have_no_room_for(journal: Journal):
    bulletin = Bulletin(JOB, 1, journal)
    slow, gone = bulletin.subscribe(), bulletin.subscribe()
    gone.close()
    bulletin.show(Progress("train", 1, 4))
    for number in range(MAX_UNREAD):
        bulletin.tell("Submitted", {"seq": number})
    assert await slow.receive() == {
        "event": "Progress", "stage": "train", "done": 1, "total": 4, "metrics": {}
    }  # fmt: skip
    heard = [slow.receive_nowait()["seq"] for _ in range(MAX_UNREAD - 1)]
    assert heard == list(range(MAX_UNREAD - 1))
    with pytest.raises(trio.WouldBlock):
        slow.receive_nowait()
    assert bulletin.progress["train"].done == 1
