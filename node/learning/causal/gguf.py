"""Converts GGUF files, once: weights dequantised to safetensors, and the tokenizer from inside the file."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from node.files import private_directory
from protocol.errors import OperatorFault

MAGIC = b"GGUF"


def default_cache() -> Path:
    """The folder that members on one machine share, following the XDG base directories."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "starling" / "models"


def converted(path: Path, cache: Path | None = None) -> Path:
    """The folder with the converted model, which takes twice the memory of its 16-bit weights to make.

    Other processes wait for the one that converts; the folder appears whole or not at all.

    Raises:
        OperatorFault: the file is not GGUF, or transformers cannot convert its architecture.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if magic != MAGIC:
            raise OperatorFault(f"{path} is not a GGUF file", remedy="copy or download it again")
        home = private_directory(cache or default_cache())
        target = home / digest[:32]
        with _locked(home / f"{digest[:32]}.lock"):
            if not target.exists():
                _convert(path, target)
    except OSError as error:
        raise OperatorFault(
            f"{path} cannot be converted: {error}", remedy="make room, or repair it"
        ) from error
    return target


def _convert(path: Path, target: Path) -> None:
    making = Path(tempfile.mkdtemp(dir=target.parent, prefix=".making-"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),
            # 8 bits of precision are more than a quantised file has; 32 would double its size for nothing.
            dtype=torch.bfloat16,
            local_files_only=True,
        )
        model.save_pretrained(making)
        tokenizer.save_pretrained(making)
        making.replace(target)
    except OSError:
        raise
    except Exception as error:
        # The library parses a file from outside here and promises no set of errors.
        raise OperatorFault(
            f"{path} cannot be converted: {error}", remedy="give the model as safetensors"
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file lock that ends with this process, whatever ends it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
