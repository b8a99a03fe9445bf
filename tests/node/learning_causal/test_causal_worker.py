"""The task in a real worker process, and three members together."""

import numpy as np
import pytest

from node.confinement.kernel import kernel
from node.learning.causal.compare import Bench, compare
from node.learning.causal.rehearsal import random_member
from node.learning.learner import Learner, LearnerConfig
from node.learning.task import Assignment, Resources
from protocol.errors import OperatorFault

PARAMETERS = {"context": 48, "steps": 4, "batch": 4, "rank": 4, "learning_rate": "0.01"}
TEXTS = [
    "The quick brown fox jumps over the lazy dog.\n",
    "3.14159 26535 89793 23846 26433 83279 50288\n",
    "HOW VEXINGLY QUICK DAFT ZEBRAS JUMP!\n",
]


async def test_a_worker_trains_and_evaluates_with_progress(member, tiny_base):
    heard = []
    config = LearnerConfig("causal-lm", PARAMETERS, member, device="cpu", also_read=(tiny_base,))
    async with Learner(config, heard.append) as learner:
        description = await learner.describe()
        assert description.device == "cpu (float32, base nf4, 1 threads)"
        assert description.parameters["targets"] == ["q_proj", "v_proj"]
        assert len(description.parameters["base"]) == 64
        assert (await learner.load()).evaluation > 0
        weights = await learner.initial_model()
        before = await learner.evaluate(weights)
        update = await learner.train(Assignment(1, 1, 5), weights)
        after = await learner.evaluate(tuple(w + d for w, d in zip(weights, update.delta, strict=True)))
    assert after.metrics["loss"] < before.metrics["loss"]
    assert {"perplexity", "predicted", "peak_bytes", "cpu_seconds"} <= after.metrics.keys()
    assert {progress.stage for progress in heard} == {"read text", "load the base model", "train", "evaluate"}
    assert max(progress.done for progress in heard if progress.stage == "train") == 4


async def test_a_worker_refuses_another_base_before_the_job(member, tiny_base):
    parameters = PARAMETERS | {"base": "0" * 64}
    config = LearnerConfig("causal-lm", parameters, member, device="cpu", also_read=(tiny_base,))
    async with Learner(config) as learner:
        with pytest.raises(OperatorFault, match="the job is for 0000"):
            await learner.describe()


@pytest.mark.skipif(not kernel().landlock, reason="this kernel has no Landlock")
async def test_a_base_that_is_not_named_may_not_be_read_and_the_error_says_how(member):
    async with Learner(LearnerConfig("causal-lm", PARAMETERS, member, device="cpu")) as learner:
        with pytest.raises(OperatorFault, match=r"learning\.also_read"):
            await learner.describe()


@pytest.mark.parametrize("averaging", ["average", "frozen-a"])
def test_together_members_learn_what_each_alone_does_not(tmp_path, tiny_base, averaging):
    folders = [random_member(tmp_path / f"m{n}", tiny_base, text) for n, text in enumerate(TEXTS)]
    parameters = PARAMETERS | {"averaging": averaging, "quantisation": "none"}
    heard = []
    bench = Bench(folders, parameters, Resources("cpu"))
    courses = compare(bench, 3, 0, 16, lambda who, number, losses: heard.append((who, number)))
    base = courses["together"].losses[0]
    means = {who: np.mean(course.losses[-1]) for who, course in courses.items()}
    assert all(after < before for after, before in zip(courses["together"].losses[-1], base, strict=True))
    assert means["together"] < np.mean([means[f"member {n}"] for n in (1, 2, 3)])
    assert all(0 < course.reach <= 1 for course in courses.values())
    assert heard.count(("together", 3)) == 1


def test_sixteen_bits_lose_nothing_and_four_little(tmp_path, tiny_base):
    folders = [random_member(tmp_path / f"m{n}", tiny_base, text) for n, text in enumerate(TEXTS)]
    bench = Bench(folders, PARAMETERS | {"quantisation": "none"}, Resources("cpu"))
    train = [text.train for text in bench.texts]
    base = np.mean(bench.evaluate(bench.task.initial()))
    final = {
        bits: np.mean(bench.course(train, 3, 0, bits, lambda number, losses: None)[0].losses[-1])
        for bits in (0, 16, 4)
    }
    gain = base - final[0]
    assert gain > 0.05
    assert final[16] == pytest.approx(final[0], abs=0.02 * gain)
    assert final[4] == pytest.approx(final[0], abs=0.4 * gain)
