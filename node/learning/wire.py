"""What travels in the frames: results, to and from plain maps.

The node trusts its worker no more than any other input: every field that comes back is checked here, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.learning.task import DataSummary, Evaluation, Parameters, Update
from node.learning.tensors import SharedTensor, check_shared, check_tensors, from_bytes, to_bytes
from node.workers.frames import FrameError, Message
from node.workers.wire import count_field, map_field, metrics_from, metrics_to, text_field


@dataclass(frozen=True)
class Description:
    """A task as it stands: all parameters in force, the device it runs on, the shared tensors in order."""

    name: str
    parameters: Parameters
    device: str
    shared: tuple[SharedTensor, ...]


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
        text_field(message, "name"),
        map_field(message, "parameters"),
        text_field(message, "device"),
        check_shared(shared),
    )


def summary_to(summary: DataSummary) -> Message:
    return {"training": summary.training, "evaluation": summary.evaluation}


def summary_from(message: Message) -> DataSummary:
    return DataSummary(count_field(message, "training"), count_field(message, "evaluation"))


def update_to(shared: tuple[SharedTensor, ...], update: Update) -> Message:
    return {
        "delta": to_bytes(check_tensors(shared, update.delta)),
        "samples": update.samples,
        "metrics": metrics_to(update.metrics),
    }


def update_from(shared: tuple[SharedTensor, ...], message: Message) -> Update:
    samples = count_field(message, "samples")
    if samples < 1:
        raise FrameError("an update from no samples")
    delta = check_tensors(shared, from_bytes(shared, _bytes(message, "delta")))
    return Update(delta, samples, metrics_from(message))


def evaluation_to(evaluation: Evaluation) -> Message:
    return {"samples": evaluation.samples, "metrics": metrics_to(evaluation.metrics)}


def evaluation_from(message: Message) -> Evaluation:
    return Evaluation(count_field(message, "samples"), metrics_from(message))


def _shared_to(tensor: SharedTensor) -> list[object]:
    return [tensor.name, list(tensor.shape), None if tensor.clip is None else float(tensor.clip)]


def _shared_from(entry: object) -> SharedTensor:
    match entry:
        case [str(name), [*sizes], None | float() as clip]:
            shape = tuple(size for size in sizes if type(size) is int)
            if len(shape) == len(sizes):
                return SharedTensor(name, shape, clip)
    raise FrameError("a shared tensor is not [name, shape, clip]")


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
