"""A base model with adapters: trains them, measures them, and writes text with them."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils import logging as library_logging

from node.learning.causal.adapters import Adapters, adapter_parameters, lora_config
from node.learning.causal.base import BaseModel
from node.learning.causal.memory import Thrift, sparing
from node.learning.causal.packing import IGNORED, Windows
from node.learning.task import Assignment, Metrics, Monitor
from node.learning.tensors import Tensors
from protocol.errors import OperatorFault

# The l2 norm beyond which a gradient is scaled down, as usual for language models.
GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Precision:
    """What the model computes in, and how its frozen weights are kept."""

    compute: torch.dtype
    quantisation: str

    @classmethod
    def of(cls, device: torch.device, quantisation: str) -> Precision:
        """On a processor float32, which is faster there than 16 bits; on a GPU bfloat16 where it has it."""
        if device.type == "cpu":
            return cls(torch.float32, quantisation)
        return cls(torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16, quantisation)

    def __str__(self) -> str:
        return f"{str(self.compute).removeprefix('torch.')}, base {self.quantisation}"


class AdaptedModel:
    """The one model of a process; adapters are set before each use."""

    def __init__(
        self,
        base: BaseModel,
        adapters: Adapters,
        device: torch.device,
        precision: Precision,
        thrift: Thrift,
    ) -> None:
        self._adapters = adapters
        self._recipe = adapters.recipe
        self._device = device
        self._precision = precision
        self._thrift = thrift
        self._tokenizer = base.tokenizer
        with sparing(thrift, device):
            self._model = _load(base, adapters, device, precision, thrift)
        named = dict(adapter_parameters(self._model))
        self._shared = [named[tensor.name] for tensor in adapters.shared]
        self._set_frozen(named)

    @torch.no_grad()
    def _set_frozen(self, named: dict[str, nn.Parameter]) -> None:
        for name, value in self._adapters.frozen().items():
            named[name].copy_(torch.from_numpy(value))
            named[name].requires_grad_(False)

    @torch.no_grad()
    def set(self, weights: Tensors) -> None:
        for parameter, value in zip(self._shared, weights, strict=True):
            parameter.copy_(torch.tensor(value))

    def get(self) -> Tensors:
        return tuple(parameter.detach().float().cpu().numpy().copy() for parameter in self._shared)

    def train(self, windows: Windows, assignment: Assignment, monitor: Monitor) -> Metrics:
        """One round: `steps` of AdamW over the windows that are this round's turn; trains in place."""
        recipe = self._recipe
        torch.manual_seed(_seed(assignment))
        rate = recipe.rate(assignment)
        optimiser = torch.optim.AdamW(self._shared, lr=rate, weight_decay=0.0)
        self._model.train()
        tally = _Tally()
        with sparing(self._thrift, self._device):
            for step in range(recipe.steps):
                chosen = turn(len(windows), (assignment.round - 1) * recipe.steps + step, recipe.batch)
                self._accumulate(windows.inputs[chosen], windows.labels[chosen], tally)
                nn.utils.clip_grad_norm_(self._shared, GRADIENT_NORM)
                optimiser.step()
                optimiser.zero_grad()
                monitor.progress("train", step + 1, recipe.steps, tally.metrics())
        return {**tally.metrics(), "learning_rate": rate, "predicted": float(tally.tokens)}

    def _accumulate(
        self, inputs: np.ndarray[tuple[int, int]], labels: np.ndarray[tuple[int, int]], tally: _Tally
    ) -> None:
        """Adds up the gradient of the batch's mean loss, a micro-batch at a time."""
        learned = int((labels[:, 1:] != IGNORED).sum())
        for part in _parts(len(inputs), self._thrift.micro_batch):
            loss = self._loss(inputs[part], labels[part])
            (loss / learned).backward()  # type: ignore[no-untyped-call]
            tally.loss += loss.item()
        tally.tokens += learned

    @torch.no_grad()
    def evaluate(self, windows: Windows, monitor: Monitor) -> Metrics:
        """Mean loss in nats per learned token, and its exponential, the perplexity."""
        self._model.eval()
        tally = _Tally()
        with sparing(self._thrift, self._device):
            for part in _parts(len(windows), self._thrift.micro_batch):
                labels = windows.labels[part]
                tally.loss += self._loss(windows.inputs[part], labels).item()
                tally.tokens += int((labels[:, 1:] != IGNORED).sum())
                monitor.progress("evaluate", part.stop, len(windows), tally.metrics())
        mean = tally.loss / tally.tokens
        return {**tally.metrics(), "perplexity": math.exp(min(mean, 700.0)), "predicted": float(tally.tokens)}

    def _loss(self, inputs: np.ndarray[tuple[int, int]], labels: np.ndarray[tuple[int, int]]) -> Tensor:
        """The sum of the losses of all learned tokens."""
        tokens = torch.from_numpy(inputs.astype(np.int64)).to(self._device)
        targets = torch.from_numpy(labels[:, 1:].astype(np.int64)).to(self._device)
        scores = self._model(input_ids=tokens, use_cache=False).logits[:, :-1]
        return functional.cross_entropy(
            scores.reshape(-1, scores.shape[-1]).float(), targets.reshape(-1), reduction="sum"
        )

    @torch.no_grad()
    def generate(self, prompt: str, tokens: int, *, temperature: float = 0.0, seed: int = 0) -> str:
        """What follows the prompt: up to `tokens` tokens, the likeliest ones, or drawn at a temperature."""
        self._model.eval()
        torch.manual_seed(seed)
        given = self._tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(self._device)
        drawing = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        with sparing(self._thrift, self._device):
            written = self._model.generate(  # type: ignore[no-untyped-call]
                **given, max_new_tokens=tokens, pad_token_id=self._tokenizer.eos_token_id, **drawing
            )
        new = written[0, given["input_ids"].shape[1] :]
        return str(self._tokenizer.decode(new, skip_special_tokens=True))


