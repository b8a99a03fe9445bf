"""What the demo has done in processes of their own: shards, comparison, judgement."""

import json
import subprocess
import sys

import numpy as np
import pytest
import trio
from peft import PeftModel
from transformers import AutoModelForCausalLM

from node.confinement.policy import Confinement
from node.learning.baseline import Silent
from node.learning.causal.compare import Bench
from node.learning.causal.errands import judge, make_shards, train
from node.learning.causal.export import read_adapter, read_archive
from node.learning.causal.folder import open_folder
from node.learning.errand import run_errand
from node.learning.task import Resources
from protocol.errors import OperatorFault

PARAMETERS = {
    "context": 48,
    "steps": 4,
    "batch": 4,
    "rank": 4,
    "learning_rate": "0.01",
    "quantisation": "none",
}
TEXTS = ("The quick brown fox jumps over the lazy dog", "3.14159 26535 89793 23846", "HOW VEXINGLY QUICK!")


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, text in enumerate(TEXTS, start=1):
        paragraphs = [f"{text} {line}." for line in range(60)]
        (folder / f"{number}.txt").write_text("\n\n".join(paragraphs))
    return folder


class Heard:
    def __init__(self) -> None:
        self.stages = []

    def progress(self, stage, done, total, metrics=None):
        self.stages.append((stage, done, total))


@pytest.fixture
def bench(tiny_base, texts, tmp_path):
    shards = make_shards(tiny_base, texts, 3, tmp_path / "data", Silent())
    return Bench(shards, PARAMETERS, Resources("cpu"))


def test_texts_of_ones_own_are_divided_by_paragraphs(tiny_base, texts, tmp_path):
    shards = make_shards(tiny_base, texts, 2, tmp_path / "data", Silent())
    assert [shard.name for shard in shards] == ["member-1", "member-2"]
    assert open_folder(shards[0]).base == tiny_base
    training = (shards[1] / "train.txt").read_text()
    held_out = (shards[1] / "held-out.txt").read_text()
    assert "89793 23846 1.\n\n" in training
    assert held_out.count("\n\n") == 6
    assert not set(training.split("\n\n")) & set(held_out.split("\n\n")) - {""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x00\x01", "binary"),
        (b"\xff\xfe\x41", "no UTF-8"),
        (b"one\n\ntwo", "has 2 paragraphs"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused(tiny_base, texts, tmp_path, content, message):
    (texts / "2.txt").write_bytes(content)
    with pytest.raises(OperatorFault, match=message):
        make_shards(tiny_base, texts, 3, tmp_path / "data", Silent())


def test_too_few_texts_and_no_model_are_refused(tiny_base, texts, tmp_path):
    with pytest.raises(OperatorFault, match=r"has 3 files .* for 4 members"):
        make_shards(tiny_base, texts, 4, tmp_path / "data", Silent())
    with pytest.raises(OperatorFault, match="not a model"):
        make_shards(texts, texts, 3, tmp_path / "data", Silent())


def test_every_contender_learns_as_much_as_it_should(bench):
    heard = Heard()
    base = bench.evaluate(bench.task.initial())
    alone = train(bench, "alone", 2, heard)
    assert list(alone) == ["member-1", "member-2", "member-3"]
    assert heard.stages[0] == ("each member alone", 0, 6)
    assert heard.stages[-1] == ("each member alone", 6, 6)
    for number, losses in enumerate(alone.values()):
        assert losses[number] < base[number]
    together = train(bench, "together", 2, Silent())["together"]
    one_place = train(bench, "one-place", 2, Silent())["one place"]
    assert np.mean(together) < np.mean(base)
    assert np.mean(one_place) < np.mean(base)
    assert np.mean(together) < np.mean(list(alone.values()))


def test_the_judge_measures_writes_and_exports_what_peft_loads(bench, tiny_base, tmp_path):
    first = bench.task.initial()
    joint = tuple(tensor + np.float32(0.05) for tensor in first)
    names = [tensor.name for tensor in bench.adapters.shared]
    np.savez(tmp_path / "joint.npz", **dict(zip(names, joint, strict=True)))
    found = judge(bench, tmp_path / "joint.npz", tmp_path / "adapter", tiny_base, ["The quick"])
    assert found["base"] == bench.evaluate(first)
    assert found["joint"] == bench.evaluate(joint) != found["base"]
    assert found["samples"][0]["before"] != found["samples"][0]["after"]
    read = read_adapter(bench.adapters, tmp_path / "adapter")
    assert all(np.array_equal(one, other) for one, other in zip(read, joint, strict=True))
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), found["adapter"])
    loaded = {name: value for name, value in plain.state_dict().items() if "lora_" in name}
    assert len(loaded) == len(joint)


def test_what_a_node_exported_becomes_what_peft_loads(bench, tiny_base, tmp_path):
    joint = tuple(tensor + np.float32(0.05) for tensor in bench.task.initial())
    names = [tensor.name for tensor in bench.adapters.shared]
    np.savez(tmp_path / "joint.npz", **dict(zip(names, joint, strict=True)))
    command = ["node.learning.causal.errands", "adapter", "--parameters", json.dumps(PARAMETERS)]
    command += ["--model", str(tmp_path / "joint.npz"), "--out", str(tmp_path / "adapter")]
    data, adapter = tmp_path / "data" / "member-1", tmp_path / "adapter"
    adapter.mkdir()
    confined = Confinement((data, tiny_base, tmp_path / "joint.npz"), (adapter,))
    found = trio.run(run_errand, [*command, str(data)], lambda *_: None, confined)
    assert found == {"adapter": str(tmp_path / "adapter")}
    read = read_adapter(bench.adapters, tmp_path / "adapter")
    assert all(np.array_equal(one, other) for one, other in zip(read, joint, strict=True))


def test_an_archive_of_another_job_is_refused(bench, tmp_path):
    np.savez(tmp_path / "other.npz", weight=np.zeros(3, np.float32))
    (tmp_path / "noise.npz").write_bytes(b"\xff" * 50)
    for name, message in (
        ("other", "has no model.layers.0"),
        ("noise", "no archive"),
        ("none", "no archive"),
    ):
        with pytest.raises(OperatorFault, match=message):
            read_archive(bench.adapters, tmp_path / f"{name}.npz")


def test_as_a_process_it_answers_in_lines_and_fails_in_one(tiny_base, texts, tmp_path):
    command = [sys.executable, "-m", "node.learning.causal.errands", "shards", "--members", "4"]
    command += ["--base", str(tiny_base), "--texts", str(texts), "--out", str(tmp_path / "data")]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert failed.returncode == 1
    assert failed.stderr.strip().splitlines()[-1].startswith("error: ")
    command[command.index("4")] = "3"
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    shards = json.loads(done.stdout.splitlines()[-1])["shards"]
    assert [open_folder(tmp_path / "data" / f"member-{n}").path for n in (1, 2, 3)] == [
        type(tmp_path)(shard) for shard in shards
    ]
