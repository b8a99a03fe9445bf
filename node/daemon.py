"""starlingd: starts and supervises a member's services in one nursery, and answers its operator.

starlingd --config node.toml
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import AsyncIterator, Callable

import structlog
import trio
from trio_typing import TaskStatus

from node.bucket import admission, own_bucket
from node.card import own_card
from node.cli.parser import starlingd_parser
from node.config import Config, load_config
from node.confinement.memory import keep_memory_private
from node.confinement.policy import Confinement
from node.confinement.scratch import erase_leftovers
from node.control.server import ControlServer
from node.engine.background import Background
from node.engine.job import Surroundings
from node.files import private_directory
from node.funds import Funds
from node.jobs import Jobs
from node.journal import Journal
from node.keys import NodeKeys, load_keys
from node.logs import setup_logs
from node.memory import return_large_blocks
from node.network import Deliver, DiscoverySettings, Mesh, PeerAddress, PeerDown, PeerUp
from node.notify import keep_watchdog, notify
from node.operator import Operator
from node.peers import Card, PeerBook
from node.unpacked import drop_unpacked_library
from protocol.errors import StarlingError

log = structlog.get_logger()


class Daemon:
    """One member's node. `run` until `shutdown`, a signal, or a fault that needs the operator."""

    def __init__(self, config: Config) -> None:
        """Open everything that may be wrong in configuration or on disk; `OperatorFault` says what is."""
        self.config = config
        self._keys: NodeKeys = load_keys(config.node.state)
        private_directory(config.node.state)
        self._journal = Journal(config.node.state / "journal.sqlite", self._keys.journal)
        self._book = PeerBook(config.node.state / "peers.json")
        self._mesh = self._make_mesh()
        around = Surroundings(
            config=config,
            keys=self._keys,
            journal=self._journal,
            mesh=self._mesh,
            bucket=own_bucket(config),
            admission=admission(config),
            funds=Funds(config.ledger, self._keys.wallet),
            background=Background(),
        )
        self._background = around.background
        self._addresses: tuple[str, ...] = config.network.listen
        self._scope = trio.CancelScope()
        self._jobs = Jobs(around, self._book, self._own_card)
        self._operator = Operator(
            around=around,
            running=self._jobs,
            book=self._book,
            own=self._own_card,
            addresses=lambda: self._addresses,
            stop_node=self.shutdown,
            started=time.time(),
        )

    def _make_mesh(self) -> Mesh:
        network = self.config.network
        roster = {contact: card.address() for contact, card in self._book.cards.items()}
        bootstrap = tuple(PeerAddress(text.rpartition("/p2p/")[2], (text,)) for text in network.bootstrap)
        settings = DiscoverySettings(mdns=network.mdns, dht=network.dht, bootstrap=bootstrap)

        async def take(contact: int, message: bytes) -> None:
            await self._jobs.take(contact, message)

        async def wanted(contact: int, label: bytes, size: int) -> Deliver:
            return await self._jobs.wanted(contact, label, size)

        async def blobs(member: int, digest: bytes, size: int) -> AsyncIterator[bytes] | None:
            return await self._jobs.blobs(member, digest, size)

        return Mesh(
            self._keys.identity,
            network.listen,
            roster,
            take=take,
            wanted=wanted,
            blobs=blobs,
            discovery=settings,
        )

    def _own_card(self) -> Card:
        return own_card(self.config, self._keys, self._addresses)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until shut down. Raises `OperatorFault` for what only an operator can mend."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    addresses = await nursery.start(self._mesh.run)
                    self._addresses = tuple(str(address) for address in addresses)
                    await nursery.start(self._background.run)
                    await nursery.start(self._jobs.run)
                    nursery.start_soon(self._pump_peers)
                    await nursery.start(ControlServer(self._operator, self.config.socket).run)
                    nursery.start_soon(keep_watchdog)
                    erase_leftovers()
                    _tell_confinement(self.config)
                    notify("READY=1")
                    log.info("DaemonReady", peer=self._keys.identity.peer_id, socket=str(self.config.socket))
                    task_status.started()
        finally:
            notify("STOPPING=1")
            self._journal.close()
            log.info("DaemonStopped")

    def shutdown(self) -> None:
        """Stop all services; what is in flight is in the journal."""
        self._scope.cancel()

    async def _pump_peers(self) -> None:
        async for event in self._mesh.events:
            match event:
                case PeerUp(member=contact):
                    self._jobs.peer_up(contact)
                case PeerDown():
                    continue  # the mesh has logged it, and redials


def _tell_confinement(config: Config) -> None:
    missing = Confinement(off=not config.learning.confine).kept().missing
    if missing:
        log.warning("LearnerNotConfined", reason=missing)


async def serve(config: Config) -> None:
    """Run a daemon until SIGTERM or SIGINT."""
    daemon = Daemon(config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, daemon.shutdown, nursery.cancel_scope)
        await daemon.run()
        nursery.cancel_scope.cancel()


async def _stop_on_signal(stop: Callable[[], None], scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for number in received:
            log.info("DaemonStopping", signal=signal.Signals(number).name)
            stop()


def main() -> int:
    """The command `starlingd`. Exit code 1: the operator has to mend something, which is said."""
    drop_unpacked_library()
    arguments = starlingd_parser().parse_args()
    try:
        config = load_config(arguments.config)
        if arguments.check:
            load_keys(config.node.state)
            return 0
        setup_logs(config.log.file, config.log.level, node=config.node.name)
        keep_memory_private()
        return_large_blocks()
        trio.run(serve, config)
    except StarlingError as error:
        return _complain(error)
    except BaseExceptionGroup as group:
        found = _first_of(group)
        if found is None:
            raise
        return _complain(found)
    return 0


def _first_of(group: BaseExceptionGroup[BaseException]) -> StarlingError | None:
    """The deliberate error in a group, if all that is in it is deliberate."""
    known, other = group.split(StarlingError)
    if other is not None or known is None:
        return None
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, StarlingError) else None


def _complain(error: StarlingError) -> int:
    if structlog.is_configured():
        log.error("DaemonFailed", reason=str(error))
    sys.stderr.write(f"starlingd: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