@dataclass
class _Tally:
    loss: float = 0.0
    tokens: int = 0

    def metrics(self) -> Metrics:
        return {"loss": self.loss / max(1, self.tokens)}


def turn(windows: int, step: int, batch: int) -> list[int]:
    """The windows of a step, counted through all rounds: an epoch visits each once, in its own order.

    It depends on nothing but these numbers, so a round that is trained again sees the same windows.
    """
    places = [divmod(position, windows) for position in range(step * batch, (step + 1) * batch)]
    orders = {epoch: np.random.Generator(np.random.PCG64(epoch)).permutation(windows) for epoch, _ in places}
    return [int(orders[epoch][index]) for epoch, index in places]


def _load(
    base: BaseModel, adapters: Adapters, device: torch.device, precision: Precision, thrift: Thrift
) -> PeftModel:
    library_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    four_bits = precision.quantisation == "nf4"
    # Of one library about another; nothing that an operator could act on.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    model = AutoModelForCausalLM.from_pretrained(
        base.folder,
        quantization_config=_nf4(precision.compute) if four_bits else None,
        dtype=precision.compute,
        device_map={"": str(device)},
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    _check_quantised(model, four_bits)
    how = {"use_reentrant": False}
    if four_bits:
        model = prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]
            model, thrift.checkpointing, how
        )
    elif thrift.checkpointing:
        model.gradient_checkpointing_enable(how)  # type: ignore[no-untyped-call]
        model.enable_input_require_grads()  # type: ignore[no-untyped-call]
    return get_peft_model(model, lora_config(adapters.recipe))


def _nf4(compute: torch.dtype) -> BitsAndBytesConfig:
    """4-bit NormalFloat with double quantisation (Dettmers et al. 2023, arXiv:2305.14314)."""
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def _check_quantised(model: nn.Module, wanted: bool) -> None:
    if not wanted:
        return
    from bitsandbytes.nn.modules import Linear4bit

    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    if not layers:
        raise OperatorFault(
            "none of the base model's layers can be quantised to 4 bits",
            remedy='set the job\'s quantisation to "none"',
        )
    for layer in layers:
        # Processors with AVX512-BF16 would repack the weights at the first evaluation, after which training
        # changes nothing: the backward pass only warns (bitsandbytes 0.50.2).
        layer.support_avx512bf16_for_cpu = False


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _seed(assignment: Assignment) -> int:
    text = f"starling causal-lm v1\0{assignment.seed}\0{assignment.round}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
