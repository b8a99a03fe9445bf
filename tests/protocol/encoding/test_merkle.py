"""Merkle trees against Certificate Transparency's vectors and the RFC's recursive definition."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding.errors import Malformed, Mismatch, Misuse
from protocol.encoding.merkle import Frontier, inclusion_path, leaf_hash, merkle_root, verify_inclusion

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

leaves = st.lists(st.binary(max_size=8), min_size=1, max_size=40, unique=True)


def defined_root(leaves):
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + defined_root(leaves[:split]) + defined_root(leaves[split:])).digest()


@pytest.mark.parametrize("count", range(1, 9))
def test_the_vectors_of_certificate_transparency(count):
    assert merkle_root(LEAVES[:count]).hex() == ROOTS[count - 1]


@given(leaves)
@settings(deadline=None)
def test_the_root_is_the_rfcs(leaves):
    tree = Frontier()
    for number, leaf in enumerate(leaves, 1):
        tree.append(leaf)
        assert tree.root() == defined_root(leaves[:number])


@given(leaves, st.data())
@settings(deadline=None)
def test_every_leaf_is_proved_in_its_place_only(leaves, data):
    root, index = merkle_root(leaves), data.draw(st.integers(0, len(leaves) - 1))
    path = inclusion_path([leaf_hash(leaf) for leaf in leaves], index)
    assert len(path) <= (len(leaves) - 1).bit_length()
    verify_inclusion(root, leaves[index], index, len(leaves), path)
    other = data.draw(st.integers(0, len(leaves) - 1))
    if other != index:
        with pytest.raises(Mismatch):
            verify_inclusion(root, leaves[other], index, len(leaves), path)
        with pytest.raises((Malformed, Mismatch)):
            verify_inclusion(root, leaves[index], other, len(leaves), path)


@given(leaves, st.data())
@settings(deadline=None)
def test_a_changed_path_is_refused(leaves, data):
    root, index = merkle_root(leaves), data.draw(st.integers(0, len(leaves) - 1))
    path = inclusion_path([leaf_hash(leaf) for leaf in leaves], index)
    with pytest.raises(Malformed, match="too long"):
        verify_inclusion(root, leaves[index], index, len(leaves), [*path, bytes(32)])
    for at, sibling in enumerate(path):
        before, after = path[:at], path[at + 1 :]
        flipped = [*before, bytes([sibling[0] ^ 1]) + sibling[1:], *after]
        with pytest.raises(Mismatch):
            verify_inclusion(root, leaves[index], index, len(leaves), flipped)
        with pytest.raises(Malformed, match="too short"):
            verify_inclusion(root, leaves[index], index, len(leaves), [*before, *after])
        with pytest.raises(Malformed, match="32 bytes"):
            verify_inclusion(root, leaves[index], index, len(leaves), [*before, b"", *after])


def test_an_inner_node_does_not_pass_for_a_leaf():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert merkle_root([b"a", b"b"]) != leaf_hash(left + right)
    assert merkle_root([b"a", b"b"]) != merkle_root([left + right])


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0)])
def test_a_place_outside_the_tree_is_refused(index, count):
    with pytest.raises(Malformed, match="no leaf"):
        verify_inclusion(bytes(32), b"", index, count, [])
    with pytest.raises(Misuse, match="no leaf"):
        inclusion_path([bytes(32)] * count, index)


def test_an_empty_tree_has_no_root():
    with pytest.raises(Misuse):
        merkle_root([])
