"""Accusations: true ones name the accused, everything else its author."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.jointkey.errors import Cheater
from protocol.crypto.jointkey.party import Received, Shape, part_digest, parts_digest
from protocol.crypto.jointkey.verdict import Accusation, Exchange, settle

RIGHT, WRONG = b"right", b"wrong"
SHAPE = Shape.exactly(0, 3, len(RIGHT))


def exchange(me: int, wrong: set[tuple[int, int]]) -> Exchange:
    """What `me` received when dealers sent wrong second parts to the recipients in `wrong`."""

    def parts(dealer: int, recipient: int) -> list[bytes]:
        return [RIGHT, WRONG if (dealer, recipient) in wrong else RIGHT, RIGHT]

    members = (1, 2, 3)
    digests = {
        dealer: {to: parts_digest([part_digest(part) for part in parts(dealer, to)]) for to in members}
        for dealer in members
    }
    return Exchange("thing", SHAPE, Received({}, {dealer: parts(dealer, me) for dealer in members}, digests))


def is_right(_exchange: int, _dealer: int, _recipient: int, _position: int, part: bytes) -> bool:
    return part == RIGHT


def statement(me: int, exchanges: list[Exchange], accusation: Accusation | None) -> bytes:
    """What `me` broadcasts."""
    return next(settle(me, exchanges, accusation, is_right)).body


def verdict(exchanges: list[Exchange], bodies: dict[int, bytes]) -> Cheater | None:
    """What a member concludes from these broadcasts."""
    steps = settle(1, exchanges, None, is_right)
    next(steps)
    try:
        steps.send(Received(bodies, {}, {}))
    except StopIteration:
        return None
    except Cheater as cheater:
        return cheater
    raise AssertionError("settle takes one round")


def test_without_accusations_all_is_well():
    assert verdict([exchange(1, set())], {1: b"", 2: b"", 3: b""}) is None


def test_evidence_names_the_dealer():
    wrong = {(2, 3)}
    accusation = statement(3, [exchange(3, wrong)], Accusation(2, 0, 1))
    assert verdict([exchange(1, wrong)], {1: b"", 2: b"", 3: accusation}).member == 2


@pytest.mark.parametrize("position", [0, 1, 2])
def test_accusing_the_honest_names_the_accuser(position):
    accusation = statement(3, [exchange(3, set())], Accusation(2, 0, position))
    assert verdict([exchange(1, set())], {1: b"", 2: b"", 3: accusation}).member == 3


def test_evidence_that_the_dealer_never_committed_to_names_the_accuser():
    forged = statement(3, [exchange(3, {(2, 3)})], Accusation(2, 0, 1))
    assert verdict([exchange(1, set())], {1: b"", 2: b"", 3: forged}).member == 3


def test_the_earliest_exchange_is_judged_first():
    sieve, product = {(2, 3)}, {(3, 1)}
    early = statement(3, [exchange(3, sieve), exchange(3, product)], Accusation(2, 0, 1))
    late = statement(1, [exchange(1, sieve), exchange(1, product)], Accusation(3, 1, 1))
    seen = [exchange(1, sieve), exchange(1, product)]
    assert verdict(seen, {1: late, 2: b"", 3: early}).member == 2
    assert verdict(seen, {1: late, 2: b"", 3: b""}).member == 3


@given(st.binary(min_size=1, max_size=6 + 3 * 32 + 5))
def test_anything_else_names_its_author(body):
    assert verdict([exchange(1, set())], {1: b"", 2: body, 3: b""}).member == 2


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_evidence_about_nobody_and_nothing_names_its_author(accused, number, position):
    true = statement(3, [exchange(3, {(2, 3)})], Accusation(2, 0, 1))
    head = bytes([accused, number]) + position.to_bytes(4, "big")
    if head == true[:6]:
        return
    assert verdict([exchange(1, {(2, 3)})], {1: b"", 2: b"", 3: head + true[6:]}).member == 3
