"""Fine-tuning a tiny language model: learning, repeating, thrift, and the same beginning for everyone."""

import numpy as np
import pytest

from node.learning.baseline import Silent
from node.learning.task import Assignment
from node.learning.tensors import digest

FIRST = Assignment(1, 3, 7)
# All members of a job must compute these very adapters from the same parameters, on any machine.
DIGESTS = {
    "average": "0d1f56986821c9609fbe8279fd2147bd7fe2371f05ee9699e910b6a248281635",
    "frozen-a": "0ff1763d3c4e53cec7b4a5dc1bc8aa38d5a89d19a3f9f989e5eb86ae25619d0e",
}


def after(weights, update):
    return tuple(old + delta for old, delta in zip(weights, update.delta, strict=True))


@pytest.mark.parametrize("averaging", ["average", "frozen-a"])
@pytest.mark.parametrize("quantisation", ["nf4", "none"])
def test_a_round_lowers_the_held_out_loss(member, load_task, averaging, quantisation):
    task = load_task(member, averaging=averaging, quantisation=quantisation, steps=12)
    weights = task.initial()
    before = task.evaluate(weights, Silent()).metrics
    update = task.train(weights, FIRST, Silent())
    later = task.evaluate(after(weights, update), Silent()).metrics
    assert later["loss"] < before["loss"] - 0.1
    assert later["perplexity"] == pytest.approx(np.exp(later["loss"]))
    assert update.samples == len(task.read(member, Silent())[0])


def test_adapters_still_move_after_an_evaluation(member, load_task):
    """bitsandbytes repacks weights at an evaluation on some processors; training then does nothing."""
    task = load_task(member)
    weights = task.initial()
    task.evaluate(weights, Silent())
    task.generate(weights, "The", 3)
    update = task.train(weights, FIRST, Silent())
    assert all(delta.any() for delta in update.delta)


def test_a_round_repeats_and_rounds_see_other_text(member, load_task):
    task = load_task(member)
    weights = task.initial()
    one, again = (task.train(weights, FIRST, Silent()) for _ in range(2))
    other = task.train(weights, Assignment(2, 3, 7), Silent())
    assert all(np.array_equal(x, y) for x, y in zip(one.delta, again.delta, strict=True))
    assert not any(np.array_equal(x, y) for x, y in zip(one.delta, other.delta, strict=True) if x.any())


@pytest.mark.parametrize("setting", ["micro_batch = 1", "checkpointing = true"])
def test_thrift_changes_what_a_round_costs_and_not_what_it_computes(member, load_task, setting):
    plain = load_task(member, quantisation="none", dropout=0)
    (member / "causal.toml").write_text(setting)
    thrifty = load_task(member, quantisation="none", dropout=0)
    assert plain.parameters == thrifty.parameters
    weights = plain.initial()
    one, other = (task.train(weights, FIRST, Silent()) for task in (plain, thrifty))
    for x, y in zip(one.delta, other.delta, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-4)


@pytest.mark.parametrize("averaging", DIGESTS)
def test_the_first_adapters_are_pinned(member, open_task, averaging):
    task = open_task(member, averaging=averaging)
    assert digest(task.shared, task.initial()).hex() == DIGESTS[averaging]
    other = open_task(member, averaging=averaging, seed=1)
    assert (digest(other.shared, other.initial()).hex() == DIGESTS[averaging]) == (averaging == "frozen-a")


def test_what_is_shared_follows_the_scheme(member, open_task):
    average, frozen = open_task(member), open_task(member, averaging="frozen-a")
    names = [tensor.name for tensor in average.shared]
    assert names[:4] == [
        "model.layers.0.self_attn.q_proj.lora_A.weight",
        "model.layers.0.self_attn.q_proj.lora_B.weight",
        "model.layers.0.self_attn.v_proj.lora_A.weight",
        "model.layers.0.self_attn.v_proj.lora_B.weight",
    ]
    assert [tensor.shape for tensor in average.shared[:4]] == [(4, 64), (64, 4), (4, 64), (32, 4)]
    assert [tensor.name for tensor in frozen.shared] == [name for name in names if "lora_B" in name]
    assert not any(tensor.any() for tensor in frozen.initial())


def test_an_update_stays_within_its_clip(member, load_task):
    task = load_task(member, steps=20)
    update = task.train(task.initial(), FIRST, Silent())
    (clip,) = {tensor.clip for tensor in task.shared}
    assert clip == pytest.approx(1.1 * 20 * 0.01)
    assert max(np.abs(delta).max() for delta in update.delta) <= clip


def test_with_a_frozen_a_the_average_of_products_is_the_product_of_the_average(member, load_task):
    """B and A of a module as matrices: what each member's adapter adds, and what the averaged one adds."""
    task = load_task(member, averaging="frozen-a")
    frozen = task.adapters.frozen()
    weights = task.initial()
    own = [after(weights, task.train(weights, Assignment(n, 3, n), Silent())) for n in (1, 2)]
    for index, tensor in enumerate(task.shared):
        a = frozen[tensor.name.replace("lora_B", "lora_A")]
        products = sum(each[index] @ a for each in own) / 2
        np.testing.assert_allclose((own[0][index] + own[1][index]) / 2 @ a, products, atol=1e-6)


def test_the_adapter_itself_is_used(member, load_task):
    task = load_task(member, quantisation="none")
    nothing = tuple(np.zeros(tensor.shape, np.float32) for tensor in task.shared)
    much = tuple(np.full(tensor.shape, 0.5, np.float32) for tensor in task.shared)
    base = task.evaluate(task.initial(), Silent()).metrics["loss"]
    assert task.evaluate(nothing, Silent()).metrics["loss"] == pytest.approx(base)
    assert task.evaluate(much, Silent()).metrics["loss"] != pytest.approx(base, abs=1e-3)


def test_the_device_says_all_that_was_chosen(member, open_task):
    assert open_task(member).device == "cpu (float32, base nf4, 1 threads)"
