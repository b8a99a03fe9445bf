"""What a member must remember between rounds: joint factors alone do not say what the whole model is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from node.files import write_whole
from node.learning.lowrank.factors import Basis
from node.learning.tensors import Tensor, Tensors
from protocol.errors import OperatorFault


@dataclass(frozen=True)
class Standing:
    """Where a job stands after `rounds` opened rounds.

    `joint` is what members have averaged so far, `model` the whole model that this makes, `bases` the ones of
    the next round (None where a tensor travels whole), `errors` what this member has yet to tell.
    """

    rounds: int
    joint: Tensors
    model: Tensors
    bases: tuple[Basis | None, ...]
    errors: Tensors


def save(path: Path, standing: Standing) -> None:
    """Writes it whole or not at all, readable by its owner only."""
    arrays = {"rounds": np.array(standing.rounds)}
    for name, group in (("joint", standing.joint), ("model", standing.model), ("errors", standing.errors)):
        arrays |= {f"{name} {index}": array for index, array in enumerate(group)}
    for index, basis in enumerate(standing.bases):
        if basis is not None:
            arrays[f"{'rows' if basis.of_rows else 'columns'} {index}"] = basis.vectors
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # the names are no options of its
    write_whole(path, file.getvalue())


def load(path: Path, like: Standing) -> Standing | None:
    """What was saved, or None if nothing was; it must have the shapes of `like`.

    Raises:
        OperatorFault: the file is damaged or of a job with other parameters.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        standing = Standing(
            int(arrays["rounds"]),
            tuple(_group(arrays, "joint", like.joint)),
            tuple(_group(arrays, "model", like.model)),
            tuple(_basis(arrays, index) for index in range(len(like.bases))),
            tuple(_group(arrays, "errors", like.errors)),
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OperatorFault(
            f"{path} is damaged or of another job: {error}",
            remedy="remove it; this member cannot go on with a low-rank job that has begun",
        ) from error
    return standing


def _group(arrays: dict[str, Tensor], name: str, like: Sequence[Tensor]) -> Iterator[Tensor]:
    for index, expected in enumerate(like):
        array = arrays[f"{name} {index}"]
        if array.shape != expected.shape or array.dtype != np.float32:
            raise ValueError(f"{name} {index} is {array.dtype}{list(array.shape)}")
        yield array


def _basis(arrays: dict[str, Tensor], index: int) -> Basis | None:
    for of_rows, side in ((True, "rows"), (False, "columns")):
        if f"{side} {index}" in arrays:
            return Basis(arrays[f"{side} {index}"], of_rows)
    return None
