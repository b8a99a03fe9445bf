"""A client of the control socket with plain blocking sockets: for the command line and scripts.

with Client(path) as node:
    print(node.call("status")["name"])
    for event in node.events("3fe1"):
        print(event)
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from node.control.errors import Unreachable
from node.control.limits import ANSWER_SECONDS, MAX_ANSWER_BYTES, SEND_SECONDS
from node.control.wire import ENDED, EVENT, Answer, parse_answer, request_line

_PIECE = 256 * 1024


class Client:
    """One connection. Not for several threads at once."""

    def __init__(self, path: Path, *, seconds: float = ANSWER_SECONDS) -> None:
        """Connect to the node at the socket `path`; an answer may take `seconds`. Raises `Unreachable`."""
        self._path = path
        self._seconds = seconds
        self._number = 0
        self._buffer = bytearray()
        self._events: deque[Answer] = deque()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(SEND_SECONDS)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise _unreachable(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and its subscriptions with it."""
        self._socket.close()

    def call(self, method: str, **params: Any) -> Any:  # noqa: ANN401  (any JSON value)
        """The result of a method of this version, such as "status".

        Raises the node's own error (`OperatorFault`, `MemberFault` …), `NodeFailed` for a bug in the node,
        `Unreachable` where it does not answer.
        """
        self._number += 1
        deadline = time.monotonic() + self._seconds
        self._send(request_line(self._number, method, params))
        while True:
            answer = self._receive(deadline)
            if answer is None:
                raise Unreachable(
                    f"the node did not answer within {self._seconds:.0f} seconds",
                    remedy="it may still be at work: see its log",
                )
            if answer.method is not None:
                self._events.append(answer)
            elif answer.id in (self._number, None):
                return answer.value()

    def subscribe(self, job: str | None = None) -> int:
        """Ask for the events of a job, by default the foremost; read them with `next_event`."""
        number: int = self.call("subscribe", job=job)["subscription"]
        return number

    def next_event(self, seconds: float) -> dict[str, Any] | None:
        """The next event of any subscription; None if none comes in time. `Unreachable` when they ended."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self._events.popleft() if self._events else self._receive(deadline)
            if answer is None:
                return None
            if answer.method == EVENT:
                event: dict[str, Any] = answer.params["event"]
                return event
            if answer.method == ENDED:
                raise Unreachable("the job's events ended", remedy="it is over, or the node stopped")
            if answer.error is not None:
                answer.value()

    def events(self, job: str | None = None) -> Iterator[dict[str, Any]]:
        """Subscribe, and all events from then on; ends with `Unreachable`."""
        self.subscribe(job)
        while True:
            event = self.next_event(self._seconds)
            if event is not None:
                yield event

    def _send(self, line: bytes) -> None:
        self._socket.settimeout(SEND_SECONDS)
        try:
            self._socket.sendall(line)
        except OSError as error:
            raise _unreachable(self._path, error) from error

    def _receive(self, deadline: float) -> Answer | None:
        """The next message; None at the deadline."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_ANSWER_BYTES:
                raise Unreachable("the node's answer is too large", remedy="ask for less at once")
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(_PIECE)
            except TimeoutError:
                return None
            except OSError as error:
                raise _unreachable(self._path, error) from error
            if not piece:
                raise Unreachable("the node closed the connection", remedy="see its log")
            self._buffer += piece
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return parse_answer(line)


def _unreachable(path: Path, error: OSError) -> Unreachable:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return Unreachable(f"no node listens at {path}", remedy="start starlingd, or name its --config")
        case PermissionError():
            return Unreachable(f"{path} is not open to this user", remedy="use the node's own user, or root")
        case _:
            return Unreachable(f"the node at {path} does not answer: {error.strerror or error}")
