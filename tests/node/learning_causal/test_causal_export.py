"""Adapters in peft's own files: loaded by plain peft, and read back."""

import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from node.learning.baseline import Silent
from node.learning.causal.export import read_adapter, write_adapter
from node.learning.task import Assignment
from protocol.errors import OperatorFault


def trained(task):
    weights = task.initial()
    update = task.train(weights, Assignment(1, 1, 1), Silent())
    return tuple(old + delta for old, delta in zip(weights, update.delta, strict=True))


@pytest.mark.parametrize("averaging", ["average", "frozen-a"])
def test_plain_peft_loads_what_was_exported(member, load_task, tiny_base, tmp_path, averaging):
    task = load_task(member, averaging=averaging, quantisation="none")
    weights = trained(task)
    folder = write_adapter(task.adapters, weights, tiny_base, tmp_path / "adapter")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), folder)
    windows = task.read(member, Silent())[1]
    tokens = torch.from_numpy(windows.inputs.astype(np.int64))
    with torch.no_grad():
        loss = plain(input_ids=tokens, labels=tokens).loss.item()
    ours = task.evaluate(weights, Silent()).metrics["loss"]
    base = task.evaluate(task.initial(), Silent()).metrics["loss"]
    assert loss == pytest.approx(ours, rel=1e-3)
    assert abs(loss - base) > 0.01
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    given = tokenizer("The quick", return_tensors="pt")
    written = plain.generate(**given, max_new_tokens=8, do_sample=False, pad_token_id=0)
    text = tokenizer.decode(written[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
    assert task.generate(weights, "The quick", 8) == text
    assert all(
        np.array_equal(x, y) for x, y in zip(read_adapter(task.adapters, folder), weights, strict=True)
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rank": 8}, "another rank: 4 instead of 8"),
        ({"alpha": 32}, "another alpha: 16"),
        ({"targets": ["q_proj"]}, "another set of tensors"),
        ({"averaging": "frozen-a", "seed": 5}, "than this job's seed gives"),
    ],
)
def test_an_adapter_of_another_job_is_refused(member, load_task, open_task, tmp_path, parameters, message):
    task = load_task(member)
    folder = write_adapter(task.adapters, trained(task), member / "base", tmp_path / "adapter")
    with pytest.raises(OperatorFault, match=message):
        read_adapter(open_task(member, **parameters).adapters, folder)


def test_a_job_goes_on_from_an_adapter_or_is_refused_before_it_starts(member, load_task, open_task):
    task = load_task(member)
    weights = trained(task)
    write_adapter(task.adapters, weights, member / "base", member / "adapter")
    (member / "causal.toml").write_text('adapter = "adapter"')
    further = open_task(member).initial()
    assert all(np.array_equal(x, y) for x, y in zip(further, weights, strict=True))
    with pytest.raises(OperatorFault, match="another rank: 4 instead of 8"):
        open_task(member, rank=8)
    (member / "causal.toml").write_text('adapter = "nowhere"')
    with pytest.raises(OperatorFault, match="holds no adapter"):
        open_task(member)


def test_damaged_files_are_refused(member, open_task, tmp_path):
    task = open_task(member)
    folder = write_adapter(task.adapters, task.initial(), member / "base", tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(member / "base")
    (folder / "adapter_model.safetensors").write_bytes(b"\xff" * 50)
    with pytest.raises(OperatorFault, match="holds no adapter"):
        read_adapter(task.adapters, folder)
    with pytest.raises(OperatorFault, match="holds no adapter"):
        read_adapter(task.adapters, tmp_path)
