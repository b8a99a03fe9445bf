"""A new node: configuration, keys, and the check of both."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from node.config import load_config
from node.keys import load_keys
from node.service import environment
from node.service.layout import SOCKET


@pytest.fixture
def made(starling, tmp_path: Path) -> Path:
    """A node made by `starling init`; the path of its configuration."""
    (tmp_path / "mnist").mkdir()
    config = tmp_path / "etc" / "node.toml"
    told = starling(
        "init", "--config", config, "--name", 'Klinik "Süd" \\ 1', "--state", tmp_path / "node",
        "--data", f"mnist={tmp_path / 'mnist'}", "--listen", "/ip4/127.0.0.1/tcp/0",
        "--log", tmp_path / "node.jsonl", "--accept-known-peers",
    )  # fmt: skip
    assert told.code == 0, told.err
    return config


def test_init_writes_what_was_asked_for(made: Path, tmp_path: Path):
    config = load_config(made)
    assert config.node.name == 'Klinik "Süd" \\ 1'
    assert config.learning.data == {"mnist": tmp_path / "mnist"}
    assert config.network.listen == ("/ip4/127.0.0.1/tcp/0",)
    assert config.policy.accept == "known-peers"
    assert config.log.file == tmp_path / "node.jsonl"


def test_init_makes_private_keys(made: Path, tmp_path: Path):
    load_keys(tmp_path / "node")
    for file in (tmp_path / "node" / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_card_is_there_without_a_node(starling, made: Path, tmp_path: Path):
    told = starling("card", "--config", made)
    card = told.json
    assert card["hydra"] == ""
    assert "ledger.hydra_key" in told.err
    assert card["peer"] == load_keys(tmp_path / "node").identity.peer_id
    assert card["addresses"] == ["/ip4/127.0.0.1/tcp/0"]


def test_what_init_made_passes_the_check(starling, made: Path):
    told = starling("config", "check", "--config", made, "--json")
    assert told.code == 0
    assert all(each["ok"] for each in told.json)


def test_init_overwrites_nothing(starling, made: Path, tmp_path: Path):
    before = made.read_text()
    told = starling("init", "--config", made, "--state", tmp_path / "node")
    assert (told.code, made.read_text()) == (1, before)
    assert "already" in told.err


def test_init_keeps_keys_that_are_there(starling, made: Path, tmp_path: Path):
    before = load_keys(tmp_path / "node").identity.peer_id
    told = starling("init", "--config", tmp_path / "other.toml", "--state", tmp_path / "node", "--json")
    assert told.json["peer"] == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "mnist=/nowhere/at/all"], "there is no /nowhere/at/all"),
        (["--name", "x" * 61], "node.name"),
        (["--name", ""], "node.name"),
    ],
)
def test_init_does_nothing_by_halves(starling, tmp_path: Path, arguments: list[str], complaint: str):
    told = starling("init", "--config", tmp_path / "n.toml", "--state", tmp_path / "n", *arguments)
    assert told.code == 1
    assert complaint in told.err
    assert not (tmp_path / "n.toml").exists()
    assert not (tmp_path / "n").exists()


def test_init_says_which_place_it_may_not_write(starling, tmp_path: Path):
    (tmp_path / "file").write_text("")
    told = starling("init", "--config", tmp_path / "n.toml", "--state", tmp_path / "file" / "state")
    assert told.code == 1
    assert str(tmp_path / "file") in told.err
    assert not (tmp_path / "n.toml").exists()


def test_the_check_finds_every_fault_at_once(starling, made: Path, tmp_path: Path):
    (tmp_path / "mnist").rmdir()
    (tmp_path / "node").chmod(0o755)
    (tmp_path / "node" / "keys" / "job.key").write_bytes(b"short")
    text = made.read_text().replace("/ip4/127.0.0.1/tcp/0", "127.0.0.1:4711")
    made.write_text(text)
    told = starling("config", "check", "--config", made, "--json")
    assert told.code == 1
    faults = {each["check"]: each["remedy"] for each in told.json if not each["ok"]}
    assert faults.keys() == {"keys", "state", "network", "data", "control socket"}
    assert all(faults.values())


def outcome_of(starling, config: Path, check: str):
    told = starling("config", "check", "--config", config, "--json").json
    return {each["check"]: each for each in told}[check]


def test_data_that_the_service_cannot_see_are_a_fault(
    starling, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(environment, "UNSEEN", (str(tmp_path),))
    assert outcome_of(starling, made, "data")["ok"]
    made.write_text(f'{made.read_text()}\n[control]\nsocket = "{SOCKET}"\n')
    assert "the service cannot see" in outcome_of(starling, made, "data")["found"]


def test_data_at_an_impossible_place_are_a_fault_and_no_bug(starling, made: Path, tmp_path: Path):
    made.write_text(made.read_text().replace(str(tmp_path / "mnist"), "/" + 300 * "x"))
    assert not outcome_of(starling, made, "data")["ok"]


def test_a_wrong_key_is_named(starling, made: Path):
    made.write_text(made.read_text() + "\n[learning]\nthreds = 2\n")
    told = starling("config", "check", "--config", made)
    assert told.code == 1
    assert "threds" in told.err
    assert str(made) in told.err
