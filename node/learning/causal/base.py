"""The base model: a folder that transformers reads, its digest, and its tokenizer.

No code from the folder is ever run, and pickled weights are not read. A GGUF file is converted once, to
safetensors in a cache that all members on a machine share.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from node.learning.causal.gguf import converted
from protocol.errors import OperatorFault

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
# What a configuration file says about its making, not about the model.
IRRELEVANT = (
    "_name_or_path",
    "_model_name_or_path",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "use_cache",
)
REMEDY = "give a folder with config.json, a tokenizer and *.safetensors, or one with a GGUF file"


@dataclass(frozen=True)
class BaseModel:
    """A base model on this disk; its weights are read when they are needed."""

    folder: Path
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    digest: str


def open_base(path: Path) -> BaseModel:
    """Finds, converts where necessary, checks and digests the base model at `path`.

    Raises:
        OperatorFault: it is not a causal language model that transformers can read, or has no tokenizer.
    """
    folder = _folder(path)
    config = _config(folder)
    tokenizer = _tokenizer(folder, config)
    return BaseModel(folder, config, tokenizer, _digest(folder, tokenizer))


def check_digest(base: BaseModel, wanted: str, where: Path) -> None:
    """Raises `OperatorFault` with both digests unless this is the base that the job names ("" names none)."""
    if wanted not in ("", base.digest):
        raise OperatorFault(
            f"the base model in {where} has the digest {base.digest}, the job is for {wanted}",
            remedy="all members must fine-tune the same base: get the one that the proposer has",
        )


def check_context(base: BaseModel, context: int) -> None:
    """Raises `OperatorFault` if the model cannot attend to so many tokens."""
    longest = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and context > longest:
        raise OperatorFault(
            f"a context of {context} tokens is longer than the base model's {longest}",
            remedy=f"set the job's context to at most {longest}",
        )


def _folder(path: Path) -> Path:
    if path.is_file():
        return converted(path)
    if not path.is_dir():
        raise OperatorFault(f"there is no base model at {path}", remedy=REMEDY)
    try:
        os.listdir(path)
    except PermissionError as error:
        raise OperatorFault(
            f"the base model in {path} may not be read here",
            remedy="name its folder in the node's configuration, under learning.also_read",
        ) from error
    if any(path.glob("*.safetensors")):
        return path
    files = sorted(path.glob("*.gguf"))
    if len(files) == 1:
        return converted(files[0])
    if files:
        raise OperatorFault(f"{path} has {len(files)} GGUF files", remedy="name one of them in causal.toml")
    if any(path.glob("*.bin")) or any(path.glob("*.pt")):
        raise OperatorFault(
            f"{path} has pickled weights, which can run code when they are read",
            remedy="convert them to safetensors",
        )
    raise OperatorFault(f"{path} is not a model: it has no weights", remedy=REMEDY)


def _config(folder: Path) -> PretrainedConfig:
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        # The library parses a file from outside here and promises no set of errors.
        raise OperatorFault(f"{folder} is not a model: {_first_line(error)}", remedy=REMEDY) from error
    if getattr(config, "quantization_config", None) is not None:
        raise OperatorFault(
            f"the base model in {folder} is quantised already",
            remedy="give the original weights; they are quantised here, as the job says",
        )
    return config


def _tokenizer(folder: Path, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        raise OperatorFault(
            f"the base model in {folder} has no tokenizer", remedy=f"add its {' or '.join(TOKENIZER_FILES)}"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # As above: a file from outside, and no promised set of errors.
        raise OperatorFault(
            f"the tokenizer in {folder} cannot be read: {_first_line(error)}", remedy="get it again"
        ) from error
    if tokenizer.eos_token_id is None:
        raise OperatorFault(
            f"the tokenizer in {folder} has no end-of-text token",
            remedy="name its eos_token in tokenizer_config.json",
        )
    rows = config.get_text_config().vocab_size
    if len(tokenizer) > rows:
        raise OperatorFault(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the model knows {rows}",
            remedy="get the tokenizer that belongs to the model",
        )
    return tokenizer


def _digest(folder: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 in hexadecimal of all weights, the configuration, the vocabulary and the chat template.

    It does not depend on how the weights are spread over files, nor on file names and dates.
    """
    state = hashlib.sha256(b"starling base model v1\n")
    _add(state, _relevant_config(folder))
    _add(state, json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    _add(state, json.dumps([tokenizer.eos_token, tokenizer.chat_template]).encode())
    for name, tensor in _tensors(folder):
        _add(state, f"{name}\0{tensor.dtype}\0{list(tensor.shape)}".encode())
        _add(state, tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def _add(state: hashlib._Hash, part: bytes | memoryview) -> None:
    state.update(len(part).to_bytes(8, "big"))
    state.update(part)


def _relevant_config(folder: Path) -> bytes:
    config = json.loads((folder / "config.json").read_bytes())
    return json.dumps({k: v for k, v in config.items() if k not in IRRELEVANT}, sort_keys=True).encode()


def _tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """All weights by name, in the order of the names."""
    where: dict[str, Path] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                where |= dict.fromkeys(file.keys(), path)
        for name in sorted(where):
            with safe_open(where[name], framework="pt") as file:
                yield name, file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise OperatorFault(
            f"the weights in {folder} cannot be read: {error}", remedy="copy them again"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
