"""Why an anchor is not confirmed in time, from what the node says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from node.ledger.client.life import Life
from node.ledger.client.submission import Flight
from node.ledger.interface import Stalled, StallReason


def diagnose(flight: Flight, life: Life, last_seen: Any, parties: Sequence[bytes]) -> Stalled:  # noqa: ANN401
    """The reason for a stall. `last_seen` is the answer of GET /snapshot/last-seen, `parties` the members'
    Hydra keys by roster index, empty if they are not configured."""
    offline = sorted(peer for peer, connected in life.peers.items() if not connected)
    if not life.in_sync:
        return Stalled(StallReason.NODE_OUT_OF_SYNC, (), "it catches up by itself once its L1 node does")
    if not life.network_connected:
        return Stalled(StallReason.MINORITY, (), "disconnected: " + (", ".join(offline) or "unknown"))
    missing = _missing(last_seen, parties)
    if offline or missing:
        return Stalled(StallReason.PARTY_OFFLINE, missing, ", ".join(offline) or "has not signed")
    if flight.refusal:
        return Stalled(StallReason.REFUSED, (), flight.refusal)
    if not flight.valid:
        return Stalled(StallReason.NOT_ACKNOWLEDGED, (), f"sent {flight.attempts} times")
    return Stalled(StallReason.NOT_CONFIRMED, (), "no party is known to be missing")


def _missing(last_seen: Any, parties: Sequence[bytes]) -> tuple[int, ...]:  # noqa: ANN401
    """Members that have not signed the snapshot in flight, as far as keys tell."""
    if not isinstance(last_seen, Mapping) or not isinstance(last_seen.get("signatories"), Mapping):
        return ()
    signed = set(last_seen["signatories"])
    return tuple(n for n, key in enumerate(parties, start=1) if key.hex() not in signed)
