"""What a learning task is: the interface that a user implements in their own package.

A package offers its task under the entry point group `starling.tasks`:

    [project.entry-points."starling.tasks"]
    retina = "our_package.retina:RetinaTask"

The name (`retina`) is what a job's manifest asks for. Every member of a job builds the task from the same
manifest parameters; only the data differ. All code of a task runs in a worker process (see `worker`): it may
use any framework, take the memory it needs, print, and even crash.

This module imports no training framework: weights cross the interface as ordered float32 arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from node.learning.tensors import SharedTensor, Tensors

# A manifest's values for a task: strings, integers, numbers, booleans. See `parameters.Reader`.
Parameters = Mapping[str, object]
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Resources:
    """What a task may use of this machine: `device` is "auto", "cpu" or "cuda".

    `data` is the member's data folder, for tasks that keep there what shapes the model, such as the base
    model that is fine-tuned; None where nobody named one. Private data wait for `Task.load`. `memory` is an
    existing folder of this job for what the task must remember between rounds and restarts, the only one
    that it may write to; None outside a job.
    """

    device: str = "auto"
    threads: int = 1
    data: Path | None = None
    memory: Path | None = None


@dataclass(frozen=True)
class Assignment:
    """One round of training: number `round` of `rounds` (from 1), with this member's own `seed`.

    The seed makes a repeated run equal; it need not be the same for two members, and better is not.
    """

    round: int
    rounds: int
    seed: int


@dataclass(frozen=True)
class DataSummary:
    """How many samples a member has for training and for evaluation."""

    training: int
    evaluation: int


@dataclass(frozen=True)
class Update:
    """What training changed: `delta` is new weights − given weights, `samples` its weight in the average."""

    delta: Tensors
    samples: int
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """How good given weights are on this member's evaluation data, e.g. {"accuracy": 0.99, "loss": 0.03}."""

    samples: int
    metrics: Metrics


class Monitor(Protocol):
    """Where a task tells how far it is.

    A worker that tells nothing for longer than the node's silence limit is taken for hung and stopped, so
    call this at least every few seconds; frequent calls are thinned out and cost next to nothing.
    """

    def progress(self, stage: str, done: int, total: int, metrics: Metrics | None = None) -> None: ...


class Task(ABC):
    """A model, the way to train it, and which of its tensors the members share.

    The constructor gets the manifest's parameters and this machine's resources. It must check every
    parameter (raise `OperatorFault`), fill in defaults, and read no data.
    """

    @abstractmethod
    def __init__(self, parameters: Parameters, resources: Resources) -> None: ...

    @property
    @abstractmethod
    def parameters(self) -> Parameters:
        """All parameters in force, defaults included."""

    @property
    def device(self) -> str:
        """What the task computes on, for the node's log."""
        return "cpu"

    @property
    @abstractmethod
    def shared(self) -> tuple[SharedTensor, ...]:
        """The tensors that members average, in the one order in which they travel."""

    @abstractmethod
    def initial(self) -> Tensors:
        """The joint model before round 1, from the parameters alone.

        Members compare digests: every machine must compute the same bytes, whatever its processor, thread
        count or library version. `initial.uniform` is a source of such weights.
        """

    @abstractmethod
    def load(self, data: Path, monitor: Monitor) -> DataSummary:
        """Reads and checks this member's private data; called once, before `train` and `evaluate`.

        Raises:
            OperatorFault: data are missing or of the wrong form; says which file and what would be right.
        """

    @abstractmethod
    def train(self, weights: Tensors, assignment: Assignment, monitor: Monitor) -> Update:
        """Trains one round from the joint model. The given arrays are read-only."""

    @abstractmethod
    def evaluate(self, weights: Tensors, monitor: Monitor) -> Evaluation:
        """Measures the joint model on the evaluation data. The given arrays are read-only."""
