"""What py-libp2p 0.8.1 needs around it before it may face other people's machines.

Each function mends one fault of the library and is proved by a test that fails without it; when the
library is upgraded, a mend whose fault is gone can be deleted. The muxer's are in `muxer`, the peer-id
gate is in `gate`.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog
import trio
from libp2p.abc import IMuxedConn, INetStream, IRawConnection
from libp2p.network.swarm import Swarm
from multiaddr import Multiaddr

from node.network.limits import MAX_CONNECTIONS_PER_PEER, MAX_HALF_OPEN
from node.network.muxer import GuardedMultiplexing
from node.network.streams import closed_on_failure, reset
from node.network.throttle import ThrottledLog

_log: Final = structlog.get_logger()


class _ConnectionEnded(Exception):
    """Tells the swarm's inbound handler that its connection is over."""


def harden(swarm: Swarm) -> None:
    """Apply every mend to a swarm that does not run yet."""
    contain_stream_handlers(swarm)
    release_inbound_slots(swarm)
    drop_oldest_handshakes(swarm)
    dial_only_on_request(swarm)
    swarm.upgrader.muxer_multistream = GuardedMultiplexing()
    # The library logs a warning or more for every junk frame; ours are throttled.
    if "LIBP2P_DEBUG" not in os.environ:
        logging.getLogger("libp2p").setLevel(logging.CRITICAL)


def contain_stream_handlers(swarm: Swarm) -> None:
    """Keep an exception in a stream handler from ending the whole swarm.

    A peer can cause one at will: a protocol name that is not UTF-8 is enough.
    """
    handle = swarm.common_stream_handler
    failures = ThrottledLog(_log)

    async def contained(stream: INetStream) -> None:
        try:
            await handle(stream)
        except Exception as error:
            failures.info(
                "StreamRefused",
                peer_id=str(stream.muxed_conn.peer_id),
                protocol=stream.get_protocol(),
                why=f"{type(error).__name__}: {error}"[:200],
            )
            await reset(stream)

    swarm.set_stream_handler(contained)


def release_inbound_slots(swarm: Swarm) -> None:
    """Free the slot of an inbound connection when it ends, not when the swarm does.

    Without this a node accepts no connection after as many as it has slots. A peer's oldest connection
    makes room for its newest, so no member takes more than its share.
    """
    upgrade = swarm.upgrade_inbound_raw_conn

    async def upgrade_and_wait(raw: IRawConnection, address: Multiaddr) -> IMuxedConn:
        async with closed_on_failure(raw):
            muxed = await upgrade(raw, address)
            for oldest in swarm.get_connections(muxed.peer_id)[:-MAX_CONNECTIONS_PER_PEER]:
                await oldest.close()
            await muxed.event_closed.wait()  # type: ignore[attr-defined]
            raise _ConnectionEnded

    _replace(swarm, "upgrade_inbound_raw_conn", upgrade_and_wait)


def drop_oldest_handshakes(swarm: Swarm) -> None:
    """Let at most MAX_HALF_OPEN strangers linger in a handshake; the address with most loses its oldest.

    Otherwise as many idle sockets as there are slots keep every member out until they time out, and one
    machine that opens them fast enough drops the members' handshakes with its own.
    """
    upgrade = swarm.upgrader.upgrade_security
    half_open: dict[trio.CancelScope, str] = {}  # oldest first

    async def upgrade_security(raw: IRawConnection, is_initiator: bool, *args: object) -> object:
        async with closed_on_failure(raw):
            return await in_turn(raw, is_initiator, *args)

    async def in_turn(raw: IRawConnection, is_initiator: bool, *args: object) -> object:
        if is_initiator:
            return await upgrade(raw, is_initiator, *args)  # type: ignore[arg-type]
        while len(half_open) >= MAX_HALF_OPEN:
            busiest, _ = Counter(half_open.values()).most_common(1)[0]
            oldest = next(scope for scope, host in half_open.items() if host == busiest)
            del half_open[oldest]
            oldest.cancel()
        remote = raw.get_remote_address()
        with trio.CancelScope() as scope:
            half_open[scope] = remote[0] if remote else ""
            try:
                return await upgrade(raw, is_initiator)
            finally:
                half_open.pop(scope, None)
        raise _ConnectionEnded

    _replace(swarm.upgrader, "upgrade_security", upgrade_security)


def dial_only_on_request(swarm: Swarm) -> None:
    """Keep the library from dialling on its own every address that any peer ever told it.

    Its auto-connector aims between the two watermarks, so setting the low one to zero does not stop it.
    """

    async def connect_nobody() -> None:
        await trio.lowlevel.checkpoint()

    _replace(swarm.auto_connector, "maybe_connect", connect_nobody)


def _replace(target: object, method: str, replacement: Callable[..., object]) -> None:
    if not callable(getattr(target, method, None)):  # an upgrade of the library renamed it
        raise AttributeError(f"{type(target).__name__} has no method {method}")
    setattr(target, method, replacement)
