"""A member's work in a round, with the real crypto desk behind it: what is retried, refused, discarded."""

import hashlib

import numpy as np
import pytest
import trio
from gmpy2 import mpz
from support.dealer import deal
from support.forger import forge_update, poison_update
from support.manifests import job_secret, manifest

from node.crypto.desk import Desk
from node.crypto.service import CryptoFailed
from node.engine import rounds
from node.learning.task import Update
from node.weights import WeightStore, encode_weights
from node.workers.wire import error_from, error_to
from protocol import effects
from protocol.aggregation import Aggregation, largest_blob
from protocol.encoding.header import Kind
from protocol.errors import StarlingError
from protocol.inputs import CommitChecked, Opened
from protocol.keyring import StoredShare
from protocol.manifest import Encoding, TensorSpec
from protocol.records import Blob
from protocol.shares import SealedShares, largest_share

TENSORS = (TensorSpec("w", (5, 7), 1.0), TensorSpec("b", (7,), 0.5))
UPDATE = {"w": np.full((5, 7), 0.25, "f4"), "b": np.full(7, 0.1, "f4")}
DEALT = deal(3, 2)
AGGREGATE = hashlib.sha256(b"the sealed sum").digest()
PUBLIC, PRIVATE = (1, 1, 1), ()
EVERYONE = (1, 2, 3)


class Crypto:
    """The desk as the node sees it: errors cross the pipe, and the worker may be lost first."""

    def __init__(self, desk, losses=0) -> None:
        self.desk, self.losses, self.asked = desk, losses, []

    async def ask(self, request):
        self.asked.append(request["do"])
        if self.losses:
            self.losses -= 1
            raise CryptoFailed("the crypto worker was lost twice")
        try:
            return self.desk.answer(request)
        except StarlingError as error:
            raise error_from(error_to(error)) from None


class Objects:
    """Everybody's objects, whole, from somewhere else: they come into the folder when they are fetched."""

    def __init__(self, folder) -> None:
        self.folder, self.elsewhere, self.fetched = folder, {}, 0

    def keep(self, data, blob):
        self.elsewhere[blob.object] = data
        return blob

    def path(self, digest):
        return self.folder / digest.hex()

    async def fetch(self, number, owner, blob):
        self.fetched += 1
        path = self.path(blob.object)
        if not path.exists():
            path.write_bytes(self.elsewhere[blob.object])
        return path

    async def publish(self, number, blob):
        self.keep(self.path(blob.object).read_bytes(), blob)


class Cohort:
    """Three members' updates, the third of them made by `poison`, and member 1's work on them."""

    def __init__(
        self, folder, weights=PUBLIC, poison=lambda aggregation, plaintexts: plaintexts, losses=0
    ) -> None:
        largest = 0 if weights else 300
        self.manifest = manifest(3, encoding=Encoding(16, TENSORS, weights, largest))
        self.aggregation = Aggregation(self.manifest, DEALT.key)
        self.objects, self.given = Objects(folder), []
        self.store = WeightStore(folder, TENSORS)
        self.model = self.store.put(encode_weights(TENSORS, {n: np.zeros_like(u) for n, u in UPDATE.items()}))
        weight = 1 if weights else 100
        made = {member: self.aggregation.contribute(1, member, UPDATE, weight) for member in (1, 2)}
        plaintexts = self.aggregation.codec.encode(UPDATE, weight)
        made[3] = poison_update(self.aggregation, 3, poison(self.aggregation, plaintexts))
        self.blobs = {member: self.objects.keep(data, blob) for member, (data, blob) in made.items()}
        self.crypto = Crypto(self.desk(1), losses)
        self.work = rounds.RoundWork(
            self.manifest, 1, self.objects, self.store, None, self.crypto, b"", self.given.append, None
        )

    def desk(self, member):
        desk = Desk(self.manifest, member, job_secret(member), lambda *progress: None)
        desk.answer({"do": "use-key", "secret": StoredShare.of(DEALT.key, DEALT.shares[member]).to_bytes()})
        return desk

    def share(self, member, total):
        return self.objects.keep(*self.sealed(member, total))

    def sealed(self, member, total, ranged=False):
        """What a member releases, as it is stored."""
        data, blob = self.aggregation.release(1, DEALT.shares[member], AGGREGATE, total, ranged)
        sealing = SealedShares(self.manifest, DEALT.key.digest, member, job_secret(member))
        return sealing.seal(1, data, blob)

    async def open(self):
        """Sum, and open with the shares of members 1 and 2; the input that comes of it."""
        await self.work.sum_sealed(effects.SumSealed(1, tuple(self.blobs.items())))
        checked = (
            self.aggregation.check_update(1, member, blob, [self.objects.elsewhere[blob.object]])
            for member, blob in self.blobs.items()
        )
        total = self.aggregation.sum(list(checked))
        shares = tuple((member, self.share(member, total)) for member in (1, 2))
        await self.work.open_sum(effects.OpenSum(1, AGGREGATE, shares, EVERYONE, self.model))
        return self.given[-1]


