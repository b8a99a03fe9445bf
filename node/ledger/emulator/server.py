"""The emulated head as a process: one API port per party, one control port, all on loopback."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog
import trio
from trio_typing import TaskStatus

from node.ledger.emulator import http, websocket
from node.ledger.emulator.control import Control
from node.ledger.emulator.head import Head
from node.ledger.emulator.hub import Hub
from node.ledger.emulator.routes import Routes
from node.ledger.emulator.state import Genesis
from node.ledger.emulator.store import Store
from node.ledger.emulator.views import Views
from protocol.errors import OperatorFault

LOOPBACK = "127.0.0.1"
FUNDS = 100_000_000  # lovelace per party on the simulated L1
MAX_PARTIES = 29  # of a real head since 2.0
_log = structlog.get_logger()


def fresh_genesis(
    participants: Sequence[bytes],
    funds: Sequence[tuple[bytes, int]],
    *,
    contestation_period: float = 60,
    deposit_period: float = 3600,
    mainnet: bool = False,
) -> Genesis:
    """A genesis with new Hydra keys for `participants` (payment key hashes, in party order)."""
    if not 1 <= len(participants) <= MAX_PARTIES:
        raise OperatorFault(f"a head has 1 to {MAX_PARTIES} parties, not {len(participants)}")
    seeds = tuple(secrets.token_bytes(32) for _ in participants)
    return Genesis(
        seeds,
        tuple(participants),
        tuple(funds),
        contestation_period=contestation_period,
        deposit_period=deposit_period,
        mainnet=mainnet,
    )


async def serve(
    folder: Path,
    ports: Sequence[int],
    control_port: int,
    genesis: Genesis | None = None,
    *,
    clock: Callable[[], float] = time.time,
    task_status: TaskStatus[tuple[list[int], int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the head in `folder` until cancelled. Port 0 lets the system choose; `started` gives
    (API ports, control port)."""
    store = Store(folder)
    try:
        head = Head(store.genesis(genesis), store.load())
        if len(ports) != len(head.vkeys):
            raise OperatorFault(f"{len(head.vkeys)} parties need as many ports, not {len(ports)}")
        listeners = [await _listen(port) for port in (*ports, control_port)]
        actual = [listener.socket.getsockname()[1] for listener in listeners]
        hub = Hub(head, Views(head, [(LOOPBACK, p + 1000) for p in actual[:-1]]), store.append, clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run)
            for party, listener in enumerate(listeners[:-1]):
                nursery.start_soon(trio.serve_listeners, _api(hub, party), [listener])
            nursery.start_soon(trio.serve_listeners, _control(hub), [listeners[-1]])
            _log.info("EmulatedHeadStarted", parties=len(head.vkeys), ports=actual[:-1], control=actual[-1])
            task_status.started((actual[:-1], actual[-1]))
    finally:
        store.close()


async def _listen(port: int) -> trio.SocketListener:
    try:
        [listener] = await trio.open_tcp_listeners(port, host=LOOPBACK)
    except OSError as error:
        raise OperatorFault(f"port {port}: {error.strerror}", remedy="choose another port") from error
    return listener


Connection = Callable[[trio.SocketStream], Awaitable[None]]


def _api(hub: Hub, party: int) -> Connection:
    routes = Routes(hub, party)

    async def connection(stream: trio.SocketStream) -> None:
        head = await http.read_head(stream)
        replay = http.ReplayStream(stream, head)
        if not head:
            await stream.aclose()
        elif http.wants_websocket(head):
            await websocket.serve(replay, hub, party)
        else:
            await http.serve(replay, routes)

    return _guarded(connection, party + 1)


def _control(hub: Hub) -> Connection:
    routes = Control(hub)

    async def connection(stream: trio.SocketStream) -> None:
        await http.serve(stream, routes)

    return _guarded(connection, 0)


def _guarded(serve_one: Connection, party: int) -> Connection:
    """A broken connection concerns that client only."""

    async def connection(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await serve_one(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as group:
            _log.info("ConnectionLost", party=party, reason=str(group.exceptions[0]))

    return connection
