"""What a session asks of its node over HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from node.ledger.client import messages as msg
from node.ledger.client.node import Node
from node.ledger.errors import MalformedMessage, MalformedTransaction


@dataclass(frozen=True, slots=True)
class HeadView:
    """`parties` are Hydra keys in the order in which they sign; `deadline` is empty for an open head."""

    parties: tuple[bytes, ...]
    version: int
    deadline: str


async def read_head(node: Node) -> HeadView:
    """GET /head of a head that is or was open."""
    _, head = await node.request("GET", "/head")
    try:
        contents = head["contents"]
        return HeadView(
            parties=tuple(bytes.fromhex(p["vkey"]) for p in contents["parameters"]["parties"]),
            version=int(contents.get("coordinatedHeadState", contents).get("version", 0)),
            deadline=str(contents.get("contestationDeadline", "")),
        )
    except (*msg.MALFORMED, MalformedTransaction) as error:
        raise MalformedMessage(f"GET /head: {type(error).__name__}: {error}") from None


async def read_snapshot(node: Node) -> msg.Snapshot | None:
    """GET /snapshot: the confirmed snapshot; None before the first."""
    status, item = await node.request("GET", "/snapshot")
    if status == 404 or (isinstance(item, dict) and "snapshot" not in item):
        return None
    try:
        return msg.snapshot_from_json(item["snapshot"], item["signatures"])
    except (*msg.MALFORMED, MalformedTransaction) as error:
        raise MalformedMessage(f"GET /snapshot: {type(error).__name__}: {error}") from None
