"""The task `causal-lm`: plugs fine-tuning of a language model into the learner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from node.learning.causal.adapters import Adapters, plan_adapters
from node.learning.causal.base import check_context, check_digest, open_base
from node.learning.causal.export import read_adapter
from node.learning.causal.folder import open_folder
from node.learning.causal.memory import Thrift
from node.learning.causal.model import AdaptedModel, Precision
from node.learning.causal.packing import Windows, pack
from node.learning.causal.recipe import read_recipe
from node.learning.causal.text import read_documents
from node.learning.device import prepare
from node.learning.task import (
    Assignment,
    DataSummary,
    Evaluation,
    Monitor,
    Parameters,
    Resources,
    Task,
    Update,
)
from node.learning.tensors import SharedTensor, Tensors
from protocol.errors import OwnFault

Part = TypeVar("Part")


class CausalTask(Task):
    """Parameters, all optional.

    The base: `base`, its digest, filled in with the proposer's own so that every member is held to it;
    `quantisation` of its frozen weights, "nf4" or "none".
    The text: `context`, the tokens of a window.
    The adapters: `targets`, names of the linear modules to adapt; `rank`, `alpha`, `dropout` of LoRA; `seed`
    of their first values; `averaging`, "average" of both A and B, or "frozen-a": only B is trained and sent,
    A is fixed by the seed, and the average is exact.
    A round: `steps` of AdamW with `batch` windows each, of which `micro_batch` are computed at a time;
    `checkpointing` computes activations twice to save memory; `learning_rate` of the first round and
    `final_rate` of the last with a cosine between them.

    A member's machine may ask for less memory than `micro_batch` and `checkpointing` say (see `folder`).
    """

    def __init__(self, parameters: Parameters, resources: Resources) -> None:
        recipe, in_force = read_recipe(parameters)
        self._device = prepare(resources)
        self._threads = resources.threads
        folder = open_folder(resources.data)
        self._base = open_base(folder.base)
        check_digest(self._base, recipe.base, folder.base)
        check_context(self._base, recipe.context)
        self._recipe = replace(recipe, base=self._base.digest)
        self._parameters = {**in_force, "base": self._base.digest}
        self._adapters = plan_adapters(self._base.config, self._recipe)
        self._start = None if folder.adapter is None else read_adapter(self._adapters, folder.adapter)
        self._precision = Precision.of(self._device, recipe.quantisation)
        self._thrift = Thrift(
            min(folder.micro_batch or recipe.micro_batch, recipe.batch),
            recipe.context,
            recipe.checkpointing if folder.checkpointing is None else folder.checkpointing,
        )
        self._model: AdaptedModel | None = None
        self._train: Windows | None = None
        self._held_out: Windows | None = None

    @property
    def parameters(self) -> Parameters:
        return self._parameters

    @property
    def device(self) -> str:
        threads = f", {self._threads} threads" if self._device.type == "cpu" else ""
        return f"{self._device} ({self._precision}{threads})"

    @property
    def shared(self) -> tuple[SharedTensor, ...]:
        return self._adapters.shared

    def initial(self) -> Tensors:
        if self._start is not None:
            return self._start
        return tuple(self._adapters.first(tensor.name, tensor.shape) for tensor in self.shared)

    @property
    def adapters(self) -> Adapters:
        return self._adapters

    def read(self, data: Path, monitor: Monitor) -> tuple[Windows, Windows]:
        """The private text to train on and the held-out text, packed."""
        folder = open_folder(data)
        return self._pack(folder.training_files(), monitor), self._pack(folder.held_out_files(), monitor)

    def build(self) -> AdaptedModel:
        """Reads the base model's weights, quantises them as the job says, and adds adapters."""
        return AdaptedModel(self._base, self._adapters, self._device, self._precision, self._thrift)

    def load(self, data: Path, monitor: Monitor) -> DataSummary:
        self._train, self._held_out = self.read(data, monitor)
        monitor.progress("load the base model", 0, 1)
        self._model = self.build()
        monitor.progress("load the base model", 1, 1)
        return DataSummary(len(self._train), len(self._held_out))

    def _pack(self, files: list[Path], monitor: Monitor) -> Windows:
        where = ", ".join(str(path) for path in files[:3])
        documents = read_documents(files)
        return pack(documents, self._base.tokenizer, self._recipe.context, where, monitor)

    def train(self, weights: Tensors, assignment: Assignment, monitor: Monitor) -> Update:
        model, windows = _loaded(self._model), _loaded(self._train)
        model.set(weights)
        metrics = model.train(windows, assignment, monitor)
        delta = tuple(new - old for new, old in zip(model.get(), weights, strict=True))
        return Update(delta, len(windows), metrics)

    def evaluate(self, weights: Tensors, monitor: Monitor) -> Evaluation:
        model, windows = _loaded(self._model), _loaded(self._held_out)
        model.set(weights)
        return Evaluation(len(windows), model.evaluate(windows, monitor))

    def generate(self, weights: Tensors, prompt: str, tokens: int) -> str:
        """What the model with these adapters writes after the prompt; `load` comes first."""
        model = _loaded(self._model)
        model.set(weights)
        return model.generate(prompt, tokens)


def _loaded(part: Part | None) -> Part:
    if part is None:
        raise OwnFault("the task has loaded no data yet")
    return part
