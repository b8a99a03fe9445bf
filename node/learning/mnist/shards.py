"""Divides a data set among members: full or small random shares, or shares with skewed labels.

A division is fixed by its seed. The bits come from NumPy's PCG64 through operations that are the same on
every machine of one NumPy version; only the machine that prepares a demonstration divides anything.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node.learning.mnist.files import make_folder
from node.learning.mnist.folder import CLASSES, Digits, write_samples
from node.learning.mnist.idx import Bytes
from protocol.errors import OperatorFault

Indices = NDArray[np.int64]
Division = list[Indices]

# A member with fewer samples than one batch would train on noise; a division that leaves one is drawn again.
FEWEST = 64
MAX_DRAWS = 1_000


def divide(labels: Bytes, members: int, how: str, seed: int) -> Division:
    """Disjoint sorted indices into `labels`, one array for each member.

    `how` is "iid" (everything, evenly), "iid-1500" (1,500 samples each), "dirichlet-0.1" (the shares of every
    label drawn from a Dirichlet distribution with that concentration, Hsu et al. 2019, arXiv:1909.06335) or
    "labels-2" (each member has two runs of sorted labels, McMahan et al. 2017, arXiv:1602.05629).

    Raises:
        OperatorFault: `how` is none of these, or the data do not suffice.
    """
    if not 1 <= members <= len(labels) // FEWEST:
        raise OperatorFault(f"{len(labels)} samples cannot be divided among {members} members")
    random = np.random.Generator(np.random.PCG64(seed))
    return [np.sort(part) for part in _division_named(how)(labels, members, random)]


def write_shards(digits: Digits, members: int, how: str, seed: int, folder: Path) -> list[Path]:
    """Writes each member's own data folder, `member-1` … `member-N`, below `folder`; returns them in order.

    Each holds the member's `train.npz` and the common `test.npz`, one file on disk where links are possible.
    """
    shards = []
    common: Path | None = None
    for number, indices in enumerate(divide(digits.train.labels, members, how, seed), start=1):
        shard = folder / f"member-{number}"
        make_folder(shard)
        write_samples(shard / "train.npz", digits.train.take(indices))
        if common is None:
            common = shard / "test.npz"
            write_samples(common, digits.test)
        else:
            _link(common, shard / "test.npz")
        shards.append(shard)
    return shards


Divider = Callable[[Bytes, int, np.random.Generator], Division]


def _division_named(how: str) -> Divider:
    match how.split("-", 1):
        case ["iid"]:
            return _evenly
        case ["iid", count] if re.fullmatch(r"[1-9]\d{0,5}", count):
            return partial(_samples_each, int(count))
        case ["dirichlet", value] if re.fullmatch(r"\d{1,3}(\.\d{1,3})?", value) and float(value) > 0:
            return partial(_dirichlet, float(value))
        case ["labels", count] if re.fullmatch(r"[1-9]", count):
            return partial(_label_runs, int(count))
    raise OperatorFault(
        f"no division of data is called {how!r}", remedy="use iid, iid-1500, dirichlet-0.1 or labels-2"
    )


def _evenly(labels: Bytes, members: int, random: np.random.Generator) -> Division:
    return np.array_split(random.permutation(len(labels)), members)


def _samples_each(count: int, labels: Bytes, members: int, random: np.random.Generator) -> Division:
    if count * members > len(labels):
        raise OperatorFault(f"{len(labels)} samples do not suffice for {members} members with {count} each")
    return np.array_split(random.permutation(len(labels))[: count * members], members)


def _dirichlet(concentration: float, labels: Bytes, members: int, random: np.random.Generator) -> Division:
    for _ in range(MAX_DRAWS):
        parts: list[list[Indices]] = [[] for _ in range(members)]
        for label in range(CLASSES):
            indices = random.permutation(np.flatnonzero(labels == label))
            shares = random.dirichlet(np.full(members, concentration))
            cuts = (np.cumsum(shares)[:-1] * len(indices)).astype(np.int64)
            for part, run in zip(parts, np.split(indices, cuts), strict=True):
                part.append(run)
        division = [np.concatenate(part) for part in parts]
        if min(map(len, division)) >= FEWEST:
            return division
    raise OperatorFault(
        f"no division with concentration {concentration} leaves each of {members} members {FEWEST} samples",
        remedy="raise the concentration",
    )


def _label_runs(runs: int, labels: Bytes, members: int, random: np.random.Generator) -> Division:
    pieces = np.array_split(np.argsort(labels, kind="stable"), members * runs)
    order = random.permutation(len(pieces)).reshape(members, runs)
    return [np.concatenate([pieces[piece] for piece in own]) for own in order]


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
