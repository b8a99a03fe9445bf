"""A task that needs no framework and can misbehave on demand; tests install it as a distribution."""

import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np

from node.learning.initial import uniform
from node.learning.parameters import Reader
from node.learning.task import DataSummary, Evaluation, Task, Update
from node.learning.tensors import SharedTensor
from protocol.errors import OperatorFault

BEHAVIOURS = [
    *("good", "crash", "crash-once", "raise", "print", "garbage", "hang", "endless", "grandchild"),
    *("not-finite", "misshapen", "refuse"),
]


class TinyTask(Task):
    """Moves two tensors towards the mean of this member's data, a file of numbers."""

    def __init__(self, parameters, resources) -> None:
        reader = Reader(parameters)
        self._behaviour = reader.choice("behaviour", "good", BEHAVIOURS)
        self._seed = reader.integer("seed", 0, 0, 1000)
        reader.finish()
        self._parameters = reader.in_force

    @property
    def parameters(self):
        return self._parameters

    @property
    def shared(self):
        return (SharedTensor("weight", (2, 3), 0.5), SharedTensor("bias", ()))

    def initial(self):
        return tuple(uniform(self._seed, tensor.name, tensor.shape, 1.0) for tensor in self.shared)

    def load(self, data, monitor):
        self._folder = data
        path = data / "numbers"
        if not path.exists():
            raise OperatorFault(f"{path} is missing", remedy="write some numbers")
        self._numbers = np.array(path.read_text().split(), dtype=np.float32)
        return DataSummary(len(self._numbers), len(self._numbers))

    def train(self, weights, assignment, monitor):
        monitor.progress("train", 0, 1)
        getattr(self, "_" + self._behaviour.replace("-", "_"), lambda monitor: None)(monitor)
        target = self._numbers.mean() + np.random.default_rng(assignment.seed).normal(0, 0.01)
        delta = tuple(((target - tensor) / 2).astype(np.float32).reshape(tensor.shape) for tensor in weights)
        if self._behaviour == "not-finite":
            delta[0][0, 0] = np.nan
        if self._behaviour == "misshapen":
            delta = delta[:1]
        monitor.progress("train", 1, 1, {"loss": 0.5})
        metrics = {"threads": float(os.environ["OMP_NUM_THREADS"]), "nice": float(os.nice(0))}
        return Update(delta, len(self._numbers), metrics)

    def evaluate(self, weights, monitor):
        error = max(float(np.abs(tensor - self._numbers.mean()).max()) for tensor in weights)
        return Evaluation(len(self._numbers), {"error": error})

    def _crash(self, monitor):
        print("about to crash", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def _crash_once(self, monitor):
        fuse = self._folder / "fuse"
        if fuse.exists():
            while fuse.exists():  # the test hears of the beginning and removes it: we could not
                time.sleep(0.01)
            self._crash(monitor)

    def _raise(self, monitor):
        raise ValueError("the task has a bug")

    def _print(self, monitor):
        print("noise on standard output " * 10_000, flush=True)
        os.write(1, b"\xff" * 100_000)
        assert sys.stdin.read() == ""

    def _garbage(self, monitor):
        for descriptor in range(3, 20):
            try:
                if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                    os.write(descriptor, b"\xff" * 64)
            except OSError:
                pass

    def _hang(self, monitor):
        while True:
            time.sleep(1)

    def _endless(self, monitor):
        while True:
            monitor.progress("train", 1, 2)
            time.sleep(0.01)

    def _refuse(self, monitor):
        raise OperatorFault("there is too little memory", remedy="buy some")

    def _grandchild(self, monitor):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        monitor.progress("grandchild", child.pid, child.pid)
        self._endless(monitor)


class NotATask:
    pass
