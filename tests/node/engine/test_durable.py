"""What depends on the journal waits while its disk is full; nothing leaves before, nothing is lost after."""

import pytest
import structlog
import trio
import trio.testing
from support.manifests import manifest

from node import logs
from node.engine.durable import until_done
from node.engine.engine import Engine
from node.journal import Journal, JournalUnavailable
from protocol import core, effects
from protocol.inputs import JobAccepted
from protocol.journal import Accepted, Woke
from protocol.waits import For, waiting_for


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal", bytes(32))
    yield journal
    journal.close()


class Full:
    """A disk that takes nothing for a while."""

    def __init__(self, journal, monkeypatch) -> None:
        self.full, self.tried = True, 0
        write = journal.append

        def append(job, entries) -> None:
            self.tried += 1
            if self.full:
                raise JournalUnavailable("database or disk is full")
            write(job, entries)

        monkeypatch.setattr(journal, "append", append)


async def test_no_word_leaves_before_the_journal_has_what_it_depends_on(journal, monkeypatch):
    monkeypatch.setattr("node.engine.durable.RETRY_FIRST", 0.001)
    disk, said = Full(journal, monkeypatch), []
    engine = Engine(core.begin(manifest(3), 1), journal, lambda event: None)

    async def perform(effect) -> None:
        if isinstance(effect, effects.Say):
            said.append(effect.message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run, perform)
        engine.give(JobAccepted())
        with trio.fail_after(60):
            while disk.tried <= 3:
                await trio.sleep(0.001)
        assert waiting_for(engine.state).reason is For.DISK
        assert (said, journal.entries(engine.state.history.job)) == ([], [])
        disk.full = False
        await engine.wait_for(lambda state: state.life.accepted and state.held_back is None)
        await trio.testing.wait_all_tasks_blocked()
        assert len(said) == 1
        assert journal.entries(engine.state.history.job) == [Woke(1), Accepted()]
        nursery.cancel_scope.cancel()
    assert engine.stopped


async def test_any_other_fault_of_a_call_is_not_waited_out():
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await until_done(broken)


def test_a_log_that_cannot_be_written_loses_lines_and_says_how_many(tmp_path, monkeypatch):
    file, written, full = tmp_path / "log", logs.os.write, [False]

    def write(descriptor, data) -> int:
        if full[0] and len(data) > 1:
            raise OSError(28, "No space left on device")
        return written(descriptor, data)

    lines = logs.Lines(logs._open(file))
    monkeypatch.setattr(logs.os, "write", write)
    try:
        lines.write("one\n")
        full[0] = True
        lines.write("two\n")
        lines.write("three\n")
        full[0] = False
        lines.write("four\n")
    finally:
        structlog.reset_defaults()
    told = file.read_text().splitlines()
    assert (told[0], told[2]) == ("one", "four")
    assert '"LinesLost"' in told[1]
    assert '"lines": 2' in told[1]
