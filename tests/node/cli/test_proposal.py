"""From a job file to a manifest."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from node.learning.causal.recipe import read_recipe
from node.learning.tensors import SharedTensor
from node.peers import Card
from node.proposal import build_manifest, parse_spec
from protocol.crypto.sigma.schnorr import JobSecret
from protocol.errors import OperatorFault
from protocol.manifest import Deadlines, Manifest
from protocol.thresholds import Thresholds

SHARED = (SharedTensor("conv.weight", (8, 1, 3, 3), 0.5), SharedTensor("head.bias", (10,)))
MODEL = hashlib.sha256(b"initial").digest()
SPEC: dict[str, Any] = {"name": "digits", "task": "mnist", "rounds": 5}


def card(name: str) -> Card:
    return Card(
        name=name,
        peer=f"12D3KooW{name}",
        payment=hashlib.blake2b(name.encode(), digest_size=28).hexdigest(),
        job_key=JobSecret(int.from_bytes(name.encode(), "big")).public().hex(),
        bucket=name,
    )


CARDS = [card(name) for name in ("anna", "berta", "clara")]


def build(cards: list[Card] = CARDS, **changes: Any) -> Manifest:
    return build_manifest(SPEC | changes, cards, SHARED, MODEL, {"seed": 1, "model": "cnn3"})


def test_defaults_are_safe_and_the_manifest_is_what_members_can_read():
    manifest = build()
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert [member.name for member in manifest.roster.members] == ["anna", "berta", "clara"]
    assert manifest.thresholds == Thresholds.default(3)
    assert (manifest.key_profile, manifest.encoding.bits) == ("fast", 16)
    assert manifest.encoding.weights == (1, 1, 1)
    assert [spec.clip for spec in manifest.encoding.tensors] == [0.5, 1.0]
    assert (manifest.rounds, manifest.round_limit) == (5, 14)
    assert manifest.model == MODEL
    assert list(manifest.parameters) == ["model", "seed"]


def test_every_deadline_of_the_job_file_reaches_the_manifest():
    chosen = {"key_seconds": 1, "contribute_seconds": 2, "attest_seconds": 3, "open_seconds": 4}
    assert build(deadlines=chosen).deadlines == Deadlines(key=1, contribute=2, attest=3, open=4)


def test_the_example_is_a_job():
    example = tomllib.loads((Path(__file__).parents[3] / "config" / "job.example.toml").read_text())
    manifest = build_manifest(example, [card(name) for name in example["members"]], SHARED, MODEL, {})
    assert (manifest.name, manifest.roster.size) == ("digits", 3)


def test_two_equal_proposals_are_two_jobs():
    assert build().job != build().job


def test_choices_of_the_job_file_win():
    manifest = build(
        round_limit=6,
        key={"profile": "standard", "attempts": 1},
        updates={
            "bits": 20,
            "weights": {"clara": 3, "anna": 1, "berta": 2},
            "clip": 0.25,
            "clips": {"head.bias": 2.0},
        },
        deadlines={"contribute_seconds": 60},
    )
    assert (manifest.round_limit, manifest.key_profile, manifest.key_attempts) == (6, "standard", 1)
    assert (manifest.encoding.bits, manifest.encoding.weights) == (20, (1, 2, 3))
    assert [spec.clip for spec in manifest.encoding.tensors] == [0.25, 2.0]
    assert (manifest.deadlines.contribute, manifest.deadlines.attest) == (60, 600)


def test_weights_by_samples_stay_private():
    encoding = build(updates={"weights": "samples", "largest_weight": 20_000}).encoding
    assert (encoding.weights, encoding.largest_weight) == ((), 20_000)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rounds": 0}, "rounds"),
        ({"round_limit": 3}, "round_limit"),
        ({"name": ""}, "name"),
        ({"surprise": 1}, "surprise"),
        ({"privacy": {"shares": 1}}, "shares"),
        ({"privacy": {"quorum": 4}}, r"privacy\.quorum"),
        ({"privacy": {"quorum": 2}}, "leak"),
        ({"key": {"profile": "fastest"}}, "fastest"),
        ({"key": {"profile": "insecure-test-512"}}, "allow insecure"),
        ({"updates": {"bits": 30}}, r"updates\.bits"),
        ({"updates": {"clip": 0.0}}, r"updates\.clip"),
        ({"updates": {"clip": 1e300}}, "clip"),
        ({"updates": {"clips": {"nose.bias": 1.0}}}, "nose.bias"),
        ({"updates": {"weights": "fair"}}, r"updates\.weights"),
        ({"updates": {"weights": {"anna": 1, "berta": 2}}}, "clara"),
        ({"updates": {"weights": "samples"}}, "largest_weight"),
        ({"updates": {"largest_weight": 9}}, "largest_weight"),
        ({"deadlines": {"attest_seconds": 0}}, r"deadlines\.attest_seconds"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_with_a_remedy(changes: dict[str, Any], complaint: str):
    with pytest.raises(OperatorFault, match=complaint) as refused:
        build(**changes)
    assert refused.value.remedy


def test_leaks_can_be_acknowledged():
    manifest = build(privacy={"quorum": 2, "acknowledge_leaks": True})
    assert manifest.thresholds.quorum == 2


def test_a_job_alone_is_none():
    with pytest.raises(OperatorFault, match="peers add"):
        build(CARDS[:1])


def test_two_members_with_one_identity_are_refused():
    with pytest.raises(OperatorFault, match="same name"):
        build([CARDS[0], CARDS[0], CARDS[1]])


def test_the_example_of_a_language_model_is_a_job_with_the_defaults_it_claims():
    example = tomllib.loads((Path(__file__).parents[3] / "config" / "job.language.example.toml").read_text())
    recipe, in_force = read_recipe(parse_spec(example).parameters)
    assert (recipe, in_force.keys()) == (read_recipe({})[0], {"base", *example["parameters"]})
    manifest = build_manifest(example, [card(name) for name in example["members"]], SHARED, MODEL, in_force)
    assert manifest.task == "causal-lm"
