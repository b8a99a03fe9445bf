"""The control server: lets the node's own user and root in, and gives each connection a session."""

from __future__ import annotations

import os
from pathlib import Path

import structlog
import trio
from trio_typing import TaskStatus

from node.control.api import Node
from node.control.endpoint import listen, peer_user
from node.control.errors import LIMIT, REFUSED, RequestRefused, error_object
from node.control.limits import MAX_CONNECTIONS, SEND_SECONDS
from node.control.session import Session
from node.control.wire import error_line

ROOT = 0

log = structlog.get_logger()


class ControlServer:
    """Serves `node` at the Unix socket `path`."""

    def __init__(self, node: Node, path: Path) -> None:
        self._node = node
        self._path = path
        self._connections = 0

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises `OperatorFault` where the socket cannot be made."""
        listener = listen(self._path)
        try:
            task_status.started()
            await trio.serve_listeners(self._serve, [listener])
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, stream: trio.SocketStream) -> None:
        self._connections += 1
        try:
            async with stream:
                refusal = self._refusal(stream)
                if refusal is None:
                    await Session(self._node, stream).run()
                else:
                    await self._refuse(stream, refusal)
        except* (trio.BrokenResourceError, trio.TooSlowError):
            log.info("ControlClientLost")
        except* Exception as bugs:  # whatever a client brings about, the node goes on
            log.error("ControlSessionFailed", errors=sorted({type(bug).__name__ for bug in bugs.exceptions}))
        finally:
            self._connections -= 1

    def _refusal(self, stream: trio.SocketStream) -> RequestRefused | None:
        user = peer_user(stream)
        if user not in (os.geteuid(), ROOT):
            log.warning("ControlUserRefused", user=user)
            return RequestRefused(
                REFUSED, f"user {user} may not control this node", remedy="use the node's own user, or root"
            )
        if self._connections > MAX_CONNECTIONS:
            return RequestRefused(LIMIT, "too many control connections", remedy="close some of them")
        return None

    async def _refuse(self, stream: trio.SocketStream, refusal: RequestRefused) -> None:
        with trio.move_on_after(SEND_SECONDS):
            await stream.send_all(error_line(None, error_object(refusal)))
