"""Commands on the journal of a stopped node: key share backups, and the audit of the order."""

from __future__ import annotations

from pathlib import Path

import nacl.pwhash.argon2id as argon2id
import pytest
from support.cohort import World
from support.dealer import deal
from support.manifests import manifest

from node.engine.anchors import remember_head
from node.journal import Journal, KeptSlot
from node.keys import load_keys
from node.ledger import anchor
from protocol.journal import HeldShare
from protocol.keyring import StoredShare
from protocol.manifest import Manifest

HEAD = "ab" * 28
ME = 2


@pytest.fixture
def config(starling, tmp_path: Path) -> Path:
    """The configuration of a node that was made and never started."""
    path = tmp_path / "node.toml"
    assert starling("init", "--config", path, "--state", tmp_path / "node").code == 0
    return path


@pytest.fixture
def journal_of(tmp_path: Path):
    """Opens the node's journal, and closes it at the end of the block."""
    return lambda: _Opened(tmp_path / "node")


class _Opened:
    def __init__(self, state: Path) -> None:
        self.journal = Journal(state / "journal.sqlite", load_keys(state).journal)

    def __enter__(self) -> Journal:
        return self.journal

    def __exit__(self, *_: object) -> None:
        self.journal.close()


def held(attempt: int) -> HeldShare:
    dealt = deal(3, 2)
    secret = StoredShare.of(dealt.key, dealt.shares[ME]).to_bytes()
    return HeldShare(attempt, dealt.key.digest, secret)


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files say how they were made, so that cheap ones open like any other."""
    monkeypatch.setattr("node.backup.OPERATIONS", argon2id.OPSLIMIT_MIN)
    monkeypatch.setattr("node.backup.MEMORY", argon2id.MEMLIMIT_MIN)


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("four words are too few\n")
    return path


def shares_in(journal: Journal, job: Manifest) -> list[HeldShare]:
    return [entry for entry in journal.entries(job.job) if isinstance(entry, HeldShare) and entry.secret]


def test_a_lost_share_comes_back_from_its_backup(starling, config, journal_of, passphrase, tmp_path):
    job, share, file = manifest(), held(2), tmp_path / "share.backup"
    with journal_of() as journal:
        journal.add_job(job, ME, 1)
        journal.append(job.job, [held(1), share])
    options = ("--config", config, "--passphrase-file", passphrase)
    told = starling("keys", "backup", job.job.hex()[:8], file, *options, "--json")
    assert told.json == {"file": str(file), "job": job.job.hex(), "member": ME, "key": share.key.hex()}
    assert share.secret not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0

    already = starling("keys", "restore", file, *options)
    assert (already.code, "already" in already.err) == (1, True)

    with journal_of() as journal:
        journal.destroy_shares(job.job, but=7)
        assert shares_in(journal, job) == []
    assert starling("keys", "restore", file, *options).code == 0
    with journal_of() as journal:
        assert shares_in(journal, job) == [share]


def test_a_backup_opens_only_with_its_passphrase_and_whole(
    starling, config, journal_of, passphrase, tmp_path
):
    job, file = manifest(), tmp_path / "share.backup"
    with journal_of() as journal:
        journal.add_job(job, ME, 1)
        journal.append(job.job, [held(1)])
    options = ("--config", config, "--passphrase-file", passphrase)
    assert starling("keys", "backup", job.job.hex(), file, *options).code == 0

    data = file.read_bytes()
    file.write_bytes(data[:-20] + b"AAAA" + data[-16:])
    assert "does not open" in starling("keys", "restore", file, *options).err
    file.write_bytes(data[:100])
    assert "not a backup" in starling("keys", "restore", file, *options).err
    file.write_bytes(data)
    passphrase.write_text("another passphrase")
    assert "does not open" in starling("keys", "restore", file, *options).err


def test_a_backup_overwrites_nothing_and_needs_a_share(starling, config, journal_of, passphrase, tmp_path):
    job, file = manifest(), tmp_path / "share.backup"
    with journal_of() as journal:
        journal.add_job(job, ME, 1)
    options = ("--config", config, "--passphrase-file", passphrase)
    assert "holds no key share" in starling("keys", "backup", job.job.hex(), file, *options).err
    file.write_text("precious")
    assert "there already" in starling("keys", "backup", job.job.hex(), file, *options).err
    assert file.read_text() == "precious"


def test_a_short_passphrase_is_refused(starling, config, journal_of, passphrase, tmp_path):
    job = manifest()
    with journal_of() as journal:
        journal.add_job(job, ME, 1)
        journal.append(job.job, [held(1)])
    passphrase.write_text("short")
    told = starling(
        "keys", "backup", job.job.hex(), tmp_path / "b", "--config", config, "--passphrase-file", passphrase
    )
    assert "fewer than 12 characters" in told.err
    assert not (tmp_path / "b").exists()


def test_the_journal_of_a_running_node_is_left_alone(starling, config, journal_of, passphrase, tmp_path):
    with journal_of():
        told = starling(
            "keys", "backup", "abcd", tmp_path / "b", "--config", config, "--passphrase-file", passphrase
        )
    assert (told.code, "another starlingd" in told.err) == (1, True)


def test_the_order_is_read_again_from_the_start(starling, config, journal_of):
    world = World(manifest(3, rounds=2))
    world.start()
    job, final = world.manifest, world.states[1].history
    with journal_of() as journal:
        journal.add_job(job, ME, 1)
        remember_head(journal, job.job, HEAD)
        slots = [KeptSlot(slot, number, b"anchor %d" % number) for number, slot in enumerate(world.order, 1)]
        journal.keep_slots(HEAD, slots, [member.payment.hex() for member in job.roster.members])
    told = starling("audit", "head", job.job.hex()[:6], "--config", config, "--json").json
    assert (told["phase"], told["opened"], told["burned"]) == ("finished", 2, 0)
    assert (told["model"], told["order"]) == (final.model.hex(), final.order.hex())
    assert (told["records"], told["ignored"]) == (final.slots, sum(told["reasons"].values()))
    for member in told["members"]:
        records = [slot.data for slot in world.order if slot.author == member["index"]]
        assert member["records"] == len(records)
        assert member["datum"] == anchor.chain_digests(HEAD, records)[-1].hex()
    shown = starling("audit", "head", job.job.hex()[:6], "--config", config)
    assert "finished" in shown.out


def test_the_order_of_a_job_without_a_head_cannot_be_read(starling, config, journal_of):
    job = manifest()
    with journal_of() as journal:
        journal.add_job(job, ME, 1)
    told = starling("audit", "head", job.job.hex(), "--config", config)
    assert (told.code, "no head yet" in told.err) == (1, True)
