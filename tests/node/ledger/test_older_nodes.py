"""Nodes before 2.0 open a head only when every party has committed to it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import trio

from node.ledger import transaction, utxo_json
from node.ledger.client.deposit import EMULATED_SCRIPT
from node.ledger.client.ledger import HydraLedger
from node.ledger.client.node import HydraNode
from node.ledger.errors import NodeUnavailable
from node.ledger.interface import HeadOpen, LedgerState

PATIENCE = 120  # seconds until a test that waits has failed; no measure of speed


class Initialising(HydraNode):
    """A node of release 1.3 before a head that this member has not committed to; a true one afterwards.

    The true node's head is open all the while: the other members' commits were there first.
    """

    def __init__(self, url, draft, *, refusals: int = 0) -> None:
        super().__init__(url)
        self._draft = utxo_json.envelope(draft)
        self._refusals = refusals
        self.submitted = trio.Event()
        self.asked: list[object] = []

    @asynccontextmanager
    async def connect(self, *, history, utxo=True):
        async with super().connect(history=history, utxo=utxo) as channel:
            yield channel if self.submitted.is_set() else _Before(self, channel)

    async def request(self, method, path, body=None):
        if self.submitted.is_set():
            return await super().request(method, path, body)
        if path == "/commit":
            self.asked.append(body)
            if self._refusals:
                self._refusals -= 1
                return 400, "FailedToDraftTxNotInitializing"
            return 200, self._draft
        assert (method, path, body["cborHex"]) == ("POST", "/cardano-transaction", self._draft["cborHex"])
        self.submitted.set()
        return 200, {"tag": "TransactionSubmitted"}


class _Before:
    def __init__(self, node, channel) -> None:
        self._node, self._channel, self._greeted = node, channel, False
        self.send = channel.send

    async def receive(self):
        if not self._greeted:
            self._greeted = True
            greetings = json.loads(await self._channel.receive())
            return json.dumps({**greetings, "headStatus": "Initializing"})
        await self._node.submitted.wait()
        raise NodeUnavailable("the node was restarted")


def _draft(wallet):
    """A transaction that spends nothing of this member's; what it says does not matter to the client."""
    spent = transaction.TxIn(bytes(32), 0)
    return transaction.parse(wallet.sign(transaction.build_body((spent,), ())))


async def _join(cohort, nursery, **options: object):
    """Member 2's client of such a node, once it has committed and the head is open; and the node."""
    first, _ = await cohort.follow(1)
    await first.open_head()
    node = Initialising(cohort.url(2), _draft(cohort.wallets[0]), **options)
    members = [w.key_hash for w in cohort.wallets]
    ledger = HydraLedger(
        node, cohort.wallets[1], members, timing=cohort.timing, deposit_scripts={EMULATED_SCRIPT}
    )
    events = ledger.events()
    await nursery.start(ledger.run)
    with trio.fail_after(PATIENCE):
        assert isinstance(await events.receive(), HeadOpen)
    return ledger, node


async def test_a_head_that_waits_for_commits_gets_an_empty_one(cohort, nursery):
    ledger, node = await _join(cohort, nursery)
    assert node.asked == [{}]
    await ledger.deposit(await cohort.emulator.chain_utxo(cohort.wallets[1].address))
    assert ledger.status().state is LedgerState.OPEN


async def test_a_refused_commit_is_made_again(cohort, nursery, monkeypatch):
    monkeypatch.setattr("node.ledger.client.ledger.COMMIT_AGAIN", 0.05)
    _, node = await _join(cohort, nursery, refusals=2)
    assert node.asked == [{}, {}, {}]
