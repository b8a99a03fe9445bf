"""An inner task without a framework: moves two matrices and a vector towards this member's targets."""

import numpy as np

from node.learning.parameters import Reader
from node.learning.task import DataSummary, Evaluation, Task, Update
from node.learning.tensors import SharedTensor


class Matrices(Task):
    def __init__(self, parameters, resources) -> None:
        reader = Reader(parameters)
        self._pace = reader.number("pace", 0.5, 0.0, 1.0)
        reader.finish()
        self._parameters = reader.in_force

    @property
    def parameters(self):
        return self._parameters

    @property
    def shared(self):
        return (
            SharedTensor("wide", (12, 30), 10.0),
            SharedTensor("kernel", (16, 3, 2, 2), 10.0),
            SharedTensor("bias", (12,), 10.0),
            SharedTensor("narrow", (2, 5), 10.0),
        )

    def initial(self):
        return tuple(np.full(tensor.shape, 0.1, np.float32) for tensor in self.shared)

    def load(self, data, monitor):
        random = np.random.default_rng(int((data / "seed").read_text()))
        self.targets = tuple(random.normal(size=tensor.shape).astype(np.float32) for tensor in self.shared)
        return DataSummary(1, 1)

    def train(self, weights, assignment, monitor):
        delta = tuple(
            np.float32(self._pace) * (target - weight)
            for target, weight in zip(self.targets, weights, strict=True)
        )
        return Update(delta, 1)

    def evaluate(self, weights, monitor):
        away = [np.abs(target - weight).max() for target, weight in zip(self.targets, weights, strict=True)]
        return Evaluation(1, {"away": float(max(away)), "sum": float(sum(w.sum() for w in weights))})
