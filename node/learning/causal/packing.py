"""Packs documents into windows of equal length, so that no computation is spent on padding running text.

Running texts follow each other with the end-of-text token between them and are cut into full windows; the
last part is dropped unless it is the only one. A pair is never cut in two: pairs share a window while they
fit, the rest of it is padding, and only responses are learned. A text may see what stands before it in its
window; with a causal model, padding at the end needs no mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from node.learning.causal.text import Document, Pair, Running
from node.learning.task import Monitor
from protocol.errors import OperatorFault

# The label of a token that is not learned: what PyTorch's cross entropy ignores by default.
IGNORED = -100
# Tokenizers take time and memory out of proportion for one very long text.
BLOCK = 2**16  # characters
# Two arrays of 1 GiB each; an epoch of that takes a GPU days.
MAX_TOKENS = 2**28

Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class Windows:
    """`inputs` and `labels` of shape (windows, context); label i is the token itself, or `IGNORED`."""

    inputs: Tokens
    labels: Tokens

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def learned(self) -> int:
        """How many tokens are predicted: all labels but the first of each window, which has no past."""
        return int((self.labels[:, 1:] != IGNORED).sum())


@dataclass(frozen=True)
class _Piece:
    """Tokens with labels; `whole` ones must not be cut."""

    tokens: list[int]
    labels: list[int]
    whole: bool


def pack(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    context: int,
    where: str,
    monitor: Monitor,
) -> Windows:
    """Windows of `context` tokens; `where` names the source in errors.

    Raises:
        OperatorFault: nothing is left to learn, or there are more than `MAX_TOKENS` tokens.
    """
    packer = _Packer(context, _end(tokenizer))
    for number, document in enumerate(documents, start=1):
        for piece in _pieces(document, tokenizer):
            packer.add(piece)
            if packer.tokens > MAX_TOKENS:
                raise OperatorFault(
                    f"{where} has more than {MAX_TOKENS} tokens", remedy="train on a part of it"
                )
        monitor.progress("read text", number, number)
    windows = packer.windows()
    if windows.learned == 0:
        raise OperatorFault(
            f"{where} holds nothing to learn: {packer.tokens} tokens, no response within {context}",
            remedy="give more text, or a job with a longer context",
        )
    return windows


class _Packer:
    def __init__(self, context: int, end: int) -> None:
        self._context = context
        self._end = end
        self._full: list[tuple[Tokens, Tokens]] = []
        self._inputs: list[int] = []
        self._labels: list[int] = []
        self.tokens = 0

    def add(self, piece: _Piece) -> None:
        """Adds a piece. A whole one that is longer than a window loses its end, or if nothing to learn is
        left of it, is left out."""
        self.tokens += len(piece.tokens)
        if piece.whole and all(label == IGNORED for label in piece.labels[: self._context]):
            return
        if piece.whole and len(self._inputs) + len(piece.tokens) > self._context:
            self._pad()
        self._inputs += piece.tokens[: self._context] if piece.whole else piece.tokens
        self._labels += piece.labels[: self._context] if piece.whole else piece.labels
        while len(self._inputs) >= self._context:
            self._close()

    def windows(self) -> Windows:
        learned = sum(label != IGNORED for label in self._labels[1:])
        if not self._full or learned < len(self._labels) - 1:
            self._pad()
        if not self._full:
            return Windows(np.empty((0, self._context), np.int32), np.empty((0, self._context), np.int32))
        inputs, labels = zip(*self._full, strict=True)
        return Windows(np.stack(inputs), np.stack(labels))

    def _pad(self) -> None:
        if self._inputs:
            missing = self._context - len(self._inputs)
            self._inputs += [self._end] * missing
            self._labels += [IGNORED] * missing
            self._close()

    def _close(self) -> None:
        context = self._context
        self._full.append(
            (np.array(self._inputs[:context], np.int32), np.array(self._labels[:context], np.int32))
        )
        del self._inputs[:context], self._labels[:context]


def _pieces(document: Document, tokenizer: PreTrainedTokenizerBase) -> Iterator[_Piece]:
    match document:
        case Running(text):
            for block in _blocks(text):
                tokens = _tokens(tokenizer, block)
                yield _Piece(tokens, tokens, whole=False)
            end = [_end(tokenizer)]
            yield _Piece(end, end, whole=False)
        case Pair():
            given, learned = (_tokens(tokenizer, part) for part in render(document, tokenizer))
            yield _Piece(given + learned, [IGNORED] * len(given) + learned, whole=True)


def render(pair: Pair, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """The pair as the model reads it, prompt and response apart: by the chat template where there is one."""
    if not tokenizer.chat_template:
        return f"{pair.prompt}\n\n", f"{pair.response}{tokenizer.eos_token}"
    question = [{"role": "user", "content": pair.prompt}]
    answer = [{"role": "assistant", "content": pair.response}]
    given = str(tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True))
    both = str(tokenizer.apply_chat_template(question + answer, tokenize=False))
    if not both.startswith(given):
        raise OperatorFault(
            "the tokenizer's chat template changes a question once it is answered",
            remedy='give running text instead ({"text": …}), rendered as the model expects it',
        )
    return given, both[len(given) :]


def _blocks(text: str) -> Iterator[str]:
    """Parts of about `BLOCK` characters, cut after a line's end where there is one."""
    start = 0
    while start < len(text):
        stop = text.rfind("\n", start, start + BLOCK) + 1 if start + BLOCK < len(text) else len(text)
        stop = stop if stop > start else start + BLOCK
        yield text[start:stop]
        start = stop


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    # A text of a megabyte is no mistake here: silence the warning about the model's context.
    tokens: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return tokens


def _end(tokenizer: PreTrainedTokenizerBase) -> int:
    return int(tokenizer.eos_token_id)
