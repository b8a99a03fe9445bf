"""Low-rank updates: exact sums, nothing lost but delayed, and a memory that survives restarts."""

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.learning import registry
from node.learning.baseline import Silent, federate
from node.learning.learner import Learner, LearnerConfig
from node.learning.lowrank.factors import Slot, plan
from node.learning.lowrank.task import MEMORY, LowRankTask
from node.learning.task import Assignment, Resources
from node.learning.tensors import SharedTensor, check_shared, check_tensors, count_elements
from protocol.errors import OperatorFault

ROUND = Assignment(1, 10, 0)


@pytest.fixture(autouse=True)
def inner_task(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    point = EntryPoint("matrices", "matrices:Matrices", registry.GROUP)
    monkeypatch.setitem(registry.BUILT_IN, "matrices", point)


@pytest.fixture
def open_member(tmp_path):
    """Makes a member by number, as a new process would."""
    return lambda number, **given: opened(tmp_path / f"m{number}", number, given)


def opened(folder, number, given):
    folder.mkdir(exist_ok=True)
    (folder / "seed").write_text(str(number))
    task = LowRankTask({"inner": "matrices", "update_rank": 2, **given}, Resources("cpu"))
    task.load(folder, Silent())
    return task


def joined(members, weights):
    """One opened round: the new joint tensors."""
    deltas = [member.train(weights, ROUND, Silent()).delta for member in members]
    for member, delta in zip(members, deltas, strict=True):
        check_tensors(member.shared, delta)
    return tuple(
        (old + sum(parts) / len(parts)).astype(np.float32)
        for old, *parts in zip(weights, *deltas, strict=True)
    )


def away(member, weights):
    return member.evaluate(weights, Silent()).metrics["away"]


def state(member, weights):
    return member.evaluate(weights, Silent()).metrics["sum"]


def test_what_pays_travels_as_a_factor_and_the_rest_whole(open_member):
    task = open_member(1)
    assert [(tensor.name, tensor.shape, tensor.clip) for tensor in check_shared(task.shared)] == [
        ("wide.factor", (30, 2), 40.0),
        ("kernel.factor", (16, 2), 40.0),
        ("bias", (12,), 10.0),
        ("narrow", (2, 5), 10.0),
        ("rounds", (1,), 1.0),
    ]
    assert task.parameters == {"inner": "matrices", "update_rank": 2, "feedback": 0.5, "pace": 0.5}
    check_tensors(task.shared, task.initial())


@given(seed=st.integers(0, 2**32), rank=st.integers(1, 4), of_rows=st.booleans())
def test_the_factor_of_a_sum_is_the_sum_of_factors(seed, rank, of_rows):
    random = np.random.default_rng(seed)
    slot = Slot(SharedTensor("m", (9, 5, 4)), rank)
    basis = slot.first_basis()
    if not of_rows:
        basis = slot.next_basis(slot.project(random.normal(size=(9, 5, 4)), basis), basis)
    updates = [random.normal(size=(9, 5, 4)).astype(np.float32) for _ in range(3)]
    apart = sum(slot.project(update, basis) for update in updates)
    np.testing.assert_allclose(slot.project(sum(updates), basis), apart, atol=1e-4)


@given(seed=st.integers(0, 2**32), rank=st.integers(1, 4))
def test_an_update_of_the_rank_is_whole_after_two_rounds(seed, rank):
    """Its columns' space is met in the first round, whatever the random basis; the second sends it whole."""
    random = np.random.default_rng(seed)
    slot = Slot(SharedTensor("m", (9, 20)), rank)
    update = (random.normal(size=(9, rank)) @ random.normal(size=(rank, 20))).astype(np.float32)
    first = slot.first_basis()
    second = slot.next_basis(slot.project(update, first), first)
    np.testing.assert_allclose(slot.expand(slot.project(update, second), second), update, atol=1e-2)


def test_no_factor_is_planned_where_it_saves_less_than_half():
    shapes = {"square": (10, 10), "flat": (2, 100), "long": (100, 8), "vector": (50,), "scalar": ()}
    slots = plan([SharedTensor(name, shape) for name, shape in shapes.items()], 3)
    assert {slot.tensor.name: slot.rank for slot in slots} == {
        "square": 3,
        "flat": 0,
        "long": 3,
        "vector": 0,
        "scalar": 0,
    }
    assert count_elements([slot.shared for slot in slots]) == 30 + 200 + 300 + 50 + 1


def test_members_of_different_targets_come_to_their_mean(open_member):
    """Targets of full rank, factors of rank 2: what a round leaves out comes later."""
    members = [open_member(number, pace="0.3") for number in (1, 2)]
    weights = members[0].initial()
    mean = [sum(parts) / 2 for parts in zip(*(m._inner.targets for m in members), strict=True)]
    for _ in range(60):
        weights = joined(members, weights)
    model = members[0]._standing(weights).model
    for target, part in zip(mean, model, strict=True):
        assert np.abs(target - part).max() < 0.05


def test_what_was_not_told_is_owed(open_member):
    """The model plus the error is what dense updates would have made of it."""
    member = open_member(1, pace="0.25", feedback=1)
    weights = member.initial()
    told = [np.zeros(tensor.shape) for tensor in member._inner.shared]
    for _ in range(5):
        model = member._standing(weights).model
        update = member._inner.train(model, ROUND, Silent()).delta
        told = [total + part for total, part in zip(told, update, strict=True)]
        weights = joined([member], weights)
    standing = member._standing(weights)
    for first, total, part, error in zip(
        member._inner.initial(), told, standing.model, standing.errors, strict=True
    ):
        np.testing.assert_allclose(first + total, part + error, atol=1e-4)


def test_a_burned_round_is_trained_again_from_the_same_debts(open_member):
    member = open_member(1)
    weights = joined([member], member.initial())
    one, again = (member.train(weights, ROUND, Silent()).delta for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(one, again, strict=True))


def test_the_last_but_one_model_can_still_be_evaluated(open_member):
    member = open_member(1)
    first = joined([member], member.initial())
    before = state(member, first)
    second = joined([member], first)
    assert state(member, second) != before
    assert state(member, first) == before


@pytest.mark.parametrize("seen", [True, False])
def test_a_restarted_member_goes_on(open_member, seen):
    """It stopped before or after it saw the last round's outcome."""
    members = [open_member(1), open_member(2)]
    weights = members[0].initial()
    for _ in range(3):
        weights = joined(members, weights)
    state(members[0], weights)
    if seen:
        state(members[1], weights)
    restarted = open_member(2)
    assert state(restarted, weights) == state(members[0], weights)
    later = joined([members[0], restarted], weights)
    assert state(restarted, later) == pytest.approx(state(members[0], later), abs=1e-4)


def test_who_missed_a_round_is_told(open_member):
    members = [open_member(1), open_member(2)]
    weights = joined(members, members[0].initial())
    for _ in range(2):
        weights = joined(members[:1], weights)
    with pytest.raises(OperatorFault, match="3 opened rounds, this member has seen 0"):
        members[1].train(weights, ROUND, Silent())
    with pytest.raises(OperatorFault, match="has seen 0"):
        open_member(3).evaluate(weights, Silent())


def test_a_new_job_begins_anew(open_member):
    member = open_member(1)
    first = state(member, joined([member], member.initial()))
    restarted = open_member(1)
    assert state(restarted, joined([restarted], restarted.initial())) == first


def test_a_damaged_memory_is_refused(open_member, tmp_path):
    member = open_member(1)
    joined([member], member.initial())
    path = tmp_path / "m1" / MEMORY
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(OperatorFault, match="damaged or of another job"):
        open_member(1, update_rank=3)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OperatorFault, match="damaged or of another job"):
        open_member(1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "name of another task"),
        ({"inner": "low-rank"}, "name of another task"),
        ({"inner": "absent"}, "no task is called"),
        ({"inner": "matrices", "update_rank": 0}, "from 1 to"),
        ({"inner": "matrices", "peace": 1}, "unknown task parameters: peace"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(OperatorFault, match=message):
        LowRankTask(parameters, Resources("cpu"))


@pytest.mark.parametrize("bits", [16, 8])
def test_quantised_factors_do_as_well(open_member, bits):
    exact = federate([open_member(1, pace="0.3")], 40, 0, lambda number, metrics: None)
    coarse = federate([open_member(1, pace="0.3")], 40, 0, lambda number, metrics: None, bits)
    assert exact.final["away"] < 0.2
    assert coarse.final["away"] < (0.3 if bits == 16 else 1.0)


async def test_digits_learn_with_factors_in_a_worker_process(tmp_path):
    random = np.random.default_rng(0)
    labels = (np.arange(200) % 10).astype(np.uint8)
    images = random.integers(0, 60, (200, 28, 28), dtype=np.uint8)
    images[np.arange(200), 2 * labels, :] = 255
    for name in ("train", "test"):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    parameters = {"inner": "mnist", "update_rank": 8, "model": "mlp", "epochs": 3}
    memory = tmp_path / "memory"
    memory.mkdir()
    config = LearnerConfig("low-rank", parameters, tmp_path, device="cpu", memory=memory)
    async with Learner(config) as learner:
        assert count_elements((await learner.describe()).shared) == 784 * 8 + 2_000 + 210 + 1
        weights = await learner.initial_model()
        before = await learner.evaluate(weights)
        for number in (1, 2, 3, 4):
            update = await learner.train(Assignment(number, 4, 1), weights)
            weights = tuple(old + delta for old, delta in zip(weights, update.delta, strict=True))
        after = await learner.evaluate(weights)
    assert before.metrics["accuracy"] < 0.4 < 0.9 < after.metrics["accuracy"]
    assert [path.name for path in memory.iterdir()] == ["low-rank.npz"]
