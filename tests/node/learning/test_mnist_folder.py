import errno
import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from node.learning.mnist import idx
from node.learning.mnist.files import make_folder, write_whole
from node.learning.mnist.folder import IDX_STEMS, Samples, read_folder, write_samples
from protocol.errors import OperatorFault


@given(npst.arrays(np.uint8, npst.array_shapes(max_dims=3, max_side=6)))
def test_idx_round_trip(array):
    assert np.array_equal(idx.parse(idx.serialise(array), "x"), array)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_idx_or_refused(raw):
    try:
        array = idx.parse(raw, "x")
    except OperatorFault:
        return
    assert idx.serialise(array) == raw


def parts_of(digits):
    return {
        "train_images": digits.train.images,
        "train_labels": digits.train.labels,
        "test_images": digits.test.images,
        "test_labels": digits.test.labels,
    }


def write_idx(folder, digits, separator="-", compress=False):
    for part, array in parts_of(digits).items():
        raw = idx.serialise(array)
        name = IDX_STEMS[part].format(separator) + (".gz" if compress else "")
        (folder / name).write_bytes(gzip.compress(raw) if compress else raw)


def write_npz(folder, digits):
    write_samples(folder / "train.npz", digits.train)
    write_samples(folder / "test.npz", digits.test)


def write_single_npz(folder, digits):
    train, test = digits.train, digits.test
    np.savez(
        folder / "mnist.npz",
        x_train=train.images,
        y_train=train.labels.astype(np.int64),
        x_test=test.images,
        y_test=test.labels,
    )


@pytest.mark.parametrize(
    "write",
    [
        write_idx,
        lambda folder, digits: write_idx(folder, digits, "."),
        lambda folder, digits: write_idx(folder, digits, compress=True),
        write_npz,
        write_single_npz,
    ],
)
def test_every_form_of_folder_reads_alike(tmp_path, digits, write):
    write(tmp_path, digits)
    again = parts_of(read_folder(tmp_path))
    for part, array in parts_of(digits).items():
        assert np.array_equal(again[part], array)
        assert again[part].dtype == np.uint8


def test_written_samples_are_private(tmp_path, digits):
    write_npz(tmp_path, digits)
    assert (tmp_path / "train.npz").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.npz", "train.npz"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OperatorFault, match="is not a folder"):
        read_folder(tmp_path / "absent")


def test_an_empty_folder(tmp_path):
    with pytest.raises(OperatorFault, match="has no train-images-idx3-ubyte"):
        read_folder(tmp_path)


def test_a_missing_test_set(tmp_path, digits):
    write_samples(tmp_path / "train.npz", digits.train)
    with pytest.raises(OperatorFault, match=r"test\.npz is missing"):
        read_folder(tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 10, 1000])
def test_a_truncated_idx_file(tmp_path, digits, keep):
    write_idx(tmp_path, digits)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(OperatorFault, match="train-images"):
        read_folder(tmp_path)


@pytest.mark.parametrize("write", [lambda f, d: write_idx(f, d, compress=True), write_npz])
def test_truncated_archives(tmp_path, digits, write):
    write(tmp_path, digits)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OperatorFault, match=r"cannot be decompressed|not a readable NPZ"):
        read_folder(tmp_path)


def test_an_npz_with_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "train.npz", images=np.array([{}], dtype=object), labels=np.zeros(1, np.uint8))
    with pytest.raises(OperatorFault, match="not a readable NPZ"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((5, 28, 27), np.uint8), np.zeros(5, np.uint8), r"images are uint8\[5, 28, 27\]"),
        (np.zeros((5, 784), np.uint8), np.zeros(5, np.uint8), r"images are uint8\[5, 784\]"),
        (np.zeros((5, 28, 28), np.float32), np.zeros(5, np.uint8), "images are float32"),
        (np.zeros((5, 28, 28), np.uint8), np.zeros(4, np.uint8), "for 5 images"),
        (np.zeros((5, 28, 28), np.uint8), np.zeros((5, 10), np.uint8), "for 5 images"),
        (np.zeros((5, 28, 28), np.uint8), np.zeros(5), "labels are float64"),
        (np.zeros((5, 28, 28), np.uint8), np.full(5, 10), "labels go from 10 to 10"),
        (np.zeros((5, 28, 28), np.uint8), np.full(5, -1), "labels go from -1 to -1"),
        (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8), "no samples"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, images, labels, message):
    write_samples(tmp_path / "train.npz", Samples(images, labels))
    with pytest.raises(OperatorFault, match=message):
        read_folder(tmp_path)


def test_missing_arrays_are_named(tmp_path):
    np.savez(tmp_path / "train.npz", images=np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(OperatorFault, match="labels"):
        read_folder(tmp_path)


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    def fill(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "train.npz").write_bytes(b"old")
    with pytest.raises(OperatorFault, match="No space left on device"):
        write_whole(tmp_path / "train.npz", fill)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OperatorFault, match="cannot be written"):
        make_folder(tmp_path / "file" / "folder")
