"""Private text as files: running text, or pairs of a prompt and the response to learn.

A `.txt` file is one running text in UTF-8. A `.jsonl` file has one JSON object a line, each of the form
{"text": …}, {"prompt": …, "response": …} or {"instruction": …, "input": …, "output": …}, where the input may
be missing or empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import OperatorFault

# A thousand novels. More private text than that trains for weeks; split it into files of this size.
MAX_FILE = 2**30
# One document of a JSONL file: a long book.
MAX_LINE = 16 * 2**20
REMEDY = (
    'every line must be {"text": …}, {"prompt": …, "response": …} or {"instruction": …, "output": …}, '
    "with texts that are not empty"
)


@dataclass(frozen=True)
class Running:
    """A text of which every word is learned."""

    text: str


@dataclass(frozen=True)
class Pair:
    """A prompt that is given, and the response that is learned."""

    prompt: str
    response: str


Document = Running | Pair


def read_documents(paths: Sequence[Path]) -> Iterator[Document]:
    """The documents of all files in order.

    Raises:
        OperatorFault: a file cannot be read, is empty, binary, too large, or a line has another form.
    """
    for path in paths:
        yield from _lines(path) if path.suffix == ".jsonl" else _whole(path)


def _whole(path: Path) -> Iterator[Document]:
    yield Running(_decoded(path, _content(path)))


def _lines(path: Path) -> Iterator[Document]:
    found = False
    for number, line in enumerate(_content(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        if len(line) > MAX_LINE:
            raise OperatorFault(f"{where} has more than {MAX_LINE} bytes", remedy="divide the document")
        try:
            entry = json.loads(_decoded_line(where, line))
        except (json.JSONDecodeError, RecursionError) as error:
            raise OperatorFault(f"{where} is not JSON: {error}", remedy=REMEDY) from error
        yield _document(where, entry)
        found = True
    if not found:
        raise _empty(path)


def _document(where: str, entry: object) -> Document:
    match entry:
        case {"text": str(text), **rest} if text.strip() and not rest:
            return Running(text)
        case {"prompt": str(prompt), "response": str(response), **rest} if not rest:
            pair = Pair(prompt, response)
        case {"instruction": str(prompt), "input": str(given), "output": str(response), **rest} if not rest:
            pair = Pair(f"{prompt}\n\n{given}" if given.strip() else prompt, response)
        case {"instruction": str(prompt), "output": str(response), **rest} if not rest:
            pair = Pair(prompt, response)
        case _:
            raise OperatorFault(f"{where} has another form", remedy=REMEDY)
    if not pair.prompt.strip() or not pair.response.strip():
        raise OperatorFault(f"{where} has an empty text", remedy=REMEDY)
    return pair


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise OperatorFault(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE:
        raise OperatorFault(f"{path} has more than {MAX_FILE} bytes", remedy="divide it into several files")
    if not content.strip():
        raise _empty(path)
    return content


def _decoded(path: Path, content: bytes) -> str:
    return _decoded_line(str(path), content)


def _decoded_line(where: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OperatorFault(
            f"{where} is binary or in another encoding: no UTF-8 at byte {error.start}",
            remedy="convert the text to UTF-8",
        ) from error
    if "\0" in text:
        raise OperatorFault(f"{where} is binary: it holds zero bytes", remedy="give plain text in UTF-8")
    return text


def _empty(path: Path) -> OperatorFault:
    return OperatorFault(f"{path} is empty", remedy="put text into it, or remove it")
