"""Finds a task by the name that a manifest gives: built in, or an entry point of an installed package."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from node.learning.task import Task
from protocol.errors import OperatorFault

GROUP = "starling.tasks"
BUILT_IN = {
    "mnist": EntryPoint("mnist", "node.learning.mnist.task:MnistTask", GROUP),
    "causal-lm": EntryPoint("causal-lm", "node.learning.causal.task:CausalTask", GROUP),
    "low-rank": EntryPoint("low-rank", "node.learning.lowrank.task:LowRankTask", GROUP),
}


def known_tasks() -> dict[str, EntryPoint]:
    """All tasks of this installation by name; nothing is imported yet.

    Raises:
        OperatorFault: two packages offer the same name, or one takes the name of a built-in task.
    """
    tasks = dict(BUILT_IN)
    for point in entry_points(group=GROUP):
        rival = tasks.get(point.name)
        if rival is not None and rival.value != point.value:
            raise OperatorFault(
                f"two packages offer the task {point.name!r}: {rival.value} and {point.value}",
                remedy="uninstall one of them, or rename its entry point",
            )
        tasks[point.name] = point
    return tasks


def places_of(name: str) -> tuple[Path, ...]:
    """Where the package of the named task lies; none if there is no such task. Nothing is imported."""
    point = known_tasks().get(name)
    spec = None if point is None else find_spec(point.module.partition(".")[0])
    if spec is None:
        return ()
    return tuple(Path(place) for place in spec.submodule_search_locations or (spec.origin or "",))


def find_task(name: str) -> type[Task]:
    """Imports the class of the named task.

    Raises:
        OperatorFault: no installed package offers it, it cannot be imported, or it is not a `Task`.
    """
    tasks = known_tasks()
    if name not in tasks:
        raise OperatorFault(
            f"no task is called {name[:80]!r}",
            remedy=f"install the package that offers it; this node has {', '.join(sorted(tasks))}",
        )
    point = tasks[name]
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise OperatorFault(
            f"the task {name!r} ({point.value}) cannot be imported: {error}",
            remedy="install what it needs: starling[learning], or for causal-lm starling[qlora]",
        ) from error
    if not (inspect.isclass(found) and issubclass(found, Task)) or inspect.isabstract(found):
        raise OperatorFault(
            f"the task {name!r} ({point.value}) is not a complete subclass of node.learning.task.Task"
        )
    return found
