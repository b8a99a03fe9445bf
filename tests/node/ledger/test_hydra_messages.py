"""What hydra-nodes of all releases say, and what must never come out of it again."""

from __future__ import annotations

import json

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from node.ledger.client import messages as msg
from node.ledger.errors import MalformedMessage

HEAD = "820082582089ff4f3ff4a6052ec9d073"
TX = "08" * 32
KEY = "d0b8f28427aa7b640c636075905cbd6574a431aeaca5b3dbafd47cfe66c35043"
OUTPUT = {
    "address": "addr_test1vp5cxztpc6hep9ds7fjgmle3l225tk8ske3rmwr9adu0m6qchmx5z",
    "value": {"lovelace": 1},
}
SECRET = "9e018c699d771741dc68d7d877a67520b68eacc6a76725f8be4034d18cd285d6"

# One message of each kind, in the shape of the release named.
MESSAGES = [
    (
        "2.3",
        {"tag": "HeadIsOpen", "headId": HEAD, "parties": [{"vkey": KEY}]},
        msg.HeadIsOpen(HEAD, (bytes.fromhex(KEY),)),
    ),
    ("1.3", {"tag": "HeadIsOpen", "headId": HEAD, "utxo": {}}, msg.HeadIsOpen(HEAD, ())),
    (
        "2.3",
        {"tag": "HeadIsFinalized", "headId": HEAD, "finalizedUTxO": {f"{TX}#0": OUTPUT}},
        msg.HeadIsFinalized(HEAD, {f"{TX}#0": OUTPUT}),
    ),
    ("1.3", {"tag": "HeadIsFinalized", "headId": HEAD, "utxo": {}}, msg.HeadIsFinalized(HEAD, {})),
    (
        "2.3",
        {
            "tag": "HeadIsClosed",
            "headId": HEAD,
            "snapshotNumber": 3,
            "contestationDeadline": "2026-01-01T00:00:00Z",
        },
        msg.HeadIsClosed(HEAD, 3, "2026-01-01T00:00:00Z"),
    ),
    (
        "2.3",
        {
            "tag": "HeadIsContested",
            "headId": HEAD,
            "snapshotNumber": 4,
            "contestationDeadline": "2026-01-01T00:00:00Z",
        },
        msg.HeadIsClosed(HEAD, 4, "2026-01-01T00:00:00Z"),
    ),
    ("2.3", {"tag": "ReadyToFanout", "headId": HEAD}, msg.ReadyToFanout(HEAD)),
    ("2.3", {"tag": "TxValid", "headId": HEAD, "transactionId": TX}, msg.TxValid(HEAD, TX)),
    ("0.19", {"tag": "TxValid", "headId": HEAD, "transaction": {"txId": TX}}, msg.TxValid(HEAD, TX)),
    (
        "2.3",
        {
            "tag": "TxInvalid",
            "headId": HEAD,
            "utxo": {},
            "transaction": {"txId": TX},
            "validationError": {"reason": "no"},
        },
        msg.TxInvalid(HEAD, TX, "no"),
    ),
    (
        "2.3",
        {"tag": "PeerConnected", "peer": {"hostname": "h", "port": 5001}},
        msg.PeerChanged("h:5001", True),
    ),
    ("0.20", {"tag": "PeerDisconnected", "peer": "h-1"}, msg.PeerChanged("h-1", False)),
    ("2.3", {"tag": "NetworkDisconnected"}, msg.NetworkChanged(False)),
    ("1.3", {"tag": "NodeUnsynced", "chainSlot": 1, "chainTime": "", "drift": 3}, msg.SyncChanged(False)),
    ("1.3", {"tag": "SyncedStatusReport", "synced": "InSync"}, msg.Other("SyncedStatusReport")),
    (
        "2.3",
        {"tag": "CommitFinalized", "headId": HEAD, "depositTxId": TX},
        msg.DepositChanged("CommitFinalized", TX),
    ),
    (
        "0.20",
        {"tag": "CommitFinalized", "headId": HEAD, "theDeposit": TX},
        msg.DepositChanged("CommitFinalized", TX),
    ),
    ("2.3", {"tag": "SnapshotSideLoaded", "headId": HEAD, "snapshotNumber": 1}, msg.SnapshotSideLoaded(HEAD)),
    (
        "2.3",
        {"tag": "CommandFailed", "clientInput": {"tag": "Close"}, "state": {}},
        msg.CommandRefused("Close", "CommandFailed"),
    ),
    (
        "2.3",
        {
            "tag": "PostTxOnChainFailed",
            "postChainTx": {"tag": "CloseTx"},
            "postTxError": {"tag": "NoSeedInput"},
        },
        msg.CommandRefused("Close", "NoSeedInput: ", on_chain=True),
    ),
    (
        "2.3",
        {"tag": "InvalidInput", "reason": "bad", "input": "x"},
        msg.CommandRefused("", "InvalidInput: bad"),
    ),
    ("9.9", {"tag": "SomethingNew", "headId": HEAD}, msg.Other("SomethingNew")),
]


