"""The emulator's control API: faults to inject, and the simulated L1 to look at. Loopback only, no secrets.

    POST /party/<n>/offline | online       cut the node off the network, bring it back POST
    /party/<n>/unsynced | synced      let the node fall behind the chain, catch up POST
    /party/<n>/slow?seconds=<s>       delay its signatures POST /party/<n>/drop                   cut its
    clients' connections POST /party/<n>/rotate                 forget its history (EventLogRotated) POST
    /party/<n>/hold                   the next snapshot: all sign, but this node alone gets all signatures
    POST /close?snapshot=<k>               close the head with any snapshot that all have signed POST
    /contest?snapshot=<k>             contest that with a newer one; no node does so by itself POST /prune
    side-load the last snapshot everywhere: pending transactions go GET  /l1/utxo[?address=<bech32>]
    the outputs on L1 GET  /status                           parties, snapshot number, what is pending

Parties count from 1, as members do.
"""

from __future__ import annotations

from node.ledger import transaction, utxo_json
from node.ledger.emulator.head import Refused
from node.ledger.emulator.http import Answer
from node.ledger.emulator.hub import Hub

MAX_DELAY = 3600.0  # seconds


class Control:
    """The routes of the control port."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        """Answer one request: (status, JSON value)."""
        try:
            answer = self._route(method, path.strip("/").split("/"), query)
        except (ValueError, Refused) as error:
            return 400, str(error)
        self._hub.wake()
        await self._hub.settled()
        return answer

    def _route(self, method: str, path: list[str], query: dict[str, str]) -> Answer:
        hub = self._hub
        match method, path:
            case "POST", ["party", number, action]:
                return self._party(int(number) - 1, action, query)
            case "POST", ["close"]:
                hub.head.close(int(query.get("snapshot", hub.head.state.number)), hub.clock())
                return 200, "OK"
            case "POST", ["contest"]:
                hub.head.contest(int(query.get("snapshot", hub.head.state.number)), hub.clock())
                return 200, "OK"
            case "POST", ["prune"]:
                hub.head.prune(hub.clock())
                return 200, "OK"
            case "GET", ["l1", "utxo"]:
                return 200, self._chain(query.get("address"))
            case "GET", ["status"]:
                return 200, self._status()
        return 400, "Resource not found"

    def _party(self, party: int, action: str, query: dict[str, str]) -> Answer:
        hub, now = self._hub, self._hub.clock()
        if not 0 <= party < len(hub.head.vkeys):
            return 404, "no such party"
        match action:
            case "offline" | "online":
                hub.head.set_online(party, action == "online", now)
            case "unsynced" | "synced":
                hub.head.set_synced(party, action == "synced", now)
            case "slow":
                hub.head.delay[party] = min(max(float(query.get("seconds", "0")), 0.0), MAX_DELAY)
            case "drop":
                hub.drop_listeners(party)
            case "rotate":
                hub.head.rotate_log(party, now)
            case "hold":
                hub.head.holder = party
            case _:
                return 400, "no such action"
        return 200, "OK"

    def _chain(self, address: str | None) -> object:
        chain = self._hub.head.state.chain
        if address is None:
            return utxo_json.to_json(chain)
        wanted = transaction.parse_address(address)
        return utxo_json.to_json({at: output for at, output in chain.items() if output.address == wanted})

    def _status(self) -> object:
        state = self._hub.head.state
        return {
            "headStatus": state.status,
            "headId": state.head_id,
            "snapshot": state.number,
            "pending": len(state.pending),
            "parties": [
                {"vkey": key.hex(), "online": p.online, "synced": p.synced}
                for key, p in zip(self._hub.head.vkeys, state.parties, strict=True)
            ],
        }
