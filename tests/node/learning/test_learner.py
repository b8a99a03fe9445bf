"""The learner with real worker processes, well-behaved and not."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import trio

from node.learning.learner import Learner, LearnerConfig, LearnerFailed
from node.learning.task import Assignment, DataSummary
from node.learning.tensors import digest
from protocol.errors import OperatorFault, OwnFault

pytestmark = pytest.mark.usefixtures("tiny_distribution")

FIRST = Assignment(round=1, rounds=3, seed=7)
# Far longer than anything here takes; ends a broken test instead of hanging it.
PATIENCE = 60


def tiny(numbers, behaviour="good", silence=300.0):
    return LearnerConfig("tiny", {"behaviour": behaviour}, numbers, silence=silence)


async def train_once(config, on_progress=lambda progress: None):
    with trio.fail_after(PATIENCE):
        async with Learner(config, on_progress) as learner:
            return await learner.train(FIRST, await learner.initial_model())


async def ended(pid):
    """Waits for the end of a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with trio.fail_after(PATIENCE):
        await trio.lowlevel.wait_readable(descriptor)
    os.close(descriptor)


async def test_describes_the_task_without_data():
    async with Learner(LearnerConfig("tiny", {"seed": 3})) as learner:
        description = await learner.describe()
    assert description.name == "tiny"
    assert description.parameters == {"behaviour": "good", "seed": 3}
    assert [(tensor.name, tensor.shape, tensor.clip) for tensor in description.shared] == [
        ("weight", (2, 3), 0.5),
        ("bias", (), None),
    ]


async def test_trains_and_evaluates(numbers):
    heard = []
    async with Learner(tiny(numbers), heard.append) as learner:
        assert await learner.load() == DataSummary(3, 3)
        weights = await learner.initial_model()
        before = await learner.evaluate(weights)
        for number in (1, 2, 3):
            update = await learner.train(Assignment(number, 3, 7), weights)
            weights = tuple(old + delta for old, delta in zip(weights, update.delta, strict=True))
        after = await learner.evaluate(weights)
    assert update.samples == 3
    assert [delta.shape for delta in update.delta] == [(2, 3), ()]
    assert after.metrics["error"] < before.metrics["error"] / 4
    assert {"wall_seconds", "cpu_seconds", "peak_bytes"} <= update.metrics.keys()
    assert ("train", 1, 1, {"loss": 0.5}) in [(p.stage, p.done, p.total, p.metrics) for p in heard]


async def test_two_runs_with_one_seed_are_equal(numbers):
    first, second = await train_once(tiny(numbers)), await train_once(tiny(numbers))
    for one, other in zip(first.delta, second.delta, strict=True):
        assert np.array_equal(one, other)


async def test_threads_and_niceness_reach_the_worker(numbers):
    update = await train_once(LearnerConfig("tiny", {}, numbers, threads=3, nice=5))
    assert update.metrics["threads"] == 3
    assert update.metrics["nice"] == min(19, os.nice(0) + 5)


async def test_a_request_waits_for_the_one_before_it(numbers):
    async with Learner(tiny(numbers)) as learner:
        weights = await learner.initial_model()
        results = []

        async def train(number):
            results.append(await learner.train(Assignment(number, 3, number), weights))

        async with trio.open_nursery() as nursery:
            for number in (1, 2, 3):
                nursery.start_soon(train, number)
    assert len(results) == 3


async def test_what_a_task_prints_does_not_disturb_the_frames(numbers):
    assert (await train_once(tiny(numbers, "print"))).samples == 3


async def test_a_single_crash_is_survived(numbers):
    fuse = numbers / "fuse"
    fuse.touch()
    update = await train_once(tiny(numbers, "crash-once"), lambda progress: fuse.unlink(missing_ok=True))
    assert update.samples == 3
    assert not fuse.exists()


async def test_a_second_crash_is_reported_with_its_last_words(numbers):
    with pytest.raises(LearnerFailed, match=r"signal 9 \(Killed\)") as caught:
        await train_once(tiny(numbers, "crash"))
    assert "about to crash" in caught.value.stderr


async def test_a_bug_in_a_task_is_reported_with_its_traceback(numbers):
    with pytest.raises(LearnerFailed, match="ValueError: the task has a bug") as caught:
        await train_once(tiny(numbers, "raise"))
    assert "Traceback" in caught.value.stderr


async def test_garbage_on_the_pipe_is_refused(numbers):
    with pytest.raises(LearnerFailed, match="garbage"):
        await train_once(tiny(numbers, "garbage"))


async def test_a_hanging_worker_is_ended(numbers):
    with pytest.raises(LearnerFailed, match="no progress for 2 seconds"):
        await train_once(tiny(numbers, "hang", silence=2.0))


async def test_a_learner_works_on_after_a_failure(numbers):
    async with Learner(tiny(numbers, "crash")) as learner:
        weights = await learner.initial_model()
        with pytest.raises(LearnerFailed):
            await learner.train(FIRST, weights)
        assert (await learner.evaluate(weights)).samples == 3


