"""WebSocket clients of one party of the emulated head."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import structlog
import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    wrap_server_stream,
)

from node.ledger import transaction
from node.ledger.emulator import inputs
from node.ledger.emulator.hub import Hub, Published, without_utxo
from node.ledger.errors import MalformedMessage

MAX_MESSAGE = 4 * 1024 * 1024  # bytes; a side-loaded snapshot of 100 transactions stays below
PING_INTERVAL = 30  # seconds, as the real node
_log = structlog.get_logger()


class Subscription:
    """What a connection's query asks for: history, snapshots' UTxO sets, transactions of one address."""

    def __init__(self, path: str) -> None:
        query = parse_qs(urlsplit(path).query)
        self.history = "yes" in query.get("history", ())
        self.with_utxo = "no" not in query.get("snapshot-utxo", ())
        self.address = query["address"][0] if "address" in query else None

    def wants(self, message: Published) -> bool:
        """Whether the address filter lets a message through; it only knows SnapshotConfirmed."""
        if self.address is None or message.body["tag"] != "SnapshotConfirmed":
            return True
        return any(
            transaction.address_text(output.address) == self.address
            for tx in message.body["snapshot"]["confirmed"]
            for output in transaction.parse(bytes.fromhex(tx["cborHex"])).outputs
        )


async def serve(stream: trio.abc.Stream, hub: Hub, party: int) -> None:
    """Speak to one client until it leaves or is dropped."""
    async with trio.open_nursery() as nursery:
        try:
            request = await wrap_server_stream(nursery, stream)
            await _converse(request, hub, party)
        except* (ConnectionClosed, HandshakeError) as group:
            _log.info("ClientLeft", party=party, reason=str(group.exceptions[0]))
        nursery.cancel_scope.cancel()


async def _converse(request: WebSocketRequest, hub: Hub, party: int) -> None:
    subscription = Subscription(request.path)
    connection = await request.accept()
    await hub.settled()
    with hub.listen(party) as live:
        if subscription.history:
            for message in hub.replay(party):
                if subscription.wants(message):
                    await connection.send_message(message.text(with_utxo=subscription.with_utxo))
        greetings = hub.views.greetings(party, hub.clock())
        await connection.send_message(
            json.dumps(greetings if subscription.with_utxo else without_utxo(greetings))
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_receive, connection, hub, party, nursery.cancel_scope)
            nursery.start_soon(_ping, connection, nursery.cancel_scope)
            async for message in live:
                if subscription.wants(message):
                    await connection.send_message(message.text(with_utxo=subscription.with_utxo))
            nursery.cancel_scope.cancel()
    await connection.aclose()


async def _receive(
    connection: WebSocketConnection, hub: Hub, party: int, conversation: trio.CancelScope
) -> None:
    try:
        while True:
            message = await connection.get_message()
            text = message if isinstance(message, str) else message.decode("utf-8", "replace")
            try:
                original = inputs.parse_json(text)
                tag, subject = inputs.client_input(original)
            except MalformedMessage as error:
                _log.info("InvalidInput", party=party, reason=error.what)
                reply = {"tag": "InvalidInput", "reason": error.what, "input": text}
                await connection.send_message(json.dumps(reply))
            else:
                assert isinstance(original, dict)  # noqa: S101  client_input refuses anything else
                hub.command(party, tag, subject, original)
    except ConnectionClosed:
        conversation.cancel()


async def _ping(connection: WebSocketConnection, conversation: trio.CancelScope) -> None:
    try:
        while True:
            await trio.sleep(PING_INTERVAL)
            await connection.ping()
    except ConnectionClosed:
        conversation.cancel()
