"""A node that only pretends, behind a real control socket: for tests of the socket and the command line."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import trio

from node.control.server import ControlServer
from protocol.errors import MemberFault, OperatorFault
from protocol.thresholds import Thresholds
from protocol.words import Reason

JOB = "3fe1" + 60 * "0"
OTHER_JOB = "3fe2" + 60 * "0"

STATUS = {
    "name": "clinic-a",
    "version": "0.1.0",
    "peer": "12D3KooWAlpha",
    "addresses": ["/ip4/127.0.0.1/tcp/4711"],
    "uptime_seconds": 4000.0,
    "peers_up": 1,
    "peers": 2,
    "learner": "confined (Landlock ABI 4, no network)",
    "events": {"DaemonReady": 1, "PeerConnected": 3},
    "warnings": [
        {
            "alert": "StarlingMemberMissing",
            "text": "clinic-c\x1b[31m is not connected",
            "remedy": "call that member's operator",
        }
    ],
}

TRANSFER = {
    "job": JOB,
    "direction": "down",
    "object": "ef" * 32,
    "place": "bucket of member 2",
    "moved_bytes": 12_000_000,
    "size_bytes": 48_000_000,
    "rate": 4_000_000,
    "seconds": 3.0,
}

SUMMARY = {
    "job": JOB,
    "name": "digits",
    "me": 1,
    "members": 3,
    "phase": "running",
    "head": "ready",
    "accepted": True,
    "round": 2,
    "rounds": 5,
    "opened": 1,
    "waits_for": "members' updates (3)",
    "paused": False,
    "over": False,
    "learnt": "sums only",
    "trouble": "",
}

VIEW = SUMMARY | {
    "reason": "",
    "task": "mnist",
    "parameters": {"model": "cnn3"},
    "key_profile": "fast",
    "key": "ab" * 32,
    "model": "cd" * 32,
    "thresholds": {"colluders": 1, "shares": 2, "quorum": 3},
    "terms": Thresholds(1, 2, 3).in_words(3),
    "disclosed": Thresholds(1, 2, 3).learnt(3),
    "roster": [
        {"index": index, "name": f"clinic-{name}", "joined": True, "keyed": True, "committed": index < 3}
        for index, name in enumerate("abc", 1)
    ],
    "slots": 17,
    "settled": False,
    "progress": {},
    "transfers": [TRANSFER],
    "folder": "/var/lib/starling/jobs/3fe1",
}

ROUNDS = [
    {
        "round": 1,
        "outcome": "opened",
        "model": "cd" * 32,
        "members": [1, 2, 3],
        "metrics": {"accuracy": 0.9712, "loss": float("nan")},
        "seconds": {"train": 61.2, "store": 0.25},
    }
]

PEERS = [
    {
        "name": "clinic-b",
        "peer": "12D3KooWBeta",
        "addresses": [],
        "connected": True,
        "round_trip_seconds": 0.012,
        "bytes_in": 1_200_000,
        "bytes_out": 0,
        "clock_ahead_seconds": -0.25,
        "last_error": None,
    },
    {"name": "clinic-c\x1b[31m", "peer": "12D3KooWGamma", "addresses": [], "connected": False},
]


class FakeNode:
    """Answers like a node with one running job. `calls` remembers what it was asked to do; unless it
    `writes`, what it exports lies where its caller cannot see it.
    """

    def __init__(self) -> None:
        self.writes = True
        self.calls: list[tuple[Any, ...]] = []
        self.stopped = trio.Event()
        self.listeners: list[trio.MemorySendChannel[dict[str, Any]]] = []
        self.listened = trio.Event()
        self.token = trio.lowlevel.current_trio_token()

    def status(self) -> dict[str, Any]:
        return STATUS | {"jobs": [SUMMARY], "head": self.head(), "transfers": [TRANSFER]}

    async def card(self) -> dict[str, Any]:
        return {
            "name": "clinic-a",
            "hydra": "ab" * 32,
            "peer": "12D3KooWAlpha",
            "addresses": ["/ip4/0.0.0.0/tcp/4711"],
        }

    def peers(self) -> list[dict[str, Any]]:
        return PEERS

    async def add_peer(self, card: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append(("add_peer", dict(card)))
        if "name" not in card:
            raise OperatorFault("this is not a member's card", remedy="use the output of `starling card`")
        return {"contact": 1, "name": card["name"]}

    async def remove_peer(self, name: str) -> dict[str, Any]:
        raise OperatorFault(f"no peer is called {name!r}", remedy="see `starling peers`")

    async def propose(self, spec: Mapping[str, Any], *, reuse_data: bool = False) -> dict[str, Any]:
        self.calls.append(("propose", dict(spec)))
        return SUMMARY

    def jobs(self) -> list[dict[str, Any]]:
        return [SUMMARY]

    def job(self, prefix: str) -> dict[str, Any]:
        if not JOB.startswith(prefix):
            raise OperatorFault(f"no job begins with {prefix!r}", remedy="see `starling job list`")
        return VIEW

    def rounds(self, prefix: str) -> list[dict[str, Any]]:
        return ROUNDS

    async def accept(
        self, prefix: str, *, acknowledge_leaks: bool = False, reuse_data: bool = False
    ) -> dict[str, Any]:
        self.calls.append(("accept", prefix, acknowledge_leaks, reuse_data))
        raise MemberFault("its proposal has another key for this node", member=2)

    async def clean(self, prefix: str) -> dict[str, Any]:
        self.calls.append(("clean", prefix))
        return {"job": JOB, "removed": 3, "bytes": 4096, "left": 0, "files": 5, "file_bytes": 8192}

    def decline(self, prefix: str, reason: Reason, note: str) -> dict[str, Any]:
        self.calls.append(("decline", prefix, reason, note))
        return SUMMARY

    async def pause(self, prefix: str) -> dict[str, Any]:
        self.calls.append(("pause", prefix))
        return SUMMARY | {"paused": True}

    async def resume(self, prefix: str) -> dict[str, Any]:
        raise OperatorFault("the job is not paused", remedy="see `starling job show`")

    def stop(self, prefix: str, reason: Reason, note: str) -> dict[str, Any]:
        raise ZeroDivisionError("a bug with the canary secret 4711")

    async def export_model(self, prefix: str, path: str) -> dict[str, Any]:
        self.calls.append(("export_model", prefix, path))
        if self.writes:
            Path(path).write_bytes(b"model")
        return {"path": path}

    def head(self, prefix: str | None = None) -> dict[str, Any]:
        if prefix is None:
            return {"state": "open", "waits_for": "", "slot": 17}
        settlement = [{"member": "clinic-b", "last_record": "aa" * 32, "on_chain": True}]
        return {"state": "finalised", "waits_for": "", "job": JOB, "slot": 41, "settlement": settlement}

    def storage(self) -> dict[str, Any]:
        moved = {"job": JOB, "fetched_bytes": 2_000_000, "sent_bytes": 10, "grants": [2, 3]}
        moved |= {"fetch_rate": 5_000_000, "send_rate": None}
        return {"kind": "directory", "place": "/srv/bucket", "transfers": [TRANSFER], "jobs": [moved]}

    def subscribe(self, prefix: str | None) -> trio.MemoryReceiveChannel[dict[str, Any]]:
        send, receive = trio.open_memory_channel[dict[str, Any]](1000)
        self.listeners.append(send)
        self.listened.set()
        return receive

    def shutdown(self) -> None:
        self.stopped.set()


@contextlib.contextmanager
def served(path: Path) -> Iterator[FakeNode]:
    """A fake node at the socket `path`, in a thread of its own; it also ends when it is shut down."""
    started, made = threading.Event(), []

    async def serve() -> None:
        node = FakeNode()
        async with trio.open_nursery() as nursery:
            await nursery.start(ControlServer(node, path).run)
            made.append(node)
            started.set()
            await node.stopped.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert started.wait(30)
        yield made[0]
    finally:
        with contextlib.suppress(trio.RunFinishedError):
            made[0].token.run_sync_soon(made[0].stopped.set)
        thread.join(30)
        assert not thread.is_alive()
