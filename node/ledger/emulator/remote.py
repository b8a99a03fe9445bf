"""The emulator's control API from the outside: what a demo, a test or an audit asks of it."""

from __future__ import annotations

from typing import Any

import trio

from node.ledger import transaction, utxo_json
from node.ledger.client.node import HydraNode
from node.ledger.errors import CommandRefused, NodeUnavailable
from node.ledger.transaction import UTxO

START_TIMEOUT = 30.0  # seconds for the process to listen


class Emulator:
    """The control port of an emulated head at `url`. Parties count from 1."""

    def __init__(self, url: str) -> None:
        self._node = HydraNode(url)

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._node.aclose()

    async def ready(self) -> None:
        """Wait until the emulator answers; NodeUnavailable if it does not in time."""
        with trio.move_on_after(START_TIMEOUT):
            while True:
                try:
                    await self.status()
                    return
                except NodeUnavailable:
                    await trio.sleep(0.1)
        raise NodeUnavailable(f"no emulated head within {START_TIMEOUT:.0f} s")

    async def chain_utxo(self, address: bytes) -> UTxO:
        """The outputs at `address` on the simulated L1."""
        text = transaction.address_text(address)
        return utxo_json.from_json(await self._request("GET", f"/l1/utxo?address={text}"))

    async def party(self, number: int, action: str) -> None:
        """Do `action` to a party: offline, online, unsynced, synced, slow?seconds=…, drop, rotate, hold."""
        await self._request("POST", f"/party/{number}/{action}")

    async def close(self, snapshot: int) -> None:
        """Close the head with any snapshot that all parties have signed."""
        await self._request("POST", f"/close?snapshot={snapshot}")

    async def contest(self, snapshot: int) -> None:
        """Contest the closing with a newer snapshot."""
        await self._request("POST", f"/contest?snapshot={snapshot}")

    async def prune(self) -> None:
        """Side-load the last snapshot on every node: pending transactions are gone."""
        await self._request("POST", "/prune")

    async def status(self) -> dict[str, Any]:
        """Head status, snapshot number, pending transactions and parties."""
        answer = await self._request("GET", "/status")
        return dict(answer)

    async def _request(self, method: str, path: str) -> Any:  # noqa: ANN401
        status, answer = await self._node.request(method, path)
        if status != 200:
            raise CommandRefused(f"emulator: {method} {path}: {answer}")
        return answer