class Learner:
    """Trains to the same update whatever the model."""

    async def train(self, assignment, weights):
        return Update(tuple(UPDATE[spec.name] for spec in TENSORS), 100, {})


def ranged_round(cohort, third=None):
    """Member 1's work in a whole ranged round; inputs that come of it. `third` is member 3's update."""
    made = {m: cohort.aggregation.contribute(1, m, UPDATE, 100, ranged=True) for m in (2, 3)}
    made[3] = third or made[3]
    cohort.blobs = {member: cohort.objects.keep(data, blob) for member, (data, blob) in made.items()}
    cohort.work._learner, cohort.work._tell = Learner(), lambda event, fields: None

    async def main():
        work = cohort.work
        await work.contribute(effects.Contribute(1, cohort.model, ranged=True))
        cohort.blobs[1] = cohort.given[-1].blob
        for member in (2, 3):
            await work.check_commit(effects.CheckCommit(1, member, cohort.blobs[member], ranged=True))
            if cohort.given[-1].refusal:
                return
        cohort.crypto.desk = cohort.desk(1)  # a new worker knows nothing of what the last one checked
        sealed = tuple(sorted(cohort.blobs.items()))
        await work.sum_sealed(effects.SumSealed(1, sealed, ranged=True))
        await work.release_share(effects.ReleaseShare(1, AGGREGATE))
        own = cohort.given[-1].blob
        data = [cohort.objects.path(blob.object).read_bytes() for _, blob in sealed]
        check = cohort.aggregation.check_update
        rows = [check(1, m, blob, [each], ranged=True) for (m, blob), each in zip(sealed, data, strict=True)]
        total = cohort.aggregation.sum(rows)
        other = cohort.sealed(2, total, ranged=True)
        shares = ((1, own), (2, cohort.objects.keep(*other)))
        await work.check_share(effects.CheckShare(1, 2, AGGREGATE, shares[1][1]))
        await work.open_sum(effects.OpenSum(1, AGGREGATE, shares, EVERYONE, cohort.model))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return cohort.given


def at_slot(index, change):
    """Adds `change` to the digit at `index` of an update."""

    def poison(aggregation, plaintexts):
        plaintext, slot = aggregation.codec.packing.place(index)
        changed = list(plaintexts)
        changed[plaintext] += mpz(change) << (slot * aggregation.codec.packing.width)
        return changed

    return poison


def in_weight(change):
    return lambda aggregation, plaintexts: at_slot(aggregation.codec.layout.parameters, change)(
        aggregation, plaintexts
    )


def last_slot(change):
    return lambda aggregation, plaintexts: at_slot(aggregation.codec.packing.slots - 1, change)(
        aggregation, plaintexts
    )


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(rounds, "RETRY_SECONDS", 0)


