import pytest

from node.learning.baseline import Silent
from node.learning.causal.rehearsal import random_base, random_member
from node.learning.causal.task import CausalTask
from node.learning.task import Resources

# Small enough for a test: a round takes a tenth of a second.
PARAMETERS = {"context": 48, "steps": 4, "batch": 4, "micro_batch": 2, "rank": 4, "learning_rate": "0.01"}


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """A Llama with two layers and random weights; tests must not change it."""
    return random_base(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def member(tmp_path, tiny_base):
    """A member's data folder; tests may change it."""
    return random_member(tmp_path / "member", tiny_base)


@pytest.fixture
def open_task():
    """Makes the task for a member's folder, with the given parameters over the usual ones."""
    return lambda folder, **given: CausalTask({**PARAMETERS, **given}, Resources("cpu", 1, folder))


@pytest.fixture
def load_task(open_task):
    """The same, with text and model loaded."""
    return lambda folder, **given: loaded(open_task(folder, **given), folder)


def loaded(task, folder):
    task.load(folder, Silent())
    return task
