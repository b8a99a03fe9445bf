"""JSON-RPC 2.0 in lines: one message per line, UTF-8, ended by a newline. No batches.

Numbers that JSON does not know (not finite) travel as null.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from node.control.errors import INVALID_REQUEST, PARSE_ERROR, RequestRefused, error_from
from protocol.errors import StarlingError

VERSION = "2.0"
NAMESPACE = "starling.v1."
"""Methods of this version; a later one stands beside it under its own name while clients need it."""

EVENT, ENDED = NAMESPACE + "event", NAMESPACE + "ended"

Id = int | str | None


class Request(msgspec.Struct, frozen=True):
    """A call; without an id, JSON-RPC wants no answer to it."""

    jsonrpc: Literal["2.0"]
    method: str
    params: dict[str, Any] | UnsetType = UNSET
    id: Id | UnsetType = UNSET


class ErrorObject(msgspec.Struct, frozen=True):
    """Why a call failed."""

    code: int
    message: str
    data: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True):
    """What a client reads: the answer to a call (`id`), or a notification (`method`)."""

    jsonrpc: Literal["2.0"]
    id: Id = None
    result: Any = None
    error: ErrorObject | None = None
    method: str | None = None
    params: dict[str, Any] = {}

    def value(self) -> Any:  # noqa: ANN401  (any JSON value)
        """The result; raises the typed error if there is one instead."""
        if self.error is not None:
            raise error_from(self.error.code, self.error.message, self.error.data)
        return self.result


_requests = msgspec.json.Decoder(Request)
_answers = msgspec.json.Decoder(Answer)


def parse_request(line: bytes) -> Request:
    """The request in a line; `RequestRefused` saying what is wrong with it."""
    try:
        return _requests.decode(line)
    except msgspec.ValidationError as error:
        raise RequestRefused(
            INVALID_REQUEST, f"not a JSON-RPC 2.0 request: {error}", remedy="send one request per line"
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RequestRefused(PARSE_ERROR, "not JSON", remedy="send one JSON object per line") from None


def parse_answer(line: bytes) -> Answer:
    """What a node sent; raises `StarlingError` if it is no JSON-RPC message."""
    try:
        return _answers.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise StarlingError(f"what answers at the control socket is not a node: {error}") from None


def request_line(number: int, method: str, params: dict[str, Any]) -> bytes:
    """A call of `method` of this version."""
    return _line({"jsonrpc": VERSION, "id": number, "method": NAMESPACE + method, "params": params})


def result_line(id: Id, result: object) -> bytes:
    """The answer to a call."""
    return _line({"jsonrpc": VERSION, "id": id, "result": result})


def error_line(id: Id, error: dict[str, Any]) -> bytes:
    """The refusal of a call; `id` is None where it could not be read."""
    return _line({"jsonrpc": VERSION, "id": id, "error": error})


def notification_line(method: str, params: dict[str, Any]) -> bytes:
    """Something that the other side did not ask for."""
    return _line({"jsonrpc": VERSION, "method": method, "params": params})


def _line(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\n"