@pytest.mark.parametrize(
    ("weights", "poison"),
    [
        pytest.param(PUBLIC, at_slot(0, 1 << 17), id="a digit too large"),
        pytest.param(PUBLIC, at_slot(3, -(1 << 17)), id="a digit that borrows from its neighbour"),
        pytest.param(PUBLIC, at_slot(0, -(1 << 508)), id="a negative plaintext, modulo n"),
        pytest.param(PUBLIC, last_slot(1 << 18), id="a leftover beyond the packing"),
        pytest.param(PUBLIC, at_slot(50, 1), id="a digit where no parameter is"),
        pytest.param(PRIVATE, in_weight(60_000 - 100), id="a weight too large"),
        pytest.param(PRIVATE, in_weight(-100 - 200 - 1), id="weights that sum to less than none"),
        pytest.param(PRIVATE, in_weight(-100 - 200 + 1), id="weights that sum to less than their number"),
        pytest.param(PRIVATE, at_slot(0, 1 << 15), id="a digit too large for the weights"),
    ],
)
def test_a_sum_that_cannot_be_honest_is_discarded_at_once(tmp_path, autojump_clock, weights, poison):
    cohort = Cohort(tmp_path, weights, poison)
    opened = trio.run(cohort.open, clock=autojump_clock)
    assert isinstance(opened, Opened)
    assert opened.discarded
    assert opened.model == cohort.model
    assert cohort.crypto.asked == ["sum", "open"]


@pytest.mark.parametrize("weights", [PUBLIC, PRIVATE])
def test_an_honest_sum_is_applied(tmp_path, autojump_clock, weights):
    cohort = Cohort(tmp_path, weights)
    opened = trio.run(cohort.open, clock=autojump_clock)
    assert opened.discarded == ""
    assert opened.model != cohort.model
    np.testing.assert_allclose(cohort.store.get(opened.model)["w"], 0.25, atol=2e-4)


def test_what_would_fail_again_is_not_asked_again(tmp_path, autojump_clock):
    """A share of another sum cannot be combined, however often one tries; the deadline decides."""
    cohort = Cohort(tmp_path)

    async def main():
        await cohort.work.sum_sealed(effects.SumSealed(1, tuple(cohort.blobs.items())))
        other = cohort.aggregation.sum([cohort.aggregation._encryptor.encrypt([1, 2, 3][:2]).ciphertexts])
        shares = tuple((member, cohort.share(member, other)) for member in (1, 2))
        with trio.move_on_after(10_000) as scope:
            await cohort.work.open_sum(effects.OpenSum(1, AGGREGATE, shares, EVERYONE, cohort.model))
        return scope.cancelled_caught

    assert trio.run(main, clock=autojump_clock)
    assert cohort.crypto.asked == ["sum", "open"]


def check(cohort, member):
    effect = effects.CheckCommit(1, member, cohort.blobs[member])
    trio.run(cohort.work.check_commit, effect, clock=trio.testing.MockClock(autojump_threshold=0))
    return cohort.given


def test_a_false_update_is_refused_for_its_very_bytes(tmp_path):
    cohort = Cohort(tmp_path)
    data = bytearray(cohort.objects.elsewhere[cohort.blobs[3].object])
    data[-1] ^= 1
    blob = cohort.blobs[3]
    false = Blob(hashlib.sha256(data).digest(), blob.size, blob.root, blob.proof)
    cohort.blobs[3] = cohort.objects.keep(bytes(data), false)
    (checked,) = check(cohort, 3)
    assert isinstance(checked, CommitChecked)
    assert checked.refusal
    assert cohort.crypto.asked == ["check-update"]


@pytest.mark.parametrize("damaged", [b"", b"x" * 1000])
def test_a_file_damaged_on_this_disk_is_nobody_elses_fault(tmp_path, damaged):
    cohort = Cohort(tmp_path)
    cohort.objects.path(cohort.blobs[2].object).write_bytes(damaged)
    assert check(cohort, 2) == [CommitChecked(1, 2, "")]
    assert cohort.crypto.asked == ["check-update"] * 2


