"""How fast the ledger is: `python -m node.ledger.bench [--parties 3] [--anchors 3000]`.

Runs an emulated head in its own process and all members' clients in this one; prints anchors confirmed per
second, and how long a fresh client takes to replay them from the node's history. CPU times say what a busier
or a larger machine would do.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import structlog
import trio

from node.ledger.client.deposit import EMULATED_SCRIPT
from node.ledger.client.ledger import HydraLedger
from node.ledger.client.node import HydraNode
from node.ledger.emulator.remote import Emulator
from node.ledger.wallet import Wallet

RECORD = 300  # bytes; a typical record
BASE_PORT = 24_000


def _wallets(parties: int) -> list[Wallet]:
    return [Wallet(bytes([n]) * 32) for n in range(1, parties + 1)]


def _start_emulator(folder: Path, wallets: list[Wallet]) -> subprocess.Popen[bytes]:
    participants = [x for w in wallets for x in ("--participant", w.key_hash.hex())]
    ports = ["--port", str(BASE_PORT + 1), "--control-port", str(BASE_PORT)]
    command = [sys.executable, "-m", "node.ledger.emulator", str(folder), *ports, *participants]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


async def _follow(ledger: HydraLedger, until: int) -> None:
    async for record in ledger.confirmed(0):
        if record.slot >= until:
            return


async def _write(ledger: HydraLedger, member: int, count: int) -> None:
    for n in range(count):
        await ledger.submit(b"%d:%d:" % (member, n) + bytes(RECORD))


async def _measure(wallets: list[Wallet], anchors: int) -> None:
    emulator = Emulator(f"http://127.0.0.1:{BASE_PORT}")
    await emulator.ready()
    members = [w.key_hash for w in wallets]
    nodes = [HydraNode(f"http://127.0.0.1:{BASE_PORT + n}") for n in range(1, len(wallets) + 1)]
    ledgers = [
        HydraLedger(node, wallet, members, deposit_scripts={EMULATED_SCRIPT})
        for node, wallet in zip(nodes, wallets, strict=True)
    ]
    each = anchors // len(wallets)
    total = each * len(wallets)
    async with trio.open_nursery() as nursery:
        for ledger in ledgers:
            await nursery.start(ledger.run)
        await ledgers[0].open_head()
        for ledger, wallet in zip(ledgers, wallets, strict=True):
            await ledger.deposit(await emulator.chain_utxo(wallet.address))
        start, worked = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as writers:
            for member, ledger in enumerate(ledgers, start=1):
                writers.start_soon(_write, ledger, member, each)
                writers.start_soon(_follow, ledger, total)
        spent = time.perf_counter() - start
        each_ms = (time.process_time() - worked) / total * 1000
        snapshots = ledgers[0].status().snapshot
        print(f"{total} anchors by {len(wallets)} parties: {total / spent:.0f}/s in {snapshots} snapshots")
        print(f"  CPU of all clients together: {each_ms:.2f} ms per anchor")
        nursery.cancel_scope.cancel()
    await emulator.aclose()
    await _replay(HydraNode(f"http://127.0.0.1:{BASE_PORT + 1}"), wallets[0], members, total)


async def _replay(node: HydraNode, wallet: Wallet, members: list[bytes], total: int) -> None:
    ledger = HydraLedger(node, wallet, members)
    start, worked = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(ledger.run)
        await _follow(ledger, total)
        spent, worked = time.perf_counter() - start, time.process_time() - worked
        print(f"{total} anchors replayed by a fresh client in {spent:.1f} s, {worked:.1f} s of its CPU")
        nursery.cancel_scope.cancel()


def main() -> int:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parties", type=int, default=3)
    parser.add_argument("--anchors", type=int, default=3000)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    wallets = _wallets(arguments.parties)
    with tempfile.TemporaryDirectory() as folder:
        process = _start_emulator(Path(folder), wallets)
        try:
            trio.run(_measure, wallets, arguments.anchors)
        finally:
            process.terminate()
            process.wait()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        each_ms = (usage.ru_utime + usage.ru_stime) / arguments.anchors * 1000
        print(f"  CPU of the emulated head, start and replay included: {each_ms:.2f} ms per anchor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
