"""Adapters as peft's own files, which any program that knows peft can load onto the base model."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from node.files import private_directory, write_whole
from node.learning.causal.adapters import PREFIX, Adapters, lora_config
from node.learning.tensors import Tensors, check_tensors
from protocol.errors import OperatorFault

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
# 2^27 values of float32 are 512 MiB; no job shares more.
MAX_WEIGHTS = 2**30


def write_adapter(adapters: Adapters, weights: Tensors, base: Path, folder: Path) -> Path:
    """Writes joint adapters to `folder` and returns it; `base` is where peft will look for the base model.

    Raises:
        OwnFault: the weights are not of these adapters.
    """
    check_tensors(adapters.shared, weights)
    tensors = adapters.frozen() | {
        tensor.name: value for tensor, value in zip(adapters.shared, weights, strict=True)
    }
    config = lora_config(adapters.recipe)
    config.base_model_name_or_path = str(base)
    config.inference_mode = True
    private_directory(folder)
    config.save_pretrained(str(folder))
    named = {PREFIX + name: np.ascontiguousarray(value) for name, value in tensors.items()}
    write_whole(folder / WEIGHTS, save(named, {"format": "pt"}))
    return folder


def read_archive(adapters: Adapters, path: Path) -> Tensors:
    """The joint adapters from the archive that `starling job export` writes.

    Raises:
        OperatorFault: it cannot be read, or is not of a job with these adapters.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise OperatorFault(f"{path} is no archive of tensors: {error}", remedy="export it again") from error
    for tensor in adapters.shared:
        if found.get(tensor.name, np.empty(0)).shape != tensor.shape:
            raise OperatorFault(
                f"{path} has no {tensor.name} of the shape {list(tensor.shape)}",
                remedy="give the parameters of the job that it was exported from",
            )
    return tuple(found[tensor.name].astype(np.float32) for tensor in adapters.shared)


def read_adapter(adapters: Adapters, folder: Path) -> Tensors:
    """The joint adapters from peft's files, if they are of the same job's kind.

    Raises:
        OperatorFault: the files are missing or damaged, or of another rank, scale, base or averaging.
    """
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        if (folder / WEIGHTS).stat().st_size > MAX_WEIGHTS:
            raise OperatorFault(f"{folder / WEIGHTS} has more than {MAX_WEIGHTS} bytes")
        found = {name.removeprefix(PREFIX): value for name, value in load_file(folder / WEIGHTS).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise OperatorFault(
            f"{folder} holds no adapter: {error}", remedy=f"it must have {CONFIG} and {WEIGHTS}"
        ) from error
    recipe = adapters.recipe
    _compare(folder, "rank", config.get("r"), recipe.rank)
    _compare(folder, "alpha", config.get("lora_alpha"), recipe.alpha)
    _compare(folder, "set of tensors", set(found), {name for name, _ in adapters.shapes})
    for name, shape in adapters.shapes:
        _compare(folder, f"shape of {name}", found[name].shape, shape)
    for name, value in adapters.frozen().items():
        if not np.array_equal(found[name], value):
            raise OperatorFault(
                f"the adapter in {folder} has another {name} than this job's seed gives",
                remedy='it was made with averaging = "average", or with another seed',
            )
    return tuple(found[tensor.name].astype(np.float32) for tensor in adapters.shared)


def _compare(folder: Path, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        shown, asked = (str(value)[:100] for value in (found, wanted))
        raise OperatorFault(
            f"the adapter in {folder} has another {what}: {shown} instead of {asked}",
            remedy="use the adapter of a job with the same parameters and base model",
        )
