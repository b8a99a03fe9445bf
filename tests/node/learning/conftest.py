import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import node
from node.learning.mnist.folder import Digits, Samples

HERE = Path(__file__).parent
ENTRY_POINTS = """
[starling.tasks]
tiny = tiny_tasks:TinyTask
not-a-task = tiny_tasks:NotATask
broken = tiny_tasks:Missing
"""


@pytest.fixture
def tiny_distribution(tmp_path, monkeypatch):
    """Installs tiny_tasks.py as a distribution with entry points, for this process and its children."""
    site = tmp_path / "site"
    metadata = site / "tiny_tasks-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(HERE / "tiny_tasks.py", site)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-tasks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    root = Path(node.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(root)]))
    return site


@pytest.fixture
def numbers(tmp_path):
    """A data folder for the tiny task, with mean 2."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "numbers").write_text("1 2 3")
    return folder


@pytest.fixture
def digits():
    """600 + 200 synthetic digits: a bright block whose place tells the label, in noise."""
    return Digits(synthetic(600, 1), synthetic(200, 2))


def synthetic(count, seed):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % 10).astype(np.uint8)
    images = random.integers(0, 100, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 + 12 * (label // 5), 3 + 5 * (label % 5)
        image[row : row + 8, column : column + 4] = 255
    return Samples(images, labels)
