"""A member's data folder: where the base model lies, the private text, and what this machine can bear.

    base/             the base model: a Hugging Face folder with safetensors, or a folder with one GGUF file
    train*.jsonl, train*.txt            private text to train on (see `text`)
    held-out*.jsonl, held-out*.txt      private text to evaluate on
    causal.toml       optional; may hold
        base = "/srv/models/smollm2"    another place for the base model, a folder or a GGUF file; the node's
                                        configuration must let tasks read it: learning.also_read
        adapter = "adapter"             adapters in peft's format to go on from, the same at all members
        micro_batch = 1                 fewer windows at a time than the job suggests: less memory
        checkpointing = true            compute activations twice instead of keeping them: less memory

The last two change what a round costs this member, not what it computes (up to rounding).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import OperatorFault

SETTINGS = "causal.toml"
NAMES = ("base", "adapter", "micro_batch", "checkpointing")
MAX_SETTINGS = 64 * 2**10  # bytes; a handful of lines
ENDINGS = (".jsonl", ".txt")
MAX_FILES = 1_000
MAX_MICRO_BATCH = 1_024


@dataclass(frozen=True)
class MemberFolder:
    """What is where; settings that are None leave the choice to the job."""

    path: Path
    base: Path
    adapter: Path | None = None
    micro_batch: int | None = None
    checkpointing: bool | None = None

    def training_files(self) -> list[Path]:
        return self._files("train")

    def held_out_files(self) -> list[Path]:
        return self._files("held-out")

    def _files(self, stem: str) -> list[Path]:
        found = sorted(path for path in self.path.glob(f"{stem}*") if path.suffix in ENDINGS)
        if not found:
            raise OperatorFault(
                f"{self.path} has no {stem}*.jsonl or {stem}*.txt",
                remedy="put the text to train on into train.jsonl or train.txt, "
                "and some that is kept from training into held-out.jsonl or held-out.txt",
            )
        if len(found) > MAX_FILES:
            raise OperatorFault(f"{self.path} has {len(found)} {stem} files, more than {MAX_FILES}")
        return found


def open_folder(path: Path | None) -> MemberFolder:
    """The folder with its settings; the base model and the text are not touched yet.

    Raises:
        OperatorFault: there is no folder, or `causal.toml` cannot be read or says something unknown.
    """
    if path is None:
        raise OperatorFault(
            "the task causal-lm needs a data folder: the base model is in it",
            remedy="name one for causal-lm in this node's configuration, under [learning.data]",
        )
    if not path.is_dir():
        raise OperatorFault(f"{path} is not a folder", remedy="it must hold a base model and private text")
    settings = _settings(path / SETTINGS)
    base = settings.get("base", "base")
    adapter = settings.get("adapter")
    micro_batch = settings.get("micro_batch")
    checkpointing = settings.get("checkpointing")
    if not isinstance(base, str):
        raise _refuse(path, "base", "the path of a model")
    if adapter is not None and not isinstance(adapter, str):
        raise _refuse(path, "adapter", "the path of a folder in peft's format")
    if micro_batch is not None and not (type(micro_batch) is int and 1 <= micro_batch <= MAX_MICRO_BATCH):
        raise _refuse(path, "micro_batch", f"an integer from 1 to {MAX_MICRO_BATCH}")
    if checkpointing is not None and not isinstance(checkpointing, bool):
        raise _refuse(path, "checkpointing", "true or false")
    start = None if adapter is None else path / adapter
    return MemberFolder(path, path / base, start, micro_batch, checkpointing)


def _settings(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SETTINGS + 1)
        if len(content) > MAX_SETTINGS:
            raise OperatorFault(f"{path} has more than {MAX_SETTINGS} bytes")
        settings = tomllib.loads(content.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OperatorFault(f"{path} cannot be read: {error}", remedy="it must be TOML") from error
    unknown = settings.keys() - set(NAMES)
    if unknown:
        raise OperatorFault(
            f"{path}: nothing is called {min(unknown)!r}", remedy=f"it knows {', '.join(NAMES)}"
        )
    return settings


def _refuse(folder: Path, name: str, wanted: str) -> OperatorFault:
    return OperatorFault(f"{folder / SETTINGS}: {name} has a wrong value", remedy=f"it must be {wanted}")
