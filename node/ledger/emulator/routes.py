"""The HTTP API of one party of the emulated head: the real node's routes, statuses and bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from node.ledger import transaction, utxo_json
from node.ledger.emulator import inputs, rules
from node.ledger.emulator.head import Refused
from node.ledger.emulator.http import Answer
from node.ledger.emulator.hub import Hub
from node.ledger.emulator.views import Message
from node.ledger.errors import MalformedMessage, MalformedTransaction

TIMEOUT = 30.0  # seconds a request waits for its outcome before it answers 202
NOT_FOUND: Answer = (404, "")


class Routes:
    """The routes of `party`'s node."""

    def __init__(self, hub: Hub, party: int) -> None:
        self._hub = hub
        self._party = party

    async def __call__(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        """Answer one request: (status, JSON value)."""
        await self._hub.settled()
        try:
            return await self._route(method, path.strip("/").split("/"), body)
        except (MalformedMessage, MalformedTransaction) as error:
            return 400, error.what

    async def _route(self, method: str, path: list[str], body: bytes) -> Answer:
        views, state = self._hub.views, self._hub.head.state
        match method, path:
            case "GET", ["head"]:
                return 200, views.head_state()
            case "GET", ["snapshot"]:
                return NOT_FOUND if state.status == "Idle" else (200, views.confirmed_snapshot())
            case "GET", ["snapshot", "utxo"]:
                return NOT_FOUND if state.status == "Idle" else (200, views.utxo())
            case "GET", ["snapshot", "last-seen"]:
                return 200, views.seen_snapshot()
            case "GET", ["commits"]:
                return 200, list(state.deposits)
            case "GET", ["protocol-parameters"]:
                return 200, PROTOCOL_PARAMETERS
            case "POST", ["commit"]:
                return self._commit(body)
            case "POST", ["cardano-transaction"]:
                return await self._submit(body)
            case "POST", ["snapshot"]:
                wanted = inputs.parse_json(body)
                return await self._command(
                    "SideLoadSnapshot", inputs.confirmed_snapshot(wanted), {"snapshot": wanted}
                )
            case "DELETE", ["commits", deposit]:
                deposit = inputs.deposit_id(deposit)
                return await self._command("Recover", deposit, {"recoverTxId": deposit})
            case "POST", ["decommit"]:
                tx = utxo_json.transaction_from_json(inputs.parse_json(body))
                return await self._command("Decommit", tx, {"decommitTx": utxo_json.envelope(tx)})
            case "POST", ["transaction"]:
                return await self._transaction(body)
        return 400, "Resource not found"

    def _commit(self, body: bytes) -> Answer:
        spent, arriving = inputs.commit_request(inputs.parse_json(body))
        try:
            tx = self._hub.head.draft_deposit(spent, arriving, self._hub.clock())
        except Refused as refusal:
            return 400, _post_error(str(refusal))
        return 200, utxo_json.envelope(tx, "Hydra commit transaction")

    async def _submit(self, body: bytes) -> Answer:
        tx = utxo_json.transaction_from_json(inputs.parse_json(body))
        try:
            self._hub.head.submit(tx, self._hub.clock())
        except rules.Invalid as error:
            failed = {"tag": "FailedToPostTx", "failureReason": str(error)}
            return 400, {**failed, "failingTx": utxo_json.envelope(tx)}
        self._hub.wake()
        await self._hub.settled()
        return 200, {"tag": "TransactionSubmitted"}

    async def _command(self, tag: str, subject: Any, fields: Message) -> Answer:  # noqa: ANN401
        """Give the node a client input and wait for the message that decides it."""
        done, failed = _OUTCOMES[tag]

        def outcome(message: Message) -> Answer | None:
            if message["tag"] == done:
                return 200, "OK"
            if message["tag"] == "SideLoadSnapshotRejected":
                return 400, message["requirementFailure"]
            if message["tag"] == "RejectedInputBecauseUnsynced":
                drift = message["drift"]
                return 503, f"{tag} failed because node is out of sync with chain, drift: {drift}s"
            if message["tag"] in ("CommandFailed", "DecommitInvalid"):
                return 400, failed
            return None

        return await self._await(outcome, f"{tag}Submitted", tag, subject, fields)

    async def _transaction(self, body: bytes) -> Answer:
        tx = utxo_json.transaction_from_json(inputs.parse_json(body))

        def outcome(message: Message) -> Answer | None:
            return _transaction_outcome(message, tx.id.hex())

        fields = {"transaction": utxo_json.envelope(tx)}
        return await self._await(outcome, "SubmitTxSubmitted", "NewTx", tx, fields)

    async def _await(
        self,
        outcome: Callable[[Message], Answer | None],
        late: str,
        tag: str,
        subject: Any,  # noqa: ANN401
        fields: Message,
    ) -> Answer:
        with self._hub.listen(self._party) as live, trio.move_on_after(TIMEOUT):
            self._hub.command(self._party, tag, subject, {"tag": tag, **fields})
            async for message in live:
                if (answer := outcome(message.body)) is not None:
                    return answer
        return 202, {"tag": late, "timeoutMessage": f"timed out after {TIMEOUT} seconds"}


_OUTCOMES = {
    "Decommit": ("DecommitFinalized", "Decommit failed"),
    "Recover": ("CommitRecovered", "Recover failed"),
    "SideLoadSnapshot": ("SnapshotSideLoaded", "Side-load snapshot failed"),
}


def _transaction_outcome(message: Message, tx_id: str) -> Answer | None:
    tag = message["tag"]
    if tag == "TxValid" and message["transactionId"] == tx_id:
        return 202, {"tag": "SubmitTxSubmitted"}
    if tag == "TxInvalid" and message["transaction"]["txId"] == tx_id:
        reason = message["validationError"]["reason"]
        return 400, {"tag": "SubmitTxInvalid", "validationError": reason}
    if tag == "SnapshotConfirmed" and _contains(message["snapshot"], tx_id):
        return 200, {"tag": "SubmitTxConfirmed", "snapshotNumber": message["snapshot"]["number"]}
    if tag in ("CommandFailed", "RejectedInputBecauseUnsynced"):
        return 503, {"tag": "SubmitTxRejected", "reason": tag}
    return None


def _contains(snapshot: Mapping[str, Any], tx_id: str) -> bool:
    return any(tx["txId"] == tx_id for tx in snapshot["confirmed"])


def _post_error(reason: str) -> object:
    tag, separator, rest = reason.partition(": ")
    return {"tag": tag, "failureReason": rest} if separator else reason


PROTOCOL_PARAMETERS: Message = {
    "protocolVersion": {"major": 10, "minor": 0},
    "maxBlockHeaderSize": 1100,
    "maxBlockBodySize": 90112,
    "maxTxSize": transaction.MAX_TRANSACTION,
    "txFeeFixed": 0,
    "txFeePerByte": 0,
    "stakeAddressDeposit": 2_000_000,
    "stakePoolDeposit": 500_000_000,
    "minPoolCost": 170_000_000,
    "poolRetireMaxEpoch": 18,
    "stakePoolTargetNum": 500,
    "poolPledgeInfluence": 0.3,
    "monetaryExpansion": 0.003,
    "treasuryCut": 0.2,
    "costModels": {},
    "executionUnitPrices": {"priceMemory": 0, "priceSteps": 0},
    "maxTxExecutionUnits": {"memory": 14_000_000, "steps": 10_000_000_000},
    "maxBlockExecutionUnits": {"memory": 62_000_000, "steps": 20_000_000_000},
    "maxValueSize": rules.MAX_OUTPUT,
    "collateralPercentage": 150,
    "maxCollateralInputs": 3,
    "utxoCostPerByte": transaction.COINS_PER_BYTE,
}
