"""What thresholds leak, in words: nothing that somebody can learn is called safe."""

import pytest
from support.manifests import manifest

from protocol.errors import OperatorFault
from protocol.thresholds import Thresholds

SIZES = range(2, 33)


@pytest.mark.parametrize("members", SIZES)
def test_the_defaults_leak_nothing_and_only_two_members_learn_more_than_sums(members):
    default = Thresholds.default(members)
    assert default.leaks(members) == []
    assert default.tolerated(members) == default.colluders
    assert bool(default.learnt(members)) == (members == 2)


def test_two_members_are_told_without_having_to_acknowledge():
    default = Thresholds.default(2)
    default.check(2)
    assert default.learnt(2) == ["two members: each learns the other's update, as the sum less its own"]
    assert "one alone may learn" in default.in_words(2)


def test_four_colluders_are_not_said_to_learn_nothing_where_two_shares_decrypt():
    leaky = Thresholds(colluders=4, shares=2, quorum=2)
    with pytest.raises(OperatorFault, match="leak"):
        leaky.check(5)
    leaky.check(5, acknowledged=True)
    told = " ".join(leaky.leaks(5))
    assert "any 2 of the 5 members can decrypt every update" in told
    assert "4 colluders of 5 can break key generation, which tolerates 2" in told
    assert "1 of 2 contributors can subtract" in told
    assert leaky.tolerated(5) == 0
    assert leaky.in_words(5) == (
        "2 contributions seal, any 2 of 5 members decrypt, one alone may learn others' updates"
    )


def test_a_sum_of_two_leaks_among_three_whatever_is_claimed_of_colluders():
    claimed = Thresholds(colluders=0, shares=2, quorum=2)
    assert claimed.leaks(3) == [
        "1 of 2 contributors can subtract their own updates from the sum and read the one that is left"
    ]


def test_what_is_within_the_inequalities_but_below_the_defaults_needs_a_hand_and_no_acknowledgement():
    weak = Thresholds(colluders=1, shares=2, quorum=3)
    weak.check(10)
    assert weak.leaks(10) == []
    assert weak.learnt(10) == ["2 members together may learn others' updates; by default it takes 5 of 10"]


def test_an_insecure_key_is_named_among_what_is_learnt():
    assert "insecure-test-512" in manifest(3).learnt[0]
    assert manifest(3, key_profile="fast", allow_insecure_key=False).learnt == []