@pytest.mark.parametrize(("release", "item", "expected"), MESSAGES)
def test_each_kind_of_message_is_understood(release, item, expected):
    sequence, message = msg.parse(json.dumps({**item, "seq": 7, "timestamp": "2026-01-01T00:00:00Z"}))
    assert (sequence, message) == (7, expected), release


def _golden(folder):
    for path in sorted(folder.rglob("golden/ServerOutput/*.json")) + sorted(
        folder.rglob("golden/Greetings/*.json")
    ):
        for sample in json.loads(path.read_text())["samples"]:
            yield path, sample


def test_every_golden_output_of_every_release_is_understood(hydra_api):
    kinds = {}
    for path, sample in _golden(hydra_api):
        _, message = msg.parse(json.dumps(sample))
        kinds.setdefault(type(message).__name__, []).append(path)
    assert sum(map(len, kinds.values())) > 100
    assert {"Greetings", "SnapshotConfirmed", "TxInvalid", "HeadIsFinalized", "HeadIsOpen"} <= set(kinds)


def _greetings(**changes: object):
    environment = {
        "party": {"vkey": KEY},
        "otherParties": [],
        "participants": [],
        "contestationPeriod": 60,
        "signingKey": SECRET,
    }
    return {
        "tag": "Greetings",
        "me": {"vkey": KEY},
        "headStatus": "Open",
        "hydraHeadId": HEAD,
        "hydraNodeVersion": "1.3.0",
        "env": environment,
        **changes,
    }


def test_the_leaked_signing_key_of_old_nodes_goes_nowhere():
    with structlog.testing.capture_logs() as logs:
        _, message = msg.parse(json.dumps(_greetings()))
        assert message.parties == frozenset({bytes.fromhex(KEY)})
        with pytest.raises(MalformedMessage) as refusal:
            msg.parse(json.dumps(_greetings(headStatus=SECRET, me={})))
    assert SECRET not in repr(message)
    assert SECRET not in str(refusal.value)
    assert SECRET not in repr(logs)


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_junk_frames_are_refused(frame):
    with pytest.raises(MalformedMessage):
        msg.parse(frame)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(msg._READERS)),
    st.dictionaries(
        st.sampled_from(["headId", "snapshot", "signatures", "peer", "transaction", "env", "me", "seq"]),
        json_values,
    ),
)
def test_fields_of_the_wrong_type_are_refused(tag, fields):
    try:
        _, message = msg.parse(json.dumps({"tag": tag, **fields}))
    except MalformedMessage as error:
        assert tag in error.what or "message" in error.what  # noqa: PT017  both outcomes are fine
    else:
        assert type(message).__name__ in msg.__dict__


def test_deeply_nested_and_oversized_frames_are_refused():
    with pytest.raises(MalformedMessage):
        msg.parse('{"tag":' + "[" * 100_000)
    with pytest.raises(MalformedMessage, match="bytes"):
        msg.parse(b" " * (msg.MAX_MESSAGE + 1))
