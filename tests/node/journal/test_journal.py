"""The journal: durable, whole, secret where it must be, and one process's alone."""

import os
import subprocess
import sys
import threading

import pytest
from structlog.testing import capture_logs
from support.manifests import manifest

from node.journal import Journal, JournalUnavailable, KeptSlot, Use, new_journal_key
from protocol.errors import OperatorFault
from protocol.inputs import Confirmed
from protocol.journal import Accepted, Adopted, HeldShare, Released, Settled, Spent, Woke

KEY = bytes(range(32))
JOB = b"j" * 32
SECRET = b"the share nobody may see" * 4


def test_entries_come_back_in_order(tmp_path):
    entries = [
        Woke(1),
        Accepted(),
        HeldShare(1, b"k" * 32, SECRET),
        Released(1, b"a" * 32),
        Adopted(1, b"m" * 32),
        Settled(7, ((1, b"f" * 32), (2, b"g" * 32))),
    ]
    journal = Journal(tmp_path / "journal", KEY)
    journal.append(JOB, entries[:2])
    journal.append(JOB, entries[2:])
    journal.append(b"x" * 32, [Woke(9)])
    journal.close()
    assert Journal(tmp_path / "journal", KEY).entries(JOB) == entries


def test_secrets_are_on_the_disk_only_encrypted(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    journal.append(JOB, [HeldShare(1, b"k" * 32, SECRET)])
    journal.keep_grant(JOB, 2, b"a token that opens a bucket")
    journal.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SECRET not in stored
    assert b"opens a bucket" not in stored
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
    reopened = Journal(tmp_path / "journal", KEY)
    assert reopened.grants(JOB) == {2: b"a token that opens a bucket"}


def test_another_key_does_not_open_secrets(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    journal.append(JOB, [HeldShare(1, b"k" * 32, SECRET)])
    journal.close()
    with pytest.raises(OperatorFault, match="do not open"):
        Journal(tmp_path / "journal", new_journal_key()).entries(JOB)


def test_shares_of_other_attempts_are_destroyed(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    journal.append(JOB, [HeldShare(1, b"a" * 32, SECRET), HeldShare(2, b"b" * 32, SECRET)])
    journal.destroy_shares(JOB, but=2)
    assert [entry.secret for entry in journal.entries(JOB)] == [b"", SECRET]
    assert [entry.key for entry in journal.entries(JOB)] == [b"a" * 32, b"b" * 32]


def test_of_a_destroyed_share_no_byte_is_left_on_the_disk(tmp_path):
    path = tmp_path / "journal"
    journal = Journal(path, KEY)
    long = SECRET * 500  # beyond one page of the database
    journal.append(JOB, [HeldShare(1, b"a" * 32, long), HeldShare(2, b"b" * 32, SECRET)])
    sealed = [row[0] for row in journal._db.execute("SELECT data FROM entries WHERE sealed = 1")]
    pieces = [[data[at : at + 64] for at in range(0, len(data) - 64, 64)] for data in sealed]
    before = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert any(piece in before for piece in pieces[0])
    journal.destroy_shares(JOB, but=2)
    after = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert not any(piece in after for piece in pieces[0])
    assert any(piece in after for piece in pieces[1])


def test_a_sealed_sum_spends_the_data_of_its_job_from_its_base(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    other = b"o" * 32
    journal.append(other, [Spent(b"b" * 32)])  # of a job whose data are not known
    journal.use_data(JOB, "/srv/a", again=False)
    journal.append(JOB, [Woke(1), Spent(b"b" * 32), Spent(b"c" * 32)])
    journal.append(JOB, [Spent(b"b" * 32)])
    journal.use_data(JOB, "/srv/moved", again=False)
    journal.append(JOB, [Spent(b"d" * 32)])
    journal.close()
    again = Journal(tmp_path / "journal", KEY)
    assert again.spent(b"b" * 32) == again.spent(b"c" * 32) == [Use(JOB, "/srv/a")]
    assert again.spent(b"d" * 32) == [Use(JOB, "/srv/moved")]
    assert again.spent(b"e" * 32) == []
    assert again.uses() == [Use(JOB, "/srv/moved")]


def test_that_data_may_be_used_again_is_not_taken_back_by_a_restart(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    journal.use_data(JOB, "/srv/a", again=False)
    assert not journal.may_use_again(JOB)
    journal.use_data(JOB, "/srv/a", again=True)
    journal.use_data(JOB, "/srv/a", again=False)
    assert journal.may_use_again(JOB)


def fill(journal):
    """Let the disk of this journal be full; gives what lets it have room again."""
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    return lambda: journal._db.execute("PRAGMA max_page_count = 1000000")


def test_a_full_disk_changes_nothing_and_is_got_over(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    journal.append(JOB, [Woke(1)])
    make_room = fill(journal)
    slots = [KeptSlot(Confirmed(n, 1, bytes(700)), 1, bytes(900)) for n in range(1, 101)]
    larger = manifest(3, parameters={"x": "y" * 100_000})
    for write in (
        lambda: journal.append(JOB, [Woke(2), HeldShare(1, b"k" * 32, bytes(100_000))]),
        lambda: journal.keep_slots("head", slots, ["aa"]),
        lambda: journal.add_job(larger, 1, 2),
        lambda: journal.keep_grant(JOB, 1, bytes(50_000)),
        lambda: journal.keep_round(JOB, 1, bytes(50_000)),
        lambda: journal.set_fact("name", bytes(50_000)),
    ):
        with pytest.raises(JournalUnavailable, match=r"full.*make room"):
            write()
    assert journal.entries(JOB) == [Woke(1)]
    assert (journal.slots("head", ["aa"]), journal.jobs(), journal.rounds(JOB)) == ([], [], {})
    make_room()
    journal.append(JOB, [Woke(2)])
    journal.keep_slots("head", slots, ["aa"])
    assert journal.entries(JOB) == [Woke(1), Woke(2)]
    assert journal.slots("head", ["aa"]) == slots


def test_a_disk_that_became_read_only_is_named(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    journal._db.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalUnavailable, match="readonly"):
        journal.append(JOB, [Woke(1)])
    journal._db.execute("PRAGMA query_only = OFF")
    journal.append(JOB, [Woke(1)])


def test_of_a_refused_job_only_that_is_known_and_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("node.journal.MAX_REFUSED", 3)
    journal = Journal(tmp_path / "journal", KEY)
    jobs = [manifest(3, nonce=bytes([n]) * 16) for n in range(5)]
    for each in jobs:
        journal.add_job(each, 1, 2)
        journal.append(each.job, [Woke(1)])
        journal.keep_grant(each.job, 2, b"token")
        journal.refuse_job(each.job)
        assert (journal.jobs(), journal.entries(each.job), journal.grants(each.job)) == ([], [], {})
    assert [journal.is_refused(each.job) for each in jobs] == [False, False, True, True, True]


def test_a_job_that_this_release_cannot_read_costs_no_other(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    journal._db.execute("INSERT INTO jobs VALUES (?, 1, 2, ?)", (JOB, b"no manifest"))
    journal.add_job(manifest(3), 1, 2)
    with capture_logs() as logs:
        assert [stored.manifest for stored in journal.jobs()] == [manifest(3)]
    assert [(line["event"], line["job"]) for line in logs] == [("JobNotResumed", JOB.hex())]


def test_slots_are_contiguous_from_the_first(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    authors = ["aa", "bb"]
    kept = [KeptSlot(Confirmed(n, n % 2 + 1, b"%d" % n), 7, b"anchor %d" % n, n > 1) for n in (1, 2, 3, 5)]
    journal.keep_slots("head", kept, authors)
    journal.keep_slots("head", kept[:2], authors)
    assert journal.slots("head", authors) == kept[:3]
    assert journal.slots("other head", authors) == []


def test_jobs_and_facts_are_remembered(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    journal.add_job(manifest(3), 2, 1)
    journal.add_job(manifest(3), 2, 1)
    journal.set_fact("head", b"one")
    journal.set_fact("head", b"two")
    journal.close()
    reopened = Journal(tmp_path / "journal", KEY)
    stored = [(stored.manifest, stored.me, stored.proposer) for stored in reopened.jobs()]
    assert stored == [(manifest(3), 2, 1)]
    assert reopened.fact("head") == b"two"
    assert reopened.fact("nothing") is None


def test_only_one_process_writes_a_journal(tmp_path):
    path = tmp_path / "journal"
    journal = Journal(path, KEY)
    journal.append(JOB, [Woke(1)])
    code = (
        f"from node.journal import Journal; from pathlib import Path; Journal(Path({str(path)!r}), bytes(32))"
    )
    second = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert second.returncode != 0
    assert "is another starlingd using it?" in second.stderr


def test_a_file_that_is_no_journal_is_left_alone(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"not a database, certainly not one" * 100)
    with pytest.raises(OperatorFault, match="not a journal"):
        Journal(path, KEY)
    assert path.read_bytes().startswith(b"not a database")


def test_many_threads_may_use_it(tmp_path):
    journal = Journal(tmp_path / "journal", KEY)
    threads = [threading.Thread(target=journal.append, args=(JOB, [Woke(n)])) for n in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.incarnation for entry in journal.entries(JOB)) == list(range(1, 21))


CRASHING = """
import os, sys
from pathlib import Path
from node.journal import Journal
from protocol.journal import Woke
journal = Journal(Path(sys.argv[1]), bytes(range(32)))
number = len(journal.entries(b"j" * 32)) // 2
while True:
    number += 1
    journal.append(b"j" * 32, [Woke(number), Woke(number)])
    os.write(1, b"%d\\n" % number)
"""


def test_what_was_appended_survives_a_kill(tmp_path):
    """A process that appends pairs is killed in the middle: every pair it reported is there, none is torn."""
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", CRASHING, str(tmp_path / "journal")],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )
        reported = [int(process.stdout.readline()) for _ in range(20)][-1]
        process.kill()
        rest = process.stdout.read().split()
        process.wait()
        reported = int(rest[-1]) if rest else reported
        journal = Journal(tmp_path / "journal", KEY)
        numbers = [entry.incarnation for entry in journal.entries(JOB)]
        journal.close()
        assert numbers == [n for n in range(1, len(numbers) // 2 + 1) for _ in range(2)]
        assert len(numbers) // 2 >= reported
