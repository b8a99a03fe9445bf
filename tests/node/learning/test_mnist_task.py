"""The MNIST task in a real worker process, on synthetic digits; the real ones in slow tests."""

import numpy as np
import pytest
import torch

from node.learning.baseline import Silent, compare, open_members
from node.learning.learner import Learner, LearnerConfig
from node.learning.mnist.origin import obtain
from node.learning.mnist.shards import write_shards
from node.learning.mnist.task import MnistTask
from node.learning.task import Assignment, Resources
from node.learning.tensors import count_elements, digest
from protocol.errors import OperatorFault

# All members of a job must compute these very models from the same parameters, on any machine.
DIGESTS = {
    "cnn3": "27003f47ece0ea3d5054cea3f411730d6fcaa0033d78e5c317bdca07a0584357",
    "cnn": "978398e2844d94e248c6d96c966ea3ab61e31eee4d5bbd6a053e2947c2da6b5a",
    "mlp": "17f9f64fcd7020377fec78b5923676fedc6e6cf03a78846e89eb6b92f80cf52d",
}
SIZES = {"cnn3": 29_066, "cnn": 20_490, "mlp": 159_010}


@pytest.fixture
def shards(digits, tmp_path):
    return write_shards(digits, 2, "iid", 0, tmp_path)


@pytest.mark.parametrize("model", DIGESTS)
def test_the_initial_model_is_pinned(model):
    task = MnistTask({"model": model}, Resources("cpu", 1))
    assert count_elements(task.shared) == SIZES[model]
    assert digest(task.shared, task.initial()).hex() == DIGESTS[model]


async def test_another_process_with_more_threads_has_the_same_initial_model():
    async with Learner(LearnerConfig("mnist", device="cpu", threads=2)) as learner:
        shared = (await learner.describe()).shared
        assert digest(shared, await learner.initial_model()).hex() == DIGESTS["cnn3"]


async def test_training_learns_and_repeats(shards):
    heard = []
    config = LearnerConfig("mnist", {"model": "cnn", "epochs": 4}, shards[0], device="cpu")
    async with Learner(config, heard.append) as learner:
        description = await learner.describe()
        assert description.device == "cpu"
        assert {tensor.clip for tensor in description.shared} == {1.0}
        weights = await learner.initial_model()
        before = await learner.evaluate(weights)
        update = await learner.train(Assignment(1, 3, 11), weights)
        again = await learner.train(Assignment(1, 3, 11), weights)
        other = await learner.train(Assignment(1, 3, 12), weights)
        after = await learner.evaluate(tuple(w + d for w, d in zip(weights, update.delta, strict=True)))
    assert update.samples == 300
    assert after.samples == 200
    assert before.metrics["accuracy"] < 0.5 < 0.9 < after.metrics["accuracy"]
    assert update.metrics["learning_rate"] == 0.05
    same = [np.array_equal(one, two) for one, two in zip(update.delta, again.delta, strict=True)]
    assert all(same)
    assert not any(np.array_equal(one, two) for one, two in zip(update.delta, other.delta, strict=True))
    assert {progress.stage for progress in heard} == {"train", "evaluate"}
    assert max(progress.done for progress in heard) == 4 * 5


def test_the_learning_rate_falls_from_the_first_to_the_final(shards):
    (member,) = open_members("mnist", {"model": "mlp", "final_rate": "0.01"}, shards[:1], Resources("cpu"))
    rates = [
        member.train(member.initial(), Assignment(number, 5, 1), Silent()).metrics["learning_rate"]
        for number in range(1, 6)
    ]
    assert rates[0] == 0.05
    assert rates[2] == pytest.approx(0.03)
    assert rates[-1] == pytest.approx(0.01)
    assert rates == sorted(rates, reverse=True)


def test_together_beats_alone_where_labels_are_split(digits, tmp_path):
    shards = write_shards(digits, 2, "labels-1", 0, tmp_path)
    parameters = {"model": "mlp", "epochs": 2}
    heard = []
    members = open_members("mnist", parameters, shards, Resources("cpu"))
    courses = compare(members, 4, 0, lambda who, number, metrics: heard.append((who, number)))
    together = courses.pop("together").final["accuracy"]
    assert sorted(courses) == ["member 1", "member 2"]
    assert all(course.final["accuracy"] < 0.6 < together for course in courses.values())
    assert heard == [(who, number) for who in ("together", *courses) for number in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "resnet"}, "one of cnn3, cnn, mlp"),
        ({"epochs": 0}, "an integer from 1 to 100"),
        ({"learning_rate": "fast"}, "a number from"),
        ({"lr": 1}, "unknown task parameters: lr"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(OperatorFault, match=message):
        MnistTask(parameters, Resources("cpu"))


@pytest.mark.parametrize(
    ("device", "message"), [("tpu", "no device is called 'tpu'"), ("cuda", "finds no such")]
)
def test_a_device_that_is_not_there_is_refused(device, message):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(OperatorFault, match=message):
        MnistTask({}, Resources(device))


def test_bad_data_are_refused_at_loading(shards):
    (shards[0] / "train.npz").write_bytes(b"PK broken")
    with pytest.raises(OperatorFault, match="not a readable NPZ file"):
        open_members("mnist", {}, shards, Resources("cpu"))


@pytest.mark.slow
def test_three_members_reach_the_accuracy_of_the_demonstration(tmp_path):
    """The real data; the small cnn, one epoch a round, to stay within a minute of one processor."""
    try:
        original = obtain(Silent())
    except OperatorFault as error:
        pytest.skip(f"the real MNIST cannot be had: {error}")
    shards = write_shards(original, 3, "iid", 0, tmp_path)
    members = open_members("mnist", {"model": "cnn"}, shards, Resources("cpu"))
    courses = compare(members, 3, 0, lambda who, number, metrics: None)
    assert courses["together"].final["accuracy"] > 0.975
