"""The three networks for digits, smallest input first: 1 × 28 × 28 pixels to 10 scores.

Pooling comes before the rectifier: the maximum of rectified values is the rectified maximum, so the function
is the same, and a quarter of the rectifier's work remains.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from node.learning.mnist.folder import CLASSES, SIDE


def cnn3() -> nn.Sequential:
    """Three convolutions and a linear layer: 29,066 parameters."""
    return _convolutional(16, 32, 64)


def cnn() -> nn.Sequential:
    """Two convolutions and a linear layer: 20,490 parameters."""
    return _convolutional(16, 32)


def mlp() -> nn.Sequential:
    """One hidden layer of 200: 159,010 parameters; the network of McMahan et al. 2017 with one layer less."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            flatten=nn.Flatten(),
            hidden=nn.Linear(SIDE * SIDE, 200),
            hidden_rectifier=nn.ReLU(),
            scores=nn.Linear(200, CLASSES),
        )
    )


MODELS: dict[str, Callable[[], nn.Sequential]] = {"cnn3": cnn3, "cnn": cnn, "mlp": mlp}


def _convolutional(*widths: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    side, channels = SIDE, 1
    for number, width in enumerate(widths, start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, width, 3, padding=1)
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        layers[f"rectifier{number}"] = nn.ReLU()
        side, channels = side // 2, width
    layers["flatten"] = nn.Flatten()
    layers["scores"] = nn.Linear(channels * side * side, CLASSES)
    return nn.Sequential(layers)
