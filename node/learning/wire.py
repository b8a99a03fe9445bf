"""What travels in the frames: results, progress and errors, to and from plain maps.

The node trusts its worker no more than any other input: every field that comes back is checked here, once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from node.learning.frames import FrameError, Message
from node.learning.task import DataSummary, Evaluation, Metrics, Parameters, Update
from node.learning.tensors import SharedTensor, check_shared, check_tensors, from_bytes, to_bytes
from protocol.errors import OperatorFault, OwnFault, StarlingError

MAX_METRICS = 100
MAX_TEXT = 4_000


@dataclass(frozen=True)
class Description:
    """A task as it stands: all parameters in force, the device it runs on, the shared tensors in order."""

    name: str
    parameters: Parameters
    device: str
    shared: tuple[SharedTensor, ...]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units (batches, bytes …) of a stage such as "train"."""

    stage: str
    done: int
    total: int
    metrics: Metrics = field(default_factory=dict)


def describe_to(description: Description) -> Message:
    return {
        "name": description.name,
        "parameters": dict(description.parameters),
        "device": description.device,
        "shared": [_shared_to(tensor) for tensor in description.shared],
    }


def describe_from(message: Message) -> Description:
    shared = tuple(_shared_from(entry) for entry in _list(message, "shared"))
    return Description(
        _text(message, "name"),
        _map(message, "parameters"),
        _text(message, "device"),
        check_shared(shared),
    )


def summary_to(summary: DataSummary) -> Message:
    return {"training": summary.training, "evaluation": summary.evaluation}


def summary_from(message: Message) -> DataSummary:
    return DataSummary(_count(message, "training"), _count(message, "evaluation"))


def update_to(shared: tuple[SharedTensor, ...], update: Update) -> Message:
    return {
        "delta": to_bytes(check_tensors(shared, update.delta)),
        "samples": update.samples,
        "metrics": _metrics_to(update.metrics),
    }


def update_from(shared: tuple[SharedTensor, ...], message: Message) -> Update:
    samples = _count(message, "samples")
    if samples < 1:
        raise FrameError("an update from no samples")
    delta = check_tensors(shared, from_bytes(shared, _bytes(message, "delta")))
    return Update(delta, samples, _metrics(message))


def evaluation_to(evaluation: Evaluation) -> Message:
    return {"samples": evaluation.samples, "metrics": _metrics_to(evaluation.metrics)}


def evaluation_from(message: Message) -> Evaluation:
    return Evaluation(_count(message, "samples"), _metrics(message))


def progress_to(progress: Progress) -> Message:
    return {
        "stage": progress.stage,
        "done": progress.done,
        "total": progress.total,
        "metrics": _metrics_to(progress.metrics),
    }


def progress_from(message: Message) -> Progress:
    return Progress(
        _text(message, "stage"), _count(message, "done"), _count(message, "total"), _metrics(message)
    )


def error_to(error: StarlingError) -> Message:
    return {
        "operator": isinstance(error, OperatorFault),
        "what": error.what[:MAX_TEXT],
        "remedy": error.remedy[:MAX_TEXT],
    }


def error_from(message: Message) -> StarlingError:
    branch = OperatorFault if message.get("operator") is True else OwnFault
    return branch(_text(message, "what"), remedy=_text(message, "remedy"))


def _metrics_to(metrics: Metrics) -> Message:
    return {name: float(value) for name, value in metrics.items()}


def _metrics(message: Message) -> Metrics:
    metrics = _map(message, "metrics")
    if len(metrics) > MAX_METRICS:
        raise FrameError(f"{len(metrics)} metrics, more than {MAX_METRICS}")
    return {name: _number(metrics, name) for name in metrics}


def _shared_to(tensor: SharedTensor) -> list[object]:
    return [tensor.name, list(tensor.shape), None if tensor.clip is None else float(tensor.clip)]


def _shared_from(entry: object) -> SharedTensor:
    match entry:
        case [str(name), [*sizes], None | float() as clip]:
            shape = tuple(size for size in sizes if type(size) is int)
            if len(shape) == len(sizes):
                return SharedTensor(name, shape, clip)
    raise FrameError("a shared tensor is not [name, shape, clip]")


def _text(message: Message, key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise FrameError(f"{key} is not a text of at most {MAX_TEXT} characters")
    return value


def _count(message: Message, key: str) -> int:
    value = message.get(key)
    if type(value) is not int or value < 0:
        raise FrameError(f"{key} is not a count")
    return value


def _number(message: Message, key: str) -> float:
    value = message.get(key)
    if type(value) is not float:
        raise FrameError(f"{key} is not a number")
    return value


def _bytes(message: Message, key: str) -> bytes:
    value = message.get(key)
    if not isinstance(value, bytes):
        raise FrameError(f"{key} is not bytes")
    return value


def _list(message: Message, key: str) -> list[Any]:
    value = message.get(key)
    if not isinstance(value, list):
        raise FrameError(f"{key} is not a list")
    return value


def _map(message: Message, key: str) -> Message:
    value = message.get(key)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise FrameError(f"{key} is not a map with text keys")
    return value
