"""Run an emulated Hydra head: `python -m node.ledger.emulator --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from node.ledger import transaction
from node.ledger.emulator.server import FUNDS, fresh_genesis, serve
from node.ledger.emulator.state import Genesis
from node.ledger.emulator.store import read_genesis
from protocol.errors import StarlingError


def _parse(command_line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hydra-emulator", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the head is kept; made at first")
    parser.add_argument("--port", type=int, default=4001, help="API port of the first party; the rest follow")
    parser.add_argument("--control-port", type=int, default=4000)
    parser.add_argument(
        "--participant",
        action="append",
        default=[],
        metavar="KEYHASH",
        help="payment key hash of a party (56 hex digits), in order; funded on L1; for a new folder",
    )
    parser.add_argument("--contestation-period", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--deposit-period", type=float, default=3600, metavar="SECONDS")
    return parser.parse_args(command_line)


def _genesis(arguments: argparse.Namespace) -> Genesis | None:
    if not arguments.participant:
        return None
    hashes = [bytes.fromhex(text) for text in arguments.participant]
    if any(len(h) != transaction.KEY_HASH for h in hashes):
        raise ValueError("a participant is the hash of a payment key: 56 hexadecimal digits")
    return fresh_genesis(
        hashes,
        [(transaction.key_address(h), FUNDS) for h in hashes],
        contestation_period=arguments.contestation_period,
        deposit_period=arguments.deposit_period,
    )


def main(command_line: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code. `command_line` defaults to the process's arguments."""
    arguments = _parse(command_line)
    failure: BaseException | None = None
    try:
        genesis = _genesis(arguments)
        parties = len(genesis.participants) if genesis else _known_parties(arguments.folder)
        ports = [arguments.port + n for n in range(parties)]
        trio.run(_until_told, arguments.folder, ports, arguments.control_port, genesis)
    except* (StarlingError, ValueError) as group:
        failure = group
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if failure is not None:
        sys.stderr.write(f"hydra-emulator: {failure}\n")
    return 0 if failure is None else 1


async def _until_told(folder: Path, ports: Sequence[int], control_port: int, genesis: Genesis | None) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, folder, ports, control_port, genesis)
            await anext(signals)
            nursery.cancel_scope.cancel()


def _known_parties(folder: Path) -> int:
    return len(read_genesis(folder).hydra_seeds)


if __name__ == "__main__":
    sys.exit(main())
