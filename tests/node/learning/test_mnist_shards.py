import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.learning.mnist.folder import read_folder
from node.learning.mnist.shards import FEWEST, divide, write_shards
from protocol.errors import OperatorFault

LABELS = np.tile(np.arange(10, dtype=np.uint8), 600)
WAYS = ["iid", "iid-300", "dirichlet-0.5", "labels-2"]


@settings(max_examples=30)
@given(st.sampled_from(WAYS), st.integers(1, 10), st.integers(0, 2**31))
def test_shares_are_disjoint_large_enough_and_fixed_by_the_seed(how, members, seed):
    division = divide(LABELS, members, how, seed)
    assert len(division) == members
    together = np.concatenate(division)
    assert len(np.unique(together)) == len(together)
    assert min(map(len, division)) >= FEWEST
    again = divide(LABELS, members, how, seed)
    assert all(np.array_equal(one, other) for one, other in zip(division, again, strict=True))


@pytest.mark.parametrize("how", ["iid", "dirichlet-0.1", "labels-2"])
def test_full_divisions_give_every_sample_to_someone(how):
    assert sum(map(len, divide(LABELS, 10, how, 1))) == len(LABELS)


def test_other_seeds_give_other_shares():
    assert not np.array_equal(divide(LABELS, 3, "iid", 1)[0], divide(LABELS, 3, "iid", 2)[0])


def test_fixed_sizes_are_as_asked():
    assert [len(part) for part in divide(LABELS, 4, "iid-1500", 0)] == [1500] * 4


def test_two_label_shards_have_few_labels():
    for part in divide(LABELS, 10, "labels-2", 0):
        assert len(np.unique(LABELS[part])) <= 4


def test_a_small_concentration_skews_labels():
    def largest(how):
        counts = [np.bincount(LABELS[part], minlength=10) for part in divide(LABELS, 10, how, 0)]
        return np.mean([count.max() / count.sum() for count in counts])

    assert largest("dirichlet-0.1") > largest("dirichlet-100") + 0.2


@pytest.mark.parametrize(
    "how", ["", "iid-0", "iid-", "dirichlet", "dirichlet-0", "dirichlet--1", "labels-x", "x"]
)
def test_unknown_divisions_are_refused(how):
    with pytest.raises(OperatorFault, match="no division"):
        divide(LABELS, 3, how, 0)


@pytest.mark.parametrize(("members", "how"), [(0, "iid"), (1000, "iid"), (5, "iid-1500")])
def test_too_few_samples_are_refused(members, how):
    with pytest.raises(OperatorFault, match=r"cannot be divided|do not suffice"):
        divide(LABELS, members, how, 0)


def test_each_member_gets_a_folder_with_its_share_and_the_common_test_set(tmp_path, digits):
    shards = write_shards(digits, 3, "iid", 4, tmp_path)
    assert [shard.name for shard in shards] == ["member-1", "member-2", "member-3"]
    division = divide(digits.train.labels, 3, "iid", 4)
    for shard, indices in zip(shards, division, strict=True):
        own = read_folder(shard)
        assert np.array_equal(own.train.images, digits.train.images[indices])
        assert np.array_equal(own.test.labels, digits.test.labels)
    assert len({(shard / "test.npz").stat().st_ino for shard in shards}) == 1


def test_writing_again_replaces(tmp_path, digits):
    write_shards(digits, 3, "iid", 4, tmp_path)
    shards = write_shards(digits, 2, "iid", 5, tmp_path)
    assert [len(read_folder(shard).train) for shard in shards] == [300, 300]
