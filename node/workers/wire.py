"""What every worker says besides its results: progress and errors, to and from plain maps.

The node trusts its workers no more than any other input: every field that comes back is checked here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.workers.frames import FrameError, Message
from protocol.errors import OperatorFault, OwnFault, StarlingError

MAX_METRICS = 100
MAX_TEXT = 4_000

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units (batches, bytes …) of a stage such as "train"."""

    stage: str
    done: int
    total: int
    metrics: Metrics = field(default_factory=dict)


def progress_to(progress: Progress) -> Message:
    return {
        "stage": progress.stage,
        "done": progress.done,
        "total": progress.total,
        "metrics": metrics_to(progress.metrics),
    }


def progress_from(message: Message) -> Progress:
    return Progress(
        text_field(message, "stage"),
        count_field(message, "done"),
        count_field(message, "total"),
        metrics_from(message),
    )


def error_to(error: StarlingError) -> Message:
    return {
        "operator": isinstance(error, OperatorFault),
        "what": error.what[:MAX_TEXT],
        "remedy": error.remedy[:MAX_TEXT],
    }


def error_from(message: Message) -> StarlingError:
    branch = OperatorFault if message.get("operator") is True else OwnFault
    return branch(text_field(message, "what"), remedy=text_field(message, "remedy"))


def metrics_to(metrics: Metrics) -> Message:
    return {name: float(value) for name, value in metrics.items()}


def metrics_from(message: Message) -> Metrics:
    metrics = map_field(message, "metrics")
    if len(metrics) > MAX_METRICS:
        raise FrameError(f"{len(metrics)} metrics, more than {MAX_METRICS}")
    return {name: number_field(metrics, name) for name in metrics}


def text_field(message: Message, key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise FrameError(f"{key} is not a text of at most {MAX_TEXT} characters")
    return value


def count_field(message: Message, key: str) -> int:
    value = message.get(key)
    if type(value) is not int or value < 0:
        raise FrameError(f"{key} is not a count")
    return value


def number_field(message: Message, key: str) -> float:
    value = message.get(key)
    if type(value) is not float:
        raise FrameError(f"{key} is not a number")
    return value


def map_field(message: Message, key: str) -> Message:
    value = message.get(key)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise FrameError(f"{key} is not a map with text keys")
    return value
