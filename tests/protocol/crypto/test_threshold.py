"""Threshold decryption: any T of N, all of N, rotating quorums, and what is refused."""

import itertools
import secrets
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dealer import deal

from protocol.crypto.integers import MalformedInteger, WrongCount
from protocol.crypto.paillier import Encryptor, add
from protocol.crypto.sigma import ProofRejected, prove, verify
from protocol.crypto.sigma.equality import decryption_prover, honest_decryption
from protocol.crypto.threshold import (
    BadIndex,
    DecryptionFailed,
    NotEnoughShares,
    Path,
    combine,
    partially_decrypt,
    rotating_quorums,
)
from protocol.crypto.transcript import Context
from protocol.errors import OwnFault

CONTEXT = Context(job=b"j" * 32, round=3, sender=2, roster=b"r" * 32, key=b"k" * 32)
DEALT = deal(5, 3)
KEY = DEALT.key
MESSAGES = [0, 1, int(KEY.public.n) - 1, 2**300 + 17]
AGGREGATE = add(
    KEY.public,
    [Encryptor(KEY.public).encrypt(MESSAGES).ciphertexts, Encryptor(KEY.public).encrypt([0] * 4).ciphertexts],
)


def partials(path, members=range(1, 6), aggregate=AGGREGATE):
    return {i: partially_decrypt(KEY, DEALT.shares[i], aggregate, path) for i in members}


@pytest.mark.parametrize("quorum", list(itertools.combinations(range(1, 6), 3)))
def test_any_three_of_five_decrypt(quorum):
    assert combine(KEY, partials(Path.THRESHOLD, quorum)) == MESSAGES


def test_more_than_enough_shares_and_all_shares_decrypt():
    assert combine(KEY, partials(Path.THRESHOLD)) == MESSAGES
    assert combine(KEY, partials(Path.ALL), Path.ALL) == MESSAGES


@pytest.mark.parametrize(("members", "threshold"), [(2, 2), (3, 2), (4, 4), (8, 5), (32, 17)])
def test_other_cohorts(members, threshold):
    dealt = deal(members, threshold)
    ciphertexts = Encryptor(dealt.key.public).encrypt([42, 43]).ciphertexts
    quorum = range(members - threshold + 1, members + 1)
    shares = {i: partially_decrypt(dealt.key, dealt.shares[i], ciphertexts) for i in quorum}
    assert combine(dealt.key, shares) == [42, 43]


@given(st.integers(1, 40), st.integers(2, 8), st.integers(0, 8))
@settings(max_examples=60)
def test_rotating_quorums_cover_everything_and_share_the_work(count, threshold, spare):
    alive = [2 * i + 1 for i in range(threshold + spare)]
    plan = rotating_quorums(count, alive, threshold)
    assert [c for part in plan for c in range(part.start, part.stop)] == list(range(count))
    assert all(len(set(part.quorum)) == threshold and set(part.quorum) <= set(alive) for part in plan)
    work = {m: sum(part.stop - part.start for part in plan if m in part.quorum) for m in alive}
    assert sum(work.values()) == threshold * count
    assert max(work.values()) - min(work.values()) <= threshold


def test_rotating_quorums_decrypt():
    plan = rotating_quorums(len(AGGREGATE), [1, 2, 4, 5], 3)
    decrypted = []
    for part in plan:
        decrypted += combine(KEY, partials(Path.THRESHOLD, part.quorum, AGGREGATE[part.start : part.stop]))
    assert decrypted == MESSAGES
    with pytest.raises(NotEnoughShares):
        rotating_quorums(4, [1, 2], 3)


def test_too_few_or_strange_members_are_refused():
    everyone = partials(Path.THRESHOLD)
    with pytest.raises(NotEnoughShares):
        combine(KEY, {i: everyone[i] for i in (1, 2)})
    with pytest.raises(NotEnoughShares):
        combine(KEY, {i: everyone[i] for i in (1, 2, 3, 4)}, Path.ALL)
    for index in (0, 6, -1):
        with pytest.raises(BadIndex):
            combine(KEY, {1: everyone[1], 2: everyone[2], index: everyone[3]})
    with pytest.raises(WrongCount):
        combine(KEY, {1: everyone[1], 2: everyone[2], 3: everyone[3][:-1]})
    with pytest.raises(OwnFault):
        deal(3, 1)


def test_a_wrong_share_is_noticed_when_combined():
    shares = partials(Path.THRESHOLD, (1, 2, 3))
    shares[2] = [c * 3 % KEY.public.n**2 for c in shares[2]]
    with pytest.raises(DecryptionFailed):
        combine(KEY, shares)


@pytest.mark.parametrize("path", list(Path))
def test_honest_partial_decryptions_are_proved(path):
    mine = partially_decrypt(KEY, DEALT.shares[2], AGGREGATE, path)
    statement = honest_decryption(KEY, 2, AGGREGATE, mine, path)
    proof = prove(statement, decryption_prover(statement, DEALT.shares[2], path), CONTEXT)
    verify(statement, proof, CONTEXT)
    assert len(proof) < 4096


NN = KEY.public.n**2


def forged(change):
    mine = partially_decrypt(KEY, DEALT.shares[2], AGGREGATE)
    changed = [min(x, NN - x) for x in change(list(mine))]
    statement = honest_decryption(KEY, 2, AGGREGATE, changed, Path.THRESHOLD)
    return statement, prove(statement, decryption_prover(statement, DEALT.shares[2], Path.THRESHOLD), CONTEXT)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: [m[0] * (1 + KEY.public.n) % NN, *m[1:]],
        lambda m: [*m[:-1], m[-1] * 4 % NN],
        lambda m: [m[1], m[0], *m[2:]],
        lambda m: [pow(int(c), 2, int(NN)) for c in m],
        lambda m: partially_decrypt(KEY, DEALT.shares[3], AGGREGATE),
    ],
    ids=["plaintext shifted", "scaled", "swapped", "squared", "another's share"],
)
def test_forged_shares_are_refused(change):
    statement, proof = forged(change)
    with pytest.raises(ProofRejected):
        verify(statement, proof, CONTEXT)


@pytest.mark.parametrize("path", list(Path))
def test_a_share_times_minus_one_is_refused(path):
    mine = partially_decrypt(KEY, DEALT.shares[2], AGGREGATE, path)
    with pytest.raises(MalformedInteger, match="partial decryption 0 is the negative"):
        honest_decryption(KEY, 2, AGGREGATE, [NN - mine[0], *mine[1:]], path)


@pytest.mark.parametrize("path", list(Path))
def test_the_sign_of_a_share_does_not_reach_the_plaintext(path):
    signs = [-1, *(secrets.choice((1, -1)) for _ in AGGREGATE[1:])]
    mine = partially_decrypt(KEY, DEALT.shares[2], AGGREGATE, path)
    turned = [sign * c % NN for sign, c in zip(signs, mine, strict=True)]
    assert combine(KEY, {**partials(path), 2: turned}, path) == MESSAGES


@pytest.mark.parametrize("bad", [0, int(NN), int(DEALT.p)])
def test_partials_that_are_no_units_are_refused(bad):
    statement, proof = forged(lambda m: m)
    broken = replace(statement, images=[bad, *statement.images[1:]])
    with pytest.raises(MalformedInteger):
        verify(broken, proof, CONTEXT)


def test_secrets_do_not_show():
    share = DEALT.shares[1]
    assert str(share.shamir) not in repr(share)
    assert str(share.additive) not in repr(share)