def test_a_damaged_update_of_a_sealed_round_is_fetched_again(tmp_path, autojump_clock):
    cohort = Cohort(tmp_path)
    cohort.objects.path(cohort.blobs[2].object).write_bytes(b"x")
    assert trio.run(cohort.open, clock=autojump_clock).discarded == ""
    assert cohort.crypto.asked == ["sum", "sum", "open"]


def test_a_lost_worker_refuses_nobody(tmp_path):
    cohort = Cohort(tmp_path, losses=2)
    assert check(cohort, 2) == [CommitChecked(1, 2, "")]
    assert cohort.crypto.asked == ["check-update"] * 3


def test_a_ranged_round_is_checked_summed_and_opened_as_one(tmp_path):
    cohort = Cohort(tmp_path, PRIVATE)
    *_, opened = ranged_round(cohort)
    assert opened.discarded == ""
    np.testing.assert_allclose(cohort.store.get(opened.model)["w"], 0.25, atol=2e-4)


@pytest.mark.parametrize(("digit", "weight"), [(1 << 17, 100), (0, 60_000)])
def test_who_would_spoil_a_ranged_round_is_refused_by_name_before_it_is_summed(tmp_path, digit, weight):
    cohort = Cohort(tmp_path, PRIVATE)
    shape = cohort.aggregation.ranged_codec.shape(3)
    digits = [[digit, *[0] * (shape.slots - 1)], *[[0] * shape.slots] * (shape.count - 1)]
    *_, checked = ranged_round(cohort, forge_update(cohort.aggregation, 3, digits, weight))
    assert checked.member == 3
    assert "out of range" in checked.refusal
    assert "sum" not in cohort.crypto.asked


def test_an_update_without_its_range_proof_is_refused_in_a_ranged_round(tmp_path):
    cohort = Cohort(tmp_path, PRIVATE)
    *_, checked = ranged_round(cohort, cohort.aggregation.contribute(1, 3, UPDATE, 100))
    assert "kind" in checked.refusal


@pytest.mark.parametrize("ranged", [False, True])
def test_what_announces_more_than_an_update_has_is_refused_unfetched(tmp_path, ranged):
    cohort = Cohort(tmp_path, PRIVATE)
    _, blob = cohort.aggregation.contribute(1, 2, UPDATE, 100, ranged=ranged)
    most = largest_blob(cohort.manifest, Kind.RANGED if ranged else Kind.UPDATE, ranged)
    assert blob.size <= most <= blob.size + 5000
    for size in (most + 1, 2**31):
        too_large = Blob(blob.object, size, blob.root, blob.proof)
        effect = effects.CheckCommit(1, 2, too_large, ranged)
        trio.run(cohort.work.check_commit, effect)
        assert "larger" in cohort.given.pop().refusal
    assert cohort.objects.fetched == 0
    assert cohort.crypto.asked == []


def test_what_announces_more_than_a_share_has_is_refused_unfetched(tmp_path, autojump_clock):
    cohort = Cohort(tmp_path)

    async def main():
        await cohort.work.sum_sealed(effects.SumSealed(1, tuple(cohort.blobs.items())))
        before = cohort.objects.fetched
        total = [DEALT.key.public.generator] * cohort.aggregation.codec.plaintexts
        _, honest = cohort.sealed(2, total)
        most = largest_share(cohort.manifest, False)
        assert honest.size <= most <= honest.size + 5000
        share = Blob(AGGREGATE, most + 1, AGGREGATE, AGGREGATE)
        await cohort.work.check_share(effects.CheckShare(1, 2, AGGREGATE, share))
        return cohort.objects.fetched - before

    assert trio.run(main, clock=autojump_clock) == 0
    assert "larger" in cohort.given[-1].refusal
