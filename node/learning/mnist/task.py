"""The MNIST task: plugs the digits into the learner."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from torch import nn

from node.learning import initial
from node.learning.device import prepare
from node.learning.mnist.folder import read_folder
from node.learning.mnist.models import MODELS
from node.learning.mnist.training import EVALUATION_BATCH, SHIFT, Images, Recipe, batches, descend, measure
from node.learning.parameters import Reader
from node.learning.task import (
    Assignment,
    DataSummary,
    Evaluation,
    Metrics,
    Monitor,
    Parameters,
    Resources,
    Task,
    Update,
)
from node.learning.tensors import SharedTensor, Tensors
from protocol.errors import OwnFault

# Elements of an update reach 0.4 to 0.9 in early rounds and about 0.1 later.
CLIP = 1.0


class MnistTask(Task):
    """Parameters (all optional): `model` (cnn3, cnn, mlp), `seed` of the initial weights, `epochs` a round,
    `batch`, `learning_rate` of the first round and `final_rate` of the last with a cosine between them,
    `momentum`, and `shift`, the pixels by which images are moved about in training.
    """

    def __init__(self, parameters: Parameters, resources: Resources) -> None:
        reader = Reader(parameters)
        name = reader.choice("model", "cnn3", list(MODELS))
        self._seed = reader.integer("seed", 0, 0, 2**63 - 1)
        self._epochs = reader.integer("epochs", 2 if name == "cnn3" else 1, 1, 100)
        self._batch = reader.integer("batch", 64, 1, 10_000)
        self._first_rate = reader.number("learning_rate", 0.06 if name == "cnn3" else 0.05, 0.0, 10.0)
        # Not lower: the average of members takes out the noise of a high rate, so no accuracy is lost.
        self._final_rate = reader.number("final_rate", self._first_rate / 2, 0.0, 10.0)
        self._momentum = reader.number("momentum", 0.9, 0.0, 0.999)
        self._shift = reader.integer("shift", 0 if name == "mlp" else SHIFT, 0, SHIFT)
        reader.finish()
        self._parameters = reader.in_force
        self._device = prepare(resources)
        # Channels last: 14 instead of 20 ms a batch of cnn3 on one thread; PyTorch's types lack the argument.
        model = MODELS[name]().to(self._device)
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._train: Images | None = None
        self._test: Images | None = None

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def device(self) -> str:
        return str(self._device)

    @property
    def shared(self) -> tuple[SharedTensor, ...]:
        return tuple(
            SharedTensor(name, tuple(value.shape), CLIP) for name, value in self._model.named_parameters()
        )

    def initial(self) -> Tensors:
        """Uniform in ±1/√fan-in, PyTorch's own default for these layers (He et al. 2015 with slope √5)."""
        bounds = {}
        for name, layer in self._model.named_children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                bounds[name] = 1 / math.sqrt(layer.weight[0].numel())
        return tuple(
            initial.uniform(self._seed, tensor.name, tensor.shape, bounds[tensor.name.split(".")[0]])
            for tensor in self.shared
        )

    def load(self, data: Path, monitor: Monitor) -> DataSummary:
        digits = read_folder(data)
        self._train = Images(digits.train, self._device)
        self._test = Images(digits.test, self._device)
        return DataSummary(len(digits.train), len(digits.test))

    def train(self, weights: Tensors, assignment: Assignment, monitor: Monitor) -> Update:
        images = _loaded(self._train)
        rate = self._rate(assignment)
        recipe = Recipe(self._epochs, self._batch, rate, self._momentum, self._shift)
        self._set(weights)
        tally = Tally(monitor, "train", self._epochs * batches(len(images), self._batch))
        for loss, right, size in descend(self._model, images, recipe, _generator(assignment)):
            tally.add(loss, right, size)
        delta = tuple(new - old for new, old in zip(self._get(), weights, strict=True))
        return Update(delta, len(images), {**tally.metrics(), "learning_rate": rate})

    def evaluate(self, weights: Tensors, monitor: Monitor) -> Evaluation:
        images = _loaded(self._test)
        self._set(weights)
        tally = Tally(monitor, "evaluate", batches(len(images), EVALUATION_BATCH))
        for loss, right, size in measure(self._model, images):
            tally.add(loss, right, size)
        return Evaluation(len(images), tally.metrics())

    def _rate(self, assignment: Assignment) -> float:
        """Half a cosine from the first round's learning rate to the last's (Loshchilov & Hutter 2017)."""
        passed = (assignment.round - 1) / max(1, assignment.rounds - 1)
        weight = (1 + math.cos(math.pi * min(1.0, passed))) / 2
        return self._final_rate + (self._first_rate - self._final_rate) * weight

    @torch.no_grad()
    def _set(self, weights: Tensors) -> None:
        for parameter, value in zip(self._model.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(value))

    def _get(self) -> Tensors:
        return tuple(
            parameter.detach().cpu().contiguous().numpy().copy() for parameter in self._model.parameters()
        )


class Tally:
    """Adds up losses and right answers over batches, and tells the monitor."""

    def __init__(self, monitor: Monitor, stage: str, total: int) -> None:
        self._monitor = monitor
        self._stage = stage
        self._total = total
        self._batches = 0
        self._samples = 0
        self._right = 0
        self._loss = 0.0

    def add(self, loss: float, right: int, size: int) -> None:
        self._batches += 1
        self._samples += size
        self._right += right
        self._loss += loss * size
        self._monitor.progress(self._stage, self._batches, self._total, self.metrics())

    def metrics(self) -> Metrics:
        return {"loss": self._loss / self._samples, "accuracy": self._right / self._samples}


def _loaded(images: Images | None) -> Images:
    if images is None:
        raise OwnFault("the task has loaded no data yet")
    return images


def _generator(assignment: Assignment) -> torch.Generator:
    """Shuffles and shifts: others in every round, the same when a round is repeated."""
    text = f"starling mnist v1\0{assignment.seed}\0{assignment.round}".encode()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1)
