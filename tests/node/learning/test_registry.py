import pytest

from node.learning.registry import find_task, known_tasks
from protocol.errors import OperatorFault


def test_mnist_is_built_in():
    assert "mnist" in known_tasks()


@pytest.mark.usefixtures("tiny_distribution")
def test_installed_packages_add_tasks():
    assert {"mnist", "tiny"} <= known_tasks().keys()
    assert find_task("tiny").__name__ == "TinyTask"


def test_a_name_offered_twice_is_refused(tiny_distribution):
    entry_points = tiny_distribution / "tiny_tasks-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text("[starling.tasks]\nmnist = tiny_tasks:TinyTask\n")
    with pytest.raises(OperatorFault, match="two packages offer the task 'mnist'"):
        known_tasks()
