"""Text and pairs become windows in which nothing to learn is lost."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from node.learning.baseline import Silent
from node.learning.causal.model import turn
from node.learning.causal.packing import IGNORED, pack, render
from node.learning.causal.text import Pair, Running, read_documents
from protocol.errors import OperatorFault

END = 0


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture
def plain(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", None)
    return tokenizer


def packed(documents, tokenizer, context):
    return pack(documents, tokenizer, context, "here", Silent())


def test_running_text_fills_windows_and_ends_between_documents(tokenizer):
    windows = packed([Running("abcdefg"), Running("hijklmnop")], tokenizer, 8)
    assert [tokenizer.decode(row) for row in windows.inputs] == ["abcdefg<|end|>", "hijklmno"]
    assert np.array_equal(windows.inputs, windows.labels)
    assert windows.learned == 2 * 7


def test_a_short_text_is_padded_and_padding_is_not_learned(tokenizer):
    windows = packed([Running("abc")], tokenizer, 8)
    assert windows.inputs.shape == (1, 8)
    assert list(windows.labels[0, 4:]) == [IGNORED] * 4
    assert windows.learned == 3


def test_a_long_text_survives_its_division_into_blocks(tokenizer):
    text = "".join(f"line {number}\n" for number in range(15_000)) + "x" * 70_000
    windows = packed([Running(text)], tokenizer, 100)
    kept = tokenizer.decode(windows.inputs.reshape(-1))
    assert text.startswith(kept)
    assert len(text) - len(kept) < 100


def test_only_responses_are_learned_and_pairs_stay_whole(plain):
    pairs = [Pair("ab", "cd"), Pair("efg", "hi"), Pair("j", "klmnopqrstuv")]
    windows = packed(pairs, plain, 16)
    texts = [plain.decode(row[row != END]) for row in windows.inputs]
    assert texts == ["ab\n\ncdefg\n\nhi", "j\n\nklmnopqrstuv"]
    learned = [plain.decode([label for label in row if label != IGNORED]) for row in windows.labels]
    assert learned == ["cd<|end|>hi<|end|>", "klmnopqrstuv<|end|>"]


def test_a_pair_longer_than_the_window_loses_its_end(plain):
    windows = packed([Pair("ab", "c" * 50)], plain, 16)
    assert windows.inputs.shape == (1, 16)
    assert windows.learned == 12


def test_a_prompt_that_fills_the_window_is_left_out(plain):
    windows = packed([Pair("a" * 50, "b"), Pair("c", "d")], plain, 16)
    assert len(windows) == 1
    with pytest.raises(OperatorFault, match="nothing to learn"):
        packed([Pair("a" * 50, "b")], plain, 16)


def test_the_chat_template_is_used_where_there_is_one(tokenizer):
    given, learned = render(Pair("why?", "because"), tokenizer)
    assert given == "<|start|>user\nwhy?<|end|><|start|>assistant\n"
    assert learned == "because<|end|>"


def test_every_epoch_visits_each_window_once():
    seen = [window for step in range(14) for window in turn(7, step, 4)]
    for epoch in range(8):
        assert sorted(seen[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert seen[:7] != seen[7:14]


def test_all_forms_of_lines_are_read(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"text": "running"}\n\n{"prompt": "p", "response": "r"}\n'
        '{"instruction": "i", "input": "x", "output": "o"}\n'
        '{"instruction": "i", "input": "", "output": "o"}\n{"instruction": "i", "output": "o"}\n'
    )
    other = tmp_path / "train.txt"
    other.write_bytes("\ufeffäöü".encode())
    assert list(read_documents([path, other])) == [
        Running("running"),
        Pair("p", "r"),
        Pair("i\n\nx", "o"),
        Pair("i", "o"),
        Pair("i", "o"),
        Running("äöü"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b" \n\t\n", "is empty"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\xff\xd8", "no UTF-8 at byte 0"),
        ("a.txt", b"text\0more", "holds zero bytes"),
        ("a.jsonl", b"\n\n", "is empty"),
        ("a.jsonl", b'{"text": "good"}\n{"text": ', "line 2 is not JSON"),
        ("a.jsonl", b'{"text": "good"}\n["bad"]', "line 2 has another form"),
        ("a.jsonl", b'{"text": ""}', "another form"),
        ("a.jsonl", b'{"text": 5}', "another form"),
        ("a.jsonl", b'{"text": "a", "prompt": "b"}', "another form"),
        ("a.jsonl", b'{"prompt": "why", "response": " "}', "empty text"),
        ("a.jsonl", b'{"text": "\xff"}', "line 1 is binary"),
        ("a.jsonl", b"[" * 100_000, "is not JSON"),
    ],
)
def test_bad_text_is_refused_with_its_place(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(OperatorFault, match=message) as caught:
        list(read_documents([path]))
    assert name in caught.value.what
