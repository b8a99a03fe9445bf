"""What cannot work is refused before the job starts, with what is wrong and what would be right."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from node.learning.baseline import Silent
from node.learning.causal.base import open_base
from node.learning.causal.gguf import converted
from node.learning.causal.memory import Thrift, sparing
from node.learning.causal.rehearsal import random_base
from node.learning.causal.task import CausalTask
from node.learning.task import Resources
from protocol.errors import OperatorFault


@pytest.fixture
def own(member, tiny_base):
    """A member's folder with a base of its own, which a test may damage."""
    (member / "base").unlink()
    shutil.copytree(tiny_base, member / "base")
    return member


def edit(path, changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_base_digest_is_in_force_and_another_base_is_refused(member, open_task, tmp_path):
    task = open_task(member)
    digest = task.parameters["base"]
    assert digest == open_base(member / "base").digest
    assert open_task(member, base=digest).parameters == task.parameters
    other = open_base(random_base(tmp_path / "other", seed=1)).digest
    with pytest.raises(OperatorFault, match=f"{digest}, the job is for {other}"):
        open_task(member, base=other)


def test_the_digest_is_of_weights_vocabulary_and_configuration(own):
    base = own / "base"
    first = open_base(base).digest
    edit(base / "config.json", {"transformers_version": "0.0"})
    weights = load_file(base / "model.safetensors")
    names = sorted(weights)
    save_file({name: weights[name] for name in names[:5]}, base / "model.safetensors")
    save_file({name: weights[name] for name in names[5:]}, base / "model-2.safetensors")
    (base / "README.md").write_text("about this model")
    assert open_base(base).digest == first
    weights[names[0]][0] += 1
    save_file({name: weights[name] for name in names[:5]}, base / "model.safetensors")
    changed = open_base(base).digest
    edit(base / "config.json", {"hidden_act": "gelu"})
    assert len({first, changed, open_base(base).digest}) == 3


def remove(name):
    return lambda base: (base / name).unlink()


def pickled(base):
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def write(name, content):
    return lambda base: (base / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no base model at"),
        (remove("model.safetensors"), "not a model: it has no weights"),
        (pickled, "pickled weights"),
        (remove("config.json"), "not a model"),
        (write("config.json", b"{}"), "not a model"),
        (write("config.json", b"\x00\xff"), "not a model"),
        (remove("tokenizer.json"), "has no tokenizer"),
        (write("tokenizer.json", b"{}"), "tokenizer in .* cannot be read"),
        (write("model.safetensors", b"\xff" * 100), "weights in .* cannot be read"),
        (lambda base: edit(base / "config.json", {"vocab_size": 100}), "has 258 tokens, the model knows 100"),
        (
            lambda base: edit(
                base / "config.json", {"auto_map": {"AutoConfig": "evil.Config"}, "model_type": "evil"}
            ),
            "not a model",
        ),
        (
            lambda base: edit(base / "config.json", {"quantization_config": {"quant_method": "gptq"}}),
            "quantised already",
        ),
    ],
)
def test_a_folder_that_is_no_usable_model_is_refused(own, open_task, damage, message):
    damage(own / "base")
    with pytest.raises(OperatorFault, match=message):
        open_task(own)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"context": 1024}, "context of 1024 tokens is longer than the base model's 512"),
        ({"targets": ["q_proj", "nope"]}, "called 'nope'.*linear modules are q_proj, k_proj"),
        ({"targets": ["input_layernorm"]}, "cannot be adapted"),
        ({"targets": []}, "'targets'"),
        ({"targets": "q_proj"}, "'targets'"),
        ({"targets": ["q_proj", "q_proj"]}, "different texts"),
        ({"rank": 0}, "'rank' is '0'"),
        ({"averaging": "stacked"}, "one of average, frozen-a"),
        ({"micro_batch": 9}, "an integer from 1 to 4"),
        ({"checkpointing": 1}, "true or false"),
        ({"base": "abc"}, "64 hexadecimal digits"),
        ({"lora_rank": 8}, "unknown task parameters: lora_rank"),
    ],
)
def test_wrong_parameters_are_refused(member, open_task, parameters, message):
    with pytest.raises(OperatorFault, match=message):
        open_task(member, **parameters)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("base = 5", "base has a wrong value"),
        ("adapter = true", "adapter has a wrong value"),
        ("micro_batch = 0", "micro_batch has a wrong value"),
        ('checkpointing = "yes"', "checkpointing has a wrong value"),
        ("modle = 5", "nothing is called 'modle'"),
        ("base = ", "cannot be read"),
        ('base = "elsewhere"', "no base model at"),
    ],
)
def test_wrong_settings_are_refused(member, open_task, settings, message):
    (member / "causal.toml").write_text(settings)
    with pytest.raises(OperatorFault, match=message):
        open_task(member)


def test_a_folder_without_text_is_refused(member, open_task):
    task = open_task(member)
    (member / "held-out.txt").unlink()
    with pytest.raises(OperatorFault, match=r"has no held-out\*.jsonl"):
        task.load(member, Silent())
    with pytest.raises(OperatorFault, match="needs a data folder"):
        CausalTask({}, Resources("cpu", 1))


def test_what_is_no_gguf_is_refused(tmp_path, member, open_task):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"not that")
    with pytest.raises(OperatorFault, match="not a GGUF file"):
        converted(file, tmp_path / "cache")
    file.write_bytes(b"GGUF" + b"\xff" * 100)
    (member / "causal.toml").write_text(f"base = '{file}'")
    with pytest.raises(OperatorFault, match="cannot be converted"):
        converted(file, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("thrift", "remedy"),
    [
        (Thrift(8, 256, False), "micro_batch = 4"),
        (Thrift(1, 256, False), "checkpointing = true"),
        (Thrift(1, 256, True), "shorter context"),
    ],
)
def test_too_little_memory_gets_advice(thrift, remedy):
    with (
        pytest.raises(OperatorFault, match=f"computing {thrift.micro_batch} windows of 256") as caught,
        sparing(thrift, torch.device("cpu")),
    ):
        torch.empty(2**50, dtype=torch.uint8)
    assert remedy in caught.value.remedy


def test_other_failures_are_not_taken_for_too_little_memory():
    with pytest.raises(RuntimeError, match="shapes"), sparing(Thrift(1, 8, False), torch.device("cpu")):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
