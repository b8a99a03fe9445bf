"""The crypto worker stores its share for the members alone, and counts no share that is not stored so."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.dealer import deal
from support.manifests import job_secret, manifest

from node.crypto.desk import Desk, blob_from
from node.weights import encode_weights
from protocol.aggregation import Aggregation
from protocol.crypto.integers import encode_integer
from protocol.keyring import StoredShare

MANIFEST = manifest(3)
SPECS = MANIFEST.encoding.tensors
DEALT = deal(3, 2)
AGGREGATE = hashlib.sha256(b"the sealed sum").digest()


def desk_of(member: int) -> Desk:
    desk = Desk(MANIFEST, member, job_secret(member), lambda *_: None)
    desk.answer({"do": "use-key", "secret": StoredShare.of(DEALT.key, DEALT.shares[member]).to_bytes()})
    return desk


@pytest.fixture
def sealed(tmp_path: Path) -> dict[str, Any]:
    """Three members' updates, as requests name them."""
    update = encode_weights(SPECS, {spec.name: np.full(spec.shape, 0.25, np.float32) for spec in SPECS})
    found = []
    for member in (1, 2, 3):
        path = tmp_path / f"update-{member}"
        request = {"do": "contribute", "round": 1, "update": update, "weight": member, "ranged": False}
        found.append([member, desk_of(member).answer(request | {"out": str(path)}), str(path)])
    return {"round": 1, "aggregate": AGGREGATE, "sealed": found, "ranged": False}


def test_what_it_stores_shows_no_partial_decryption_and_counts_for_the_others(tmp_path: Path, sealed: Any):
    path = tmp_path / "share"
    blob = desk_of(2).answer({"do": "release", **sealed, "out": str(path)})
    reader = desk_of(1)
    request = {"do": "check-share", **sealed, "member": 2, "blob": blob, "path": str(path)}
    assert reader.answer(request) == {"refusal": ""}
    width, stored = DEALT.key.public.width, path.read_bytes()
    (partials,) = reader._partials.values()
    assert len(partials) > 1
    assert not any(encode_integer(value, width)[:16] in stored for value in partials)


def test_a_share_that_everybody_could_read_is_refused_and_its_author_named(tmp_path: Path, sealed: Any):
    aggregation, path = Aggregation(MANIFEST, DEALT.key), tmp_path / "share"
    rows = [
        aggregation.check_update(1, member, blob_from(blob), [Path(where).read_bytes()])
        for member, blob, where in sealed["sealed"]
    ]
    data, blob = aggregation.release(1, DEALT.shares[2], AGGREGATE, aggregation.sum(rows))
    path.write_bytes(data)
    fields = {"object": blob.object, "size": blob.size, "root": blob.root, "proof": blob.proof}
    request = {"do": "check-share", **sealed, "member": 2, "blob": fields, "path": str(path)}
    assert desk_of(1).answer(request)["refusal"].startswith("member 2: ")
