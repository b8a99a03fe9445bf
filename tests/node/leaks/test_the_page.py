"""SECRECY.md names, for each line, the tests that hold it: they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
PAGE = TESTS.parent / "SECRECY.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def functions_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_line_names_tests_that_exist():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| **")]
    assert len(rows) >= 12
    for row in rows:
        held = row.rstrip("| ").rpartition("|")[2]
        found = NAMED.findall(held)
        assert found or "as above" in held or "nothing:" in held, row
        for file, name in found:
            assert name in functions_in(TESTS / file), f"{file} has no {name}"
