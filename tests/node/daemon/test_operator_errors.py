"""What an operator can get wrong: each costs one line that says what to do, and an exit code."""

import json
import os
import socket
import subprocess
import sys

import pytest

from node.config import load_config
from node.keys import create_keys, load_keys
from node.peers import Card, PeerBook
from protocol.errors import OperatorFault


def starlingd(*arguments: object):
    return subprocess.run(
        [sys.executable, "-m", "node.daemon", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )


def configuration(tmp_path, **sections: dict[str, object]):
    lines = ["[node]", 'name = "test"', 'state = "state"', "[log]", 'file = "log.jsonl"']
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path = tmp_path / "node.toml"
    path.write_text("\n".join(lines))
    return path


NODE = "[node]\nname = 'x'\nstate = 's'\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[node]\nname = 'x'\n", "node: Object missing required field `state`"),
        (NODE + "port = 1\n", "node: Object contains unknown field `port`"),
        (NODE + "[learning]\nthreads = 'two'\n", "learning.threads: Expected `int`"),
        (NODE + "[learning]\nnice = 40\n", "learning.nice: Expected `int` <= 19"),
        ("[node]\nname = 'x'\nstate = 3\n", "node.state: Expected a path"),
        ("[node\n", "is not TOML"),
        (NODE + "[storage]\nkind = 'floppy'\n", "storage.kind"),
    ],
)
def test_a_wrong_configuration_names_the_key_and_the_remedy(tmp_path, text, complaint):
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(OperatorFault) as refused:
        load_config(path)
    assert complaint in str(refused.value)
    assert str(path) in str(refused.value)
    assert refused.value.remedy


def test_a_missing_configuration_or_key_stops_the_daemon_with_one_line(tmp_path):
    done = starlingd("--config", tmp_path / "nothing.toml")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "starling init" in done.stderr
    done = starlingd("--config", configuration(tmp_path))
    assert done.returncode == 1
    assert "starling init" in done.stderr


def test_a_port_in_use_is_named(tmp_path):
    create_keys(tmp_path / "state")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = configuration(tmp_path, network={"listen": [f"/ip4/127.0.0.1/tcp/{port}"], "mdns": False})
        done = starlingd("--config", path)
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_check_verifies_without_starting(tmp_path):
    path = configuration(tmp_path)
    assert starlingd("--check", "--config", path).returncode == 1
    create_keys(tmp_path / "state")
    assert starlingd("--check", "--config", path).returncode == 0
    assert not (tmp_path / "state" / "journal.sqlite").exists()


def test_keys_open_to_others_are_refused(tmp_path):
    create_keys(tmp_path)
    (tmp_path / "keys" / "job.key").chmod(0o644)
    with pytest.raises(OperatorFault, match="chmod 600"):
        load_keys(tmp_path)


def test_keys_are_made_once_and_are_private(tmp_path):
    first, again = create_keys(tmp_path), create_keys(tmp_path)
    assert first.identity.peer_id == again.identity.peer_id
    assert first.job == again.job
    assert first.wallet.key_hash == again.wallet.key_hash
    for path in (tmp_path / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0
    assert str(first.job.scalar) not in repr(first)


def test_credentials_of_the_service_manager_come_first(tmp_path, monkeypatch):
    create_keys(tmp_path / "state")
    other = create_keys(tmp_path / "other")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "other" / "keys"))
    assert load_keys(tmp_path / "state").identity.peer_id == other.identity.peer_id


CARD = {
    "name": "clinic-b",
    "peer": "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
    "payment": "ab" * 28,
    "job_key": "cd" * 32,
    "bucket": "b",
    "addresses": ["/ip4/127.0.0.1/tcp/4711"],
}


def test_cards_are_exchanged_as_text(tmp_path):
    book = PeerBook(tmp_path / "peers.json")
    card = Card.from_json(json.dumps(CARD))
    assert Card.from_json(card.to_json()) == card
    assert book.add(card) == book.add(card) == 1
    assert PeerBook(tmp_path / "peers.json").cards == {1: card}
    assert book.remove("clinic-b") == 1
    with pytest.raises(OperatorFault, match="no peer"):
        book.remove("clinic-b")


@pytest.mark.parametrize(
    "change",
    [{"payment": "ab"}, {"job_key": "XY" * 32}, {"name": ""}, {"extra": 1}, {"addresses": ["http://x"]}],
)
def test_damaged_cards_are_refused(tmp_path, change):
    with pytest.raises(OperatorFault):
        PeerBook(tmp_path / "peers.json").add(Card.from_json(json.dumps(CARD | change)))
    assert PeerBook(tmp_path / "peers.json").cards == {}
