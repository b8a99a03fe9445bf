"""A folder of digits: a member's private data, or the public data set.

Either NPZ files `train.npz` and `test.npz` with the arrays `images` (n × 28 × 28 unsigned bytes) and `labels`
(n unsigned bytes, 0 to 9); or one `mnist.npz` with `x_train`, `y_train`, `x_test`, `y_test`; or the four IDX
files under their usual names, raw or gzipped.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from node.learning.mnist import idx
from node.learning.mnist.files import write_whole
from node.learning.mnist.idx import Bytes
from protocol.errors import OperatorFault

SIDE = 28
CLASSES = 10

# The stems of the IDX files; the last separator is "-" or ".", and ".gz" may follow.
IDX_STEMS = {
    "train_images": "train-images{}idx3-ubyte",
    "train_labels": "train-labels{}idx1-ubyte",
    "test_images": "t10k-images{}idx3-ubyte",
    "test_labels": "t10k-labels{}idx1-ubyte",
}
REMEDY = "the folder must hold train.npz and test.npz, or mnist.npz, or the four IDX files of MNIST"


@dataclass(frozen=True)
class Samples:
    """`images` of shape (n, 28, 28) and `labels` of shape (n,), both unsigned bytes."""

    images: Bytes
    labels: Bytes

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Samples:
        return Samples(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Digits:
    """Samples to train on and samples to evaluate on."""

    train: Samples
    test: Samples


def read_folder(folder: Path) -> Digits:
    """Reads and checks a folder of digits, whichever of its forms it has.

    Raises:
        OperatorFault: nothing there, a file missing, damaged, of the wrong shape, or a label out of range.
    """
    if not folder.is_dir():
        raise OperatorFault(f"{folder} is not a folder", remedy=REMEDY)
    if (folder / "train.npz").exists():
        return Digits(
            _samples_of(folder / "train.npz", "images", "labels"),
            _samples_of(folder / "test.npz", "images", "labels"),
        )
    if (folder / "mnist.npz").exists():
        path = folder / "mnist.npz"
        return Digits(_samples_of(path, "x_train", "y_train"), _samples_of(path, "x_test", "y_test"))
    arrays = {part: _idx_of(folder, stem) for part, stem in IDX_STEMS.items()}
    return Digits(
        check(Samples(arrays["train_images"], arrays["train_labels"]), f"{folder} (train)"),
        check(Samples(arrays["test_images"], arrays["test_labels"]), f"{folder} (test)"),
    )


def write_samples(path: Path, samples: Samples) -> None:
    """Writes an NPZ file that appears whole or not at all, readable by its owner only."""
    write_whole(path, lambda file: np.savez_compressed(file, images=samples.images, labels=samples.labels))


def check(samples: Samples, name: str) -> Samples:
    """The samples themselves if shapes, types and labels are those of digits.

    Raises:
        OperatorFault: says what is wrong; `name` says where.
    """
    images, labels = samples.images, samples.labels
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise OperatorFault(
            f"{name}: the images are {images.dtype}{list(images.shape)}",
            remedy=f"they must be unsigned bytes of shape [n, {SIDE}, {SIDE}]",
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or len(labels) != len(images):
        raise OperatorFault(
            f"{name}: the labels are {labels.dtype}{list(labels.shape)} for {len(images)} images",
            remedy="there must be one whole number for each image",
        )
    if len(labels) == 0:
        raise OperatorFault(f"{name}: there are no samples")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise OperatorFault(
            f"{name}: labels go from {labels.min()} to {labels.max()}",
            remedy=f"digits have labels from 0 to {CLASSES - 1}",
        )
    return Samples(images, labels.astype(np.uint8))


def _samples_of(path: Path, images: str, labels: str) -> Samples:
    if not path.exists():
        raise OperatorFault(f"{path} is missing", remedy=REMEDY)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > 2 * idx.MAX_FILE:
            raise OperatorFault(f"{path} unpacks to {size} bytes, more than {2 * idx.MAX_FILE}")
        with np.load(path, allow_pickle=False) as archive:
            samples = Samples(archive[images], archive[labels])
    except KeyError as error:
        raise OperatorFault(f"{path} has no array {error.args[0]}", remedy=REMEDY) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise OperatorFault(
            f"{path} is not a readable NPZ file: {error}", remedy="it may be truncated: copy it again"
        ) from error
    return check(samples, str(path))


def _idx_of(folder: Path, stem: str) -> Bytes:
    for separator in "-.":
        for ending in ("", ".gz"):
            path = folder / (stem.format(separator) + ending)
            if path.exists():
                return idx.parse(idx.read(path), str(path))
    raise OperatorFault(f"{folder} has no {stem.format('-')}", remedy=REMEDY)