async def test_cancellation_kills_the_worker_and_the_next_request_starts_another(numbers):
    training = trio.Event()
    async with Learner(tiny(numbers, "endless"), lambda progress: training.set()) as learner:
        weights = await learner.initial_model()
        pid = learner.worker_pid
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(learner.train, FIRST, weights)
                await training.wait()
                nursery.cancel_scope.cancel()
        assert learner.worker_pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert (await learner.evaluate(weights)).samples == 3
        assert learner.worker_pid not in (None, pid)


async def test_closing_ends_a_request_and_refuses_the_next(numbers):
    training = trio.Event()
    learner = Learner(tiny(numbers, "endless"), lambda progress: training.set())
    weights = await learner.initial_model()
    pid = learner.worker_pid

    async def train():
        with pytest.raises(OwnFault, match="closed"):
            await learner.train(FIRST, weights)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(train)
            await training.wait()
            await learner.aclose()
        with pytest.raises(OwnFault, match="closed"):
            await learner.evaluate(weights)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_request_that_cannot_be_encoded_is_the_callers_fault(numbers):
    async with Learner(tiny(numbers)) as learner:
        weights = await learner.initial_model()
        with pytest.raises(OwnFault, match="cannot be encoded"):
            await learner.train(Assignment(1, 1, 2**64), weights)
        assert (await learner.evaluate(weights)).samples == 3


async def test_closing_ends_the_workers_own_children_too(numbers):
    training, children = trio.Event(), []

    def heard(progress):
        if progress.stage == "grandchild":
            children.append(progress.done)
            training.set()

    with trio.fail_after(PATIENCE):
        async with Learner(tiny(numbers, "grandchild"), heard) as learner, trio.open_nursery() as nursery:
            weights = await learner.initial_model()
            nursery.start_soon(learner.train, FIRST, weights)
            await training.wait()
            nursery.cancel_scope.cancel()
    await ended(children[0])


async def test_the_worker_ends_when_its_node_is_killed(numbers):
    node = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(NODE), str(numbers)], stdout=subprocess.PIPE, text=True
    )
    pid = int(await trio.to_thread.run_sync(node.stdout.readline))
    os.kill(pid, 0)
    node.send_signal(signal.SIGKILL)
    node.wait()
    node.stdout.close()
    await ended(pid)


NODE = """
    import pathlib, sys, trio
    from node.learning.learner import Learner, LearnerConfig
    from node.learning.task import Assignment

    async def main():
        config = LearnerConfig("tiny", {"behaviour": "endless"}, pathlib.Path(sys.argv[1]))
        told = False
        def heard(progress):
            nonlocal told
            if not told:
                print(learner.worker_pid, flush=True)
            told = True
        async with Learner(config, heard) as learner:
            await learner.train(Assignment(1, 1, 1), await learner.initial_model())

    import structlog
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(main)
"""


async def test_a_refusal_is_passed_on_and_the_worker_lives(numbers):
    async with Learner(tiny(numbers, "refuse")) as learner:
        weights = await learner.initial_model()
        pid = learner.worker_pid
        with pytest.raises(OperatorFault, match="too little memory") as caught:
            await learner.train(FIRST, weights)
        assert caught.value.remedy == "buy some"
        assert learner.worker_pid == pid


async def test_missing_data_are_the_operators_fault(tmp_path):
    async with Learner(tiny(tmp_path / "nothing")) as learner:
        with pytest.raises(OperatorFault, match="numbers is missing"):
            await learner.load()


async def test_diverged_training_is_no_update(numbers):
    with pytest.raises(OperatorFault, match="not finite"):
        await train_once(tiny(numbers, "not-finite"))


async def test_a_misshapen_update_is_refused(numbers):
    with pytest.raises(OwnFault, match="1 tensors given, 2 are shared"):
        await train_once(tiny(numbers, "misshapen"))


async def test_misshapen_weights_never_reach_the_worker(numbers):
    async with Learner(tiny(numbers)) as learner:
        weights = await learner.initial_model()
        with pytest.raises(OwnFault, match="float32"):
            await learner.train(FIRST, (weights[0].T, weights[1]))


@pytest.mark.parametrize(
    ("task", "parameters", "message"),
    [
        ("absent", {}, "no task is called 'absent'"),
        ("broken", {}, "cannot be imported"),
        ("not-a-task", {}, "not a complete subclass"),
        ("tiny", {"sede": 1}, "unknown task parameters: sede"),
        ("tiny", {"seed": -1}, "'seed' is '-1'"),
    ],
)
async def test_a_wrong_job_is_refused_at_opening(task, parameters, message):
    async with Learner(LearnerConfig(task, parameters)) as learner:
        with pytest.raises(OperatorFault, match=message):
            await learner.describe()
        assert learner.worker_pid is None


async def test_the_initial_model_is_fixed_by_the_seed():
    digests = []
    for seed in (1, 1, 2):
        async with Learner(LearnerConfig("tiny", {"seed": seed})) as learner:
            shared = (await learner.describe()).shared
            digests.append(digest(shared, await learner.initial_model()))
    assert digests[0] == digests[1] != digests[2]


async def test_the_node_side_loads_no_framework():
    code = "import sys, node.learning.learner; assert 'torch' not in sys.modules"
    await trio.run_process([sys.executable, "-c", code])
