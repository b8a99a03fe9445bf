"""The example files name every key with its default, and no others."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from node import config, proposal
from node.config import parse_config
from protocol.errors import OperatorFault

FOLDER = Path(__file__).parents[3] / "config"
NODE, JOB = FOLDER / "node.example.toml", FOLDER / "job.example.toml"


def keys_of(kind: type, prefix: str = "") -> set[str]:
    """Every key of a section and of the sections in it, dotted."""
    names: set[str] = set()
    for each in msgspec.structs.fields(kind):
        if isinstance(each.type, type) and issubclass(each.type, msgspec.Struct):
            names |= keys_of(each.type, f"{prefix}{each.encode_name}.")
        else:
            names.add(prefix + each.encode_name)
    return names


def keys_in(path: Path, open_tables: set[str]) -> set[str]:
    """Every key that the file sets or shows in a comment, and every table that takes any keys, dotted."""
    names, table = set(), ""
    for line in path.read_text().splitlines():
        if header := re.match(r"\[([\w.]+)\]", line):
            table = header[1]
            names |= {table} & open_tables
        elif (key := re.match(r"(?:# )?(\w+) = ", line)) and table not in open_tables:
            names.add(f"{table}.{key[1]}".lstrip("."))
    return names


@pytest.mark.parametrize(
    ("path", "kind", "open_tables"),
    [
        (NODE, config.Config, {"learning.data"}),
        (JOB, proposal.Spec, {"parameters", "updates.clips"}),
    ],
)
def test_every_key_is_documented(path: Path, kind: type, open_tables: set[str]):
    assert keys_in(path, open_tables) == keys_of(kind)


def test_the_node_example_holds_the_defaults():
    example = tomllib.loads(NODE.read_text())
    written = parse_config(example, "example", Path("/"))
    least = parse_config({"node": example["node"]}, "least", Path("/"))
    assert written == least


def test_the_job_example_holds_the_defaults():
    example = tomllib.loads(JOB.read_text())
    least = {name: example[name] for name in ("name", "task", "rounds", "members")}
    assert proposal.parse_spec(example) == proposal.parse_spec(least)


def test_commented_keys_of_the_examples_are_valid_too():
    for path in (NODE, JOB):
        text = re.sub(r"^# (\"[^\"]+\"|\w+ = )", r"\1", path.read_text(), flags=re.MULTILINE)
        table = tomllib.loads(text)
        if path is NODE:
            parse_config(table, "example", Path("/"))
        else:
            proposal.parse_spec(table)


def test_an_unknown_key_is_named_with_the_remedy():
    with pytest.raises(OperatorFault, match=r"threds.*node\.example\.toml"):
        parse_config(
            {"node": {"name": "a", "state": "/s"}, "learning": {"threds": 2}}, "node.toml", Path("/")
        )
    with pytest.raises(OperatorFault, match=r"updates: .*bitz.*job\.example\.toml"):
        proposal.parse_spec({"name": "a", "task": "b", "rounds": 1, "updates": {"bitz": 2}})
