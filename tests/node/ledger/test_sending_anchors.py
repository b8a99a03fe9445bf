"""One anchor in flight, sent again when that is right, never a second one for the same record."""

from __future__ import annotations

import dataclasses

import pytest

from node.ledger import anchor, transaction
from node.ledger.client import messages as msg
from node.ledger.client.life import Life
from node.ledger.client.stalls import diagnose
from node.ledger.client.submission import MAX_WAITING, Submission
from node.ledger.errors import AnchorTooLarge, OutOfFunds
from node.ledger.interface import LedgerState, StallReason
from node.ledger.transaction import TxIn, TxOut
from node.ledger.wallet import Wallet

HEAD = "ab" * 28
WALLET = Wallet(b"\x01" * 32)
TIP = anchor.Tip(TxIn(bytes(32), 0), TxOut(WALLET.address, 5_000_000), anchor.first_link(HEAD))


def _after(tx):
    return anchor.Tip(TxIn(tx.id, 0), tx.outputs[0], transaction.blake2b(tx.outputs[0].datum))


@pytest.fixture
def submission():
    submission = Submission(WALLET)
    submission.chain_at(TIP)
    return submission


def test_one_anchor_is_in_flight_at_a_time(submission):
    assert submission.offer(b"one")
    assert submission.offer(b"two")
    first = submission.next(0)
    assert submission.next(1) is None
    submission.confirmed(b"one")
    submission.chain_at(_after(first))
    second = submission.next(2)
    assert second.inputs == (TxIn(first.id, 0),)


def test_sending_again_is_the_same_transaction(submission):
    submission.offer(b"one")
    assert submission.next(0).raw == submission.again(5).raw
    assert (submission.flight.sent, submission.flight.attempts) == (5, 2)


def test_known_records_are_not_taken_on_again(submission):
    assert submission.offer(b"one")
    assert not submission.offer(b"one")
    submission.next(0)
    assert not submission.offer(b"one")
    submission.confirmed(b"one")
    assert not submission.offer(b"one")


def test_a_record_confirmed_from_an_earlier_run_is_taken_off(submission):
    submission.offer(b"one")
    submission.offer(b"two")
    submission.confirmed(b"two")
    submission.next(0)
    submission.confirmed(b"one")
    assert submission.next(1) is None
    assert submission.unsent == 0


def test_an_anchor_is_rebuilt_only_once_its_input_is_gone(submission):
    submission.offer(b"one")
    first = submission.next(0)
    submission.chain_at(TIP)
    assert submission.next(1) is None
    elsewhere = anchor.build(WALLET, TIP, b"written by another instance")
    submission.chain_at(_after(elsewhere))
    second = submission.next(2)
    assert second.id != first.id
    assert anchor.read(second, {WALLET.address: 1}).record == b"one"


def test_too_large_and_too_poor(submission):
    with pytest.raises(AnchorTooLarge):
        submission.offer(bytes(anchor.MAX_RECORD + 1))
    submission.chain_at(dataclasses.replace(TIP, output=TxOut(WALLET.address, 900_000)))
    submission.offer(b"one")
    with pytest.raises(OutOfFunds):
        submission.next(0)
    submission.chain_at(TIP)
    assert submission.next(1) is not None


def test_the_queue_has_an_end(submission):
    for n in range(MAX_WAITING):
        assert not submission.full
        submission.offer(b"%d" % n)
    assert submission.full


def _life(**fields: object):
    life = Life({WALLET.address: 1}, HEAD)
    life.state = LedgerState.OPEN
    for name, value in fields.items():
        setattr(life, name, value)
    return life


def _flight(submission, **fields: object):
    submission.offer(b"one")
    submission.next(0)
    for name, value in fields.items():
        setattr(submission.flight, name, value)
    return submission.flight


KEYS = (b"\x0a" * 32, b"\x0b" * 32)
SEEN = {"tag": "SeenSnapshot", "snapshot": {}, "signatories": {KEYS[0].hex(): "ff"}}


@pytest.mark.parametrize(
    ("life", "flight", "last_seen", "reason", "members"),
    [
        ({"in_sync": False}, {}, None, StallReason.NODE_OUT_OF_SYNC, ()),
        ({"network_connected": False}, {"valid": True}, None, StallReason.MINORITY, ()),
        ({"peers": {"b:1": False}}, {"valid": True}, None, StallReason.PARTY_OFFLINE, ()),
        ({}, {"valid": True}, SEEN, StallReason.PARTY_OFFLINE, (2,)),
        ({}, {"valid": True}, {"tag": "LastSeenSnapshot"}, StallReason.NOT_CONFIRMED, ()),
        ({}, {}, None, StallReason.NOT_ACKNOWLEDGED, ()),
        ({}, {"refusal": "BadInputsUTxO"}, None, StallReason.REFUSED, ()),
        ({}, {"valid": True}, ["nonsense"], StallReason.NOT_CONFIRMED, ()),
    ],
)
def test_stalls_have_names(submission, life, flight, last_seen, reason, members):
    stall = diagnose(_flight(submission, **flight), _life(**life), last_seen, KEYS)
    assert (stall.reason, stall.members) == (reason, members)


def test_a_refusal_after_validity_only_says_that_it_is_there(submission):
    flight = _flight(submission)
    tx_id = flight.transaction.id.hex()
    submission.valid(tx_id)
    submission.refused(tx_id, "BadInputsUTxO")
    assert not flight.refusal
    submission.pruned()
    submission.refused(tx_id, "BadInputsUTxO")
    assert flight.refusal
    submission.refused("00" * 32, "not ours")
    assert flight.refusal == "BadInputsUTxO"


def _greetings(**changes: object):
    fields = {
        "head_status": "Open",
        "head_id": HEAD,
        "version": "2.3.0",
        "me": bytes(32),
        "parties": frozenset(),
        "network_connected": True,
        "peers": {},
        "in_sync": True,
    }
    return msg.Greetings(**{**fields, **changes})


@pytest.mark.parametrize(
    ("greetings", "state"),
    [
        ({}, LedgerState.OPEN),
        ({"head_id": "cd" * 28}, LedgerState.FOREIGN),
        ({"head_status": "Idle", "head_id": None}, LedgerState.IDLE),
        ({"head_status": "Closed"}, LedgerState.CLOSED),
        ({"head_status": "FanoutPossible"}, LedgerState.FANOUT_POSSIBLE),
        ({"head_status": "FanningOut"}, LedgerState.FANNING_OUT),
        ({"head_status": "Initializing"}, LedgerState.OPENING),
    ],
)
def test_a_connection_starts_where_the_head_is(greetings, state):
    life = Life({}, HEAD)
    life.greet(_greetings(**greetings))
    assert life.state is state


def test_the_head_of_something_else_is_never_adopted():
    life = Life({}, None, lambda head_id: head_id == HEAD)
    assert life.greet(_greetings()) == []
    assert (life.state, life.head_id) == (LedgerState.FOREIGN, None)
    assert life.is_foreign(msg.TxValid(HEAD, "00"))
    assert not life.is_foreign(msg.TxValid("cd" * 28, "00"))


def test_messages_of_another_head_are_foreign():
    life = Life({}, HEAD)
    assert life.is_foreign(msg.TxValid("cd" * 28, "00"))
    assert not life.is_foreign(msg.TxValid(HEAD, "00"))
    assert not life.is_foreign(msg.NetworkChanged(True))
