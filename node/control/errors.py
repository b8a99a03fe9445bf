"""Errors on the control socket: JSON-RPC codes for ours, and the way back to typed errors at the client.

Codes below -32000 are JSON-RPC's own; small positive ones are ours and say whose fault it is.
"""

from __future__ import annotations

from typing import Any

from protocol.errors import MemberFault, OperatorFault, OwnFault, StarlingError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

OPERATOR, MEMBER, CALLER, LIMIT, REFUSED = 1, 2, 3, 4, 5


class RequestRefused(StarlingError):
    """A request that cannot be carried out as it stands; `code` is its JSON-RPC error code."""

    def __init__(self, code: int, what: str, *, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.code = code


class Unreachable(OperatorFault):
    """No node answers at the control socket, or it stopped answering."""


class NodeFailed(StarlingError):
    """The node met a bug while it answered; its log has the details."""


def error_object(error: StarlingError) -> dict[str, Any]:
    """`error` as a JSON-RPC error object: code, message, and in `data` whose fault it is and the remedy."""
    data: dict[str, Any] = {"remedy": error.remedy}
    match error:
        case RequestRefused():
            code, data["whose"] = error.code, "client"
        case OperatorFault():
            code, data["whose"] = OPERATOR, "operator"
        case MemberFault():
            code, data["whose"], data["member"] = MEMBER, "member", error.member
        case _:
            code, data["whose"] = CALLER, "caller"
    return {"code": code, "message": error.what, "data": data}


def internal_error() -> dict[str, Any]:
    """What a client is told of a bug: nothing that might be secret."""
    data = {"whose": "starling", "remedy": "report it with the ControlRequestFailed line of the node's log"}
    return {"code": INTERNAL_ERROR, "message": "the node met a bug", "data": data}


def error_from(code: int, message: str, data: dict[str, Any]) -> StarlingError:
    """The typed error that the node meant."""
    remedy = str(data.get("remedy", ""))
    if code == OPERATOR:
        return OperatorFault(message, remedy=remedy)
    if code == MEMBER:
        member = data.get("member")
        return MemberFault(message, member=member if isinstance(member, int) else None, remedy=remedy)
    if code == CALLER:
        return OwnFault(message, remedy=remedy)
    if code == INTERNAL_ERROR:
        return NodeFailed(message, remedy=remedy)
    return RequestRefused(code, message, remedy=remedy)
