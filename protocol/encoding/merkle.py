"""Merkle trees as in Certificate Transparency (RFC 6962, section 2.1), with SHA-256.

Leaves and inner nodes are hashed under different prefixes, so that neither can pass for the other. A
tree has at least one leaf. Where a level has an odd number of nodes, its last one moves up unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from protocol.encoding.errors import Malformed, Mismatch, Misuse

DIGEST_BYTES = 32

_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(_LEAF + data).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


class Frontier:
    """A tree that is given its leaves one by one and remembers a logarithmic number of hashes."""

    def __init__(self) -> None:
        self._count = 0
        self._peaks: list[bytes] = []  # of complete subtrees, from large to small

    def append(self, leaf: bytes) -> None:
        """Add `leaf` to the right."""
        digest, filled = leaf_hash(leaf), self._count
        while filled & 1:
            digest, filled = _node_hash(self._peaks.pop(), digest), filled >> 1
        self._peaks.append(digest)
        self._count += 1

    def root(self) -> bytes:
        """The root over the leaves so far; `Misuse` when there are none."""
        if not self._peaks:
            raise Misuse("a Merkle tree has at least one leaf")
        *larger, digest = self._peaks
        for peak in reversed(larger):
            digest = _node_hash(peak, digest)
        return digest


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """The root over `leaves` in order; `Misuse` when there are none."""
    tree = Frontier()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings, from the leaf up, that link leaf `index` to the root over all `leaf_hashes`."""
    if not 0 <= index < len(leaf_hashes):
        raise Misuse(f"there is no leaf {index} among {len(leaf_hashes)}")
    level, path = list(leaf_hashes), []
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        odd = level[len(level) & ~1 :]
        level = [_node_hash(*pair) for pair in zip(level[::2], level[1::2], strict=False)] + odd
        index >>= 1
    return path


def verify_inclusion(root: bytes, leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> None:
    """Check that `leaf` is number `index` of the `count` leaves under `root`.

    Raises `Malformed` for a place that the tree lacks or a path of the wrong length or width, and
    `Mismatch` when the leaf, its place or the path is not what the root commits to.
    """
    if not 0 <= index < count:
        raise Malformed(f"there is no leaf {index} among {count}")
    if any(len(sibling) != DIGEST_BYTES for sibling in path):
        raise Malformed(f"a Merkle path holds digests of {DIGEST_BYTES} bytes")
    digest, siblings = leaf_hash(leaf), list(reversed(path))
    while count > 1:
        if index ^ 1 < count:
            if not siblings:
                raise Malformed("the Merkle path is too short")
            sibling = siblings.pop()
            digest = _node_hash(sibling, digest) if index & 1 else _node_hash(digest, sibling)
        index, count = index >> 1, (count + 1) >> 1
    if siblings:
        raise Malformed("the Merkle path is too long")
    if digest != root:
        raise Mismatch("the leaf is not what the Merkle root commits to")
