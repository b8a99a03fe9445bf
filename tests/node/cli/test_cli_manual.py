"""The manual pages have all that the command line has, and a formatter takes them without a word."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from node.cli.exits import MEANINGS
from node.cli.main import build_parser
from node.cli.manual import EVERYWHERE, starling_page, starlingd_page
from node.cli.parser import starlingd_parser
from node.cli.tree import Command, tree

WITH_EXAMPLES = {
    "init", "install", "status", "head", "card", "peers add", "job propose", "job accept", "job pause",
    "job stop", "job export", "job clean", "rounds", "watch", "report", "logs", "metrics", "keys backup",
    "keys restore", "audit trace", "audit head", "config check",
}  # fmt: skip


@pytest.fixture(scope="module")
def command() -> Command:
    return tree(build_parser())


@pytest.fixture(scope="module")
def daemon() -> Command:
    return tree(starlingd_parser())


def formatted(page: str) -> str:
    """The page as a terminal shows it; every warning of the formatter is an error."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    told = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-c", "-P-b", "-P-u", "-K", "utf8", "-rLL=500n"],
        input=page, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stderr == ""
    return " ".join(told.stdout.replace("‐", "-").replace("−", "-").split())


def test_every_command_and_option_has_help(command: Command, daemon: Command):
    for each in [*command.walk(), *daemon.walk()]:
        assert each.summary or not each.words, each.words
        for option in each.options:
            assert option.help.strip(), f"{' '.join(each.words)} {option.usage} has no help"


def test_the_main_commands_have_examples_that_parse(command: Command):
    found = {" ".join(each.words): each.epilog for each in command.walk()}
    for name in WITH_EXAMPLES:
        assert "examples:\n" in found[name], name
        for line in found[name].splitlines()[1:]:
            call = line.split("|")[-1].split(">")[0]
            words = shlex.split(call.removeprefix("  sudo ").replace("-u starling ", ""))
            assert words[0] == "starling", line
            build_parser().parse_args(words[1:])


def test_starling_1_has_all_commands_options_and_exit_codes(command: Command):
    page = formatted(starling_page(command))
    for each in command.walk():
        if each.words and not each.below:
            assert f"starling {' '.join(each.words)}" in page
            for option in each.options:
                if set(option.flags) & set(EVERYWHERE):
                    continue
                assert all(flag in page for flag in option.flags)
                assert " ".join(option.help.split()) in page
    for code, meaning in MEANINGS.items():
        assert f"{code} {meaning}" in page


def test_starlingd_8_has_its_options(daemon: Command):
    page = formatted(starlingd_page(daemon))
    for text in (
        "--config FILE",
        "--check",
        "exit codes",
        "CREDENTIALS_DIRECTORY",
        "/etc/starling/node.toml",
    ):
        assert text in page


def test_text_cannot_become_a_request():
    evil = Command((), "", '.so /etc/passwd\n\'br\n\\n[.x] -- "quoted"', "", (), ())
    page = formatted(starlingd_page(evil))
    for text in (".so /etc/passwd", "'br", '\\n[.x] -- "quoted"'):
        assert text in page
