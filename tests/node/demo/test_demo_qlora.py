"""The whole demo with a tiny language model: real daemons, and at last an adapter that plain peft loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from node.learning.baseline import Silent
from node.learning.causal.rehearsal import random_base
from node.learning.causal.task import CausalTask
from node.learning.task import Resources

TEXTS = ("The quick brown fox jumps over the lazy dog", "3.14159 26535 89793 23846 26433")
PARAMETERS = {
    "context": 48,
    "steps": 6,
    "batch": 4,
    "rank": 4,
    "learning_rate": "0.01",
    "quantisation": "none",
}


def run_demo(folder, base, texts):
    options = ["--task", "qlora", "--members", "2", "--rounds", "2", "--key", "insecure-test-384", "--json"]
    options += ["--base", str(base), "--data", str(texts), "--folder", str(folder)]
    options += [f"--parameter={name}={json.dumps(value)}" for name, value in PARAMETERS.items()]
    done = subprocess.run(
        [sys.executable, "-m", "node.demo.command", *options],
        capture_output=True,
        text=True,
        timeout=1200,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_cohort_makes_an_adapter_that_plain_peft_loads(tmp_path):
    base = random_base(tmp_path / "base")
    texts = tmp_path / "texts"
    texts.mkdir()
    for number, text in enumerate(TEXTS):
        (texts / f"{number}.txt").write_text("\n\n".join(f"{text} {line}." for line in range(60)))
    outcome = run_demo(tmp_path / "cohort", base, texts)
    assert outcome["right"] is True
    losses = outcome["language"]["losses"]
    assert list(losses) == ["base", "joint", "member-1", "member-2", "one place"]
    for index, (before, after) in enumerate(zip(losses["base"], losses["joint"], strict=True)):
        assert after < before
        last = outcome["by_member"]["2"][f"member-{index + 1}"]
        assert last["loss"] == pytest.approx(after, abs=1e-4)
    assert np.mean(losses["joint"]) < np.mean([losses["member-1"], losses["member-2"]])
    assert Path(outcome["language"]["plot"]).read_bytes().startswith(b"\x89PNG")

    adapter = outcome["language"]["adapter"]
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    shard = tmp_path / "cohort" / "data" / "member-1"
    windows = CausalTask(PARAMETERS, Resources("cpu", 1, shard)).read(shard, Silent())[1]
    tokens = torch.from_numpy(windows.inputs.astype(np.int64))
    with torch.no_grad():
        loss = plain(input_ids=tokens, labels=tokens).loss.item()
    assert loss == pytest.approx(losses["joint"][0], rel=1e-3)
