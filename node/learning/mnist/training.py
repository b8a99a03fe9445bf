"""Stochastic gradient descent on digits, fast on one processor thread."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from node.learning.mnist.folder import SIDE, Samples

# Mean and standard deviation of the pixels of the original training set, on a scale from 0 to 1.
MEAN, DEVIATION = 0.1307, 0.3081
# Images are shifted by up to this many pixels in each direction.
SHIFT = 2
# The l2 norm beyond which a gradient is scaled down; only the first batches of a bad start reach it.
GRADIENT_NORM = 5.0
# A batch whose activations fit the processor's cache: 0.65 instead of 0.95 s for 10,000 images.
EVALUATION_BATCH = 250


@dataclass(frozen=True)
class Recipe:
    """How one round of local training goes."""

    epochs: int
    batch: int
    learning_rate: float
    momentum: float
    shift: int


class Images:
    """Samples on a device, padded so that a shifted image is a window into the padded one."""

    def __init__(self, samples: Samples, device: torch.device) -> None:
        margin = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT))
        padded = torch.from_numpy(np.pad(samples.images, margin)).to(device)
        # Shape (n, 5, 5, 28, 28) without a copy: [image, down, right] is the image shifted by that much.
        self._windows = padded.unfold(1, SIDE, 1).unfold(2, SIDE, 1)
        self._labels = torch.from_numpy(samples.labels.astype(np.int64)).to(device)
        self._device = device

    def __len__(self) -> int:
        return len(self._labels)

    def shuffled(self, batch: int, shift: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of batches in random order, each image shifted by up to `shift` pixels."""
        order = torch.randperm(len(self), generator=generator)
        low, high = SHIFT - shift, SHIFT + shift + 1
        shifts = torch.randint(low, high, (2, len(self)), generator=generator)
        for start in range(0, len(self), batch):
            chosen = order[start : start + batch].to(self._device)
            down, right = shifts[:, start : start + batch].to(self._device)
            yield _normalised(self._windows[chosen, down, right]), self._labels[chosen]

    def in_order(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), batch):
            part = slice(start, start + batch)
            yield _normalised(self._windows[part, SHIFT, SHIFT]), self._labels[part]


def batches(samples: int, batch: int) -> int:
    return math.ceil(samples / batch)


def descend(
    model: nn.Module, images: Images, recipe: Recipe, generator: torch.Generator
) -> Iterator[tuple[float, int, int]]:
    """Trains in place; after each batch yields its mean loss, how many were right, and its size."""
    optimiser = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, fused=True
    )
    model.train()
    for _ in range(recipe.epochs):
        for inputs, labels in images.shuffled(recipe.batch, recipe.shift, generator):
            scores = model(inputs)
            loss = functional.cross_entropy(scores, labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            optimiser.step()
            right = int((scores.detach().argmax(1) == labels).sum())
            yield loss.item(), right, len(labels)


@torch.no_grad()
def measure(model: nn.Module, images: Images) -> Iterator[tuple[float, int, int]]:
    """Evaluates; yields for each batch its mean loss, how many were right, and its size."""
    model.eval()
    for inputs, labels in images.in_order(EVALUATION_BATCH):
        scores = model(inputs)
        loss = functional.cross_entropy(scores, labels)
        yield loss.item(), int((scores.argmax(1) == labels).sum()), len(labels)


def _normalised(pixels: Tensor) -> Tensor:
    """Unsigned bytes (n, 28, 28) to the network's input (n, 1, 28, 28), channels last: the faster layout."""
    scaled = pixels.unsqueeze(1).float().mul_(1 / (255 * DEVIATION)).sub_(MEAN / DEVIATION)
    return scaled.contiguous(memory_format=torch.channels_last)
