"""Only words of a fixed list leave a node: whatever fails inside it, and whatever its operator writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import trio
from support.small_cohort import spec, write_shards

from node.config import load_config
from node.crypto.service import CryptoFailed, CryptoWorker
from node.daemon import Daemon
from node.demo import cohort
from node.engine.anchors import Anchors
from node.engine.objects import Objects
from node.envelope import Envelope, Label, Order
from node.learning.learner import Learner, LearnerFailed
from node.ledger.client import node as hydra
from node.ledger.client.node import HydraNode, NodeUnavailable
from node.network.muxer import GuardedYamux
from node.storage import Bucket, StorageUnavailable
from node.workers.process import WorkerLost
from protocol.encoding.errors import Malformed
from protocol.errors import OperatorFault
from protocol.manifest import Manifest
from protocol.messages import Decline, Message
from protocol.records import KeyAbandon, Record, Stop
from protocol.wire import Wire
from protocol.words import KeyReason, Reason

MARKER = "PATIENT-4711"
STUDY = "readmission of ward 12"
"""The job's name: its members know it, nobody else."""
PATIENCE = 240.0


@dataclass
class Outside:
    """Every byte that left a node: to peers (before noise encrypts it), and to the hydra-node. `failed` names
    what was made to fail; each fails once per member."""

    sent: list[bytes] = field(default_factory=list)
    ledger: list[bytes] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def breaks_once(outside: Outside, patch: pytest.MonkeyPatch, owner: type, method: str, error: Exception):
    """The first call at each instance raises; the rest do their work."""
    whole, broken = getattr(owner, method), set[int]()

    async def call(self: Any, *given: Any, **named: Any) -> Any:
        if id(self) in broken:
            return await whole(self, *given, **named)
        broken.add(id(self))
        outside.failed.append(f"{owner.__name__}.{method}")
        raise error

    patch.setattr(owner, method, call)


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    found = Outside()
    frame, request, say = GuardedYamux._write_frame, HydraNode.request, hydra._WebSocket.send

    async def write(self: GuardedYamux, data: bytes) -> None:
        found.sent.append(bytes(data))
        await frame(self, data)

    async def ask(self: HydraNode, method: str, path: str, body: object = None) -> tuple[int, Any]:
        found.ledger.append(f"{path} {body!r}".encode())
        return await request(self, method, path, body)

    async def tell(self: hydra._WebSocket, text: str) -> None:
        found.ledger.append(text.encode())
        await say(self, text)

    monkeypatch.setattr(hydra._WebSocket, "send", tell)
    monkeypatch.setattr(GuardedYamux, "_write_frame", write)
    monkeypatch.setattr(HydraNode, "request", ask)
    return found


class Pair:
    """Two whole daemons in this process, and the emulated head beside them."""

    def __init__(self, plan: cohort.Plan, daemons: list[Daemon]) -> None:
        self.plan = plan
        self.operators = [daemon._operator for daemon in daemons]

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await trio.sleep(0.05)

    async def proposed(self) -> str:
        """A job of member 1 that member 2 has heard of."""
        job = str((await self.operators[0].propose(spec(1, name=STUDY, deadlines=SHORT)))["job"])
        await self.until(lambda: job in self.jobs(2))
        return job

    def jobs(self, member: int) -> dict[str, dict[str, Any]]:
        return {each["job"]: each for each in self.operators[member - 1].jobs()}


SHORT = {"contribute_seconds": 20, "attest_seconds": 5}


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    plan = cohort.prepare(folder, "mnist", write_shards(folder, 2), threads=1, nice=0, accept="ask")
    head = cohort.Cohort(plan)
    try:
        await head._start_head()
        async with trio.open_nursery() as nursery:
            daemons = [Daemon(load_config(member.config)) for member in plan.members]
            for daemon in daemons:
                await nursery.start(daemon.run)
            yield Pair(plan, daemons)
            nursery.cancel_scope.cancel()
    finally:
        await head.stop()


def written(plan: cohort.Plan) -> dict[str, bytes]:
    """What lies in the buckets and in the head's folder."""
    places = [load_config(member.config).bucket_path for member in plan.members]
    files = [path for place in (*places, plan.folder / "head") for path in place.rglob("*")]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


def leaks(outside: Outside, plan: cohort.Plan) -> list[str]:
    mark, name = MARKER.encode(), STUDY.encode()
    sent = [str(data[:200]) for data in (*outside.sent, *outside.ledger) if mark in data]
    told = [str(data[:200]) for data in outside.ledger if name in data or name.hex().encode() in data]
    kept = written(plan).items()
    return sent + told + [path for path, data in kept if mark in data or MARKER in path or name in data]


async def test_a_failed_data_check_tells_the_others_one_word(tmp_path, outside, monkeypatch):
    text = f"could not convert string to float: '{MARKER}'"
    whole = Learner.load

    async def load(self: Learner) -> Any:
        if self._config.data == tmp_path / "data-2":
            raise OperatorFault(text, remedy=f"see /data/{MARKER}")
        return await whole(self)

    monkeypatch.setattr(Learner, "load", load)
    with structlog.testing.capture_logs() as logs:
        async with pair(tmp_path) as nodes:
            job = await nodes.proposed()
            with pytest.raises(OperatorFault, match=MARKER):
                await nodes.operators[1].accept(job)
            await nodes.until(lambda: nodes.jobs(1)[job]["phase"] == "declined")
            assert Reason.NOT_POSSIBLE.text in nodes.operators[0].job(job)["reason"]
            assert leaks(outside, nodes.plan) == []
    assert outside.sent
    assert outside.ledger
    assert any(STUDY.encode() in data for data in outside.sent), "members are told of the job"
    assert any(MARKER in str(line) for line in logs)


@pytest.mark.parametrize("word", ["decline", "stop"])
async def test_an_operators_own_words_stay_here(tmp_path, outside, monkeypatch, word):
    with structlog.testing.capture_logs() as logs:
        async with pair(tmp_path) as nodes:
            job = await nodes.proposed()
            if word == "stop":
                await nodes.operators[1].accept(job)
                await nodes.until(lambda: nodes.jobs(2)[job]["head"] == "ready")
                nodes.operators[0].stop(job, Reason.CONSENT, f"of {MARKER}")
                nodes.operators[1].stop(job, Reason.CONSENT, f"of {MARKER}")
                await nodes.until(lambda: nodes.jobs(1)[job]["phase"] == "aborted")
            else:
                nodes.operators[1].decline(job, Reason.CONSENT, f"of {MARKER}")
                await nodes.until(lambda: nodes.jobs(1)[job]["phase"] == "declined")
            assert Reason.CONSENT.text in nodes.operators[0].job(job)["reason"]
            assert leaks(outside, nodes.plan) == []
    assert any(MARKER in str(line) for line in logs)


@pytest.mark.slow
async def test_no_failure_inside_a_job_tells_more_than_a_word(tmp_path, outside, monkeypatch):
    lost = WorkerLost(f"while it read {MARKER}", f"KeyError: '{MARKER}'")
    breaks_once(outside, monkeypatch, CryptoWorker, "step_key", lost)
    breaks_once(outside, monkeypatch, Learner, "train", LearnerFailed(MARKER, MARKER))
    breaks_once(outside, monkeypatch, Learner, "evaluate", OperatorFault(MARKER))
    breaks_once(outside, monkeypatch, CryptoWorker, "ask", CryptoFailed(MARKER))
    breaks_once(outside, monkeypatch, Bucket, "put", StorageUnavailable(MARKER))
    breaks_once(outside, monkeypatch, Bucket, "grant", StorageUnavailable(MARKER))
    breaks_once(outside, monkeypatch, Objects, "serve", OSError(MARKER))
    breaks_once(outside, monkeypatch, Anchors, "_deposit", NodeUnavailable(MARKER))
    with structlog.testing.capture_logs() as logs:
        async with pair(tmp_path) as nodes:
            job = await nodes.proposed()
            await nodes.operators[1].accept(job)
            await nodes.until(lambda: all(nodes.jobs(member)[job]["opened"] for member in (1, 2)))
            await nodes.until(lambda: all(nodes.jobs(member)[job]["over"] for member in (1, 2)))
            assert leaks(outside, nodes.plan) == []
    told = {line["event"] for line in logs if MARKER in str(line)}
    assert {
        "KeyAttemptFailed",
        "ContributionFailed",
        "OwnBucketUnavailable",
        "GrantFailed",
        "DepositFailed",
    } <= told
    assert {"CryptoWorker.step_key", "Learner.train", "CryptoWorker.ask", "Bucket.put"} <= {*outside.failed}


def wire_types(kind: type, seen: set[type]) -> Iterator[tuple[str, Any]]:
    """Every field of a wire type and of what it holds, but for the manifest, which is the proposal itself."""
    if kind in seen or kind is Manifest:
        return
    seen.add(kind)
    for given in msgspec.structs.fields(kind):
        yield f"{kind.__name__}.{given.name}", msgspec.inspect.type_info(given.type)
    for found in parts(msgspec.inspect.type_info(kind)):
        if isinstance(found, msgspec.inspect.StructType) and issubclass(found.cls, Wire):
            yield from wire_types(found.cls, seen)


def parts(info: Any) -> Iterator[Any]:
    """A type's description and those within it."""
    yield info
    if isinstance(info, msgspec.inspect.StructType):
        if info.cls is Manifest:
            return
        within = [each.type for each in info.fields]
    else:
        within = [*getattr(info, "types", ()), *getattr(info, "item_types", ())]
        within += [info.item_type] if hasattr(info, "item_type") else []
    for each in within:
        yield from parts(each)


def test_nothing_that_a_node_says_of_itself_has_room_for_free_text():
    told = [field for kind in (Record, Message, Envelope, Label, Order) for field in wire_types(kind, set())]
    names = {name for name, _ in told}
    assert {"KeyAbandon.reason", "Stop.reason", "Decline.reason", "Grant.token"} <= names
    texts = {
        name
        for name, info in told
        for part in parts(info)
        if isinstance(part, msgspec.inspect.StrType) and part.pattern is None
    }
    assert texts == set()


@pytest.mark.parametrize("text", [MARKER, "", "operator ", "OPERATOR"])
def test_another_text_is_refused_at_the_door(text: str):
    job = bytes(32)
    for good, word in (
        (Message(Decline(job, Reason.OPERATOR)), Reason.OPERATOR),
        (Record(1, job, 1, 1, job, 0, job, Stop(Reason.OPERATOR)), Reason.OPERATOR),
        (Record(1, job, 1, 1, job, 0, job, KeyAbandon(1, 0, KeyReason.TOO_LONG)), KeyReason.TOO_LONG),
    ):
        known = msgspec.msgpack.encode(word.value)
        assert type(good).from_bytes(good.to_bytes()) == good
        forged = good.to_bytes().replace(known, msgspec.msgpack.encode(text))
        assert forged != good.to_bytes()
        with pytest.raises(Malformed):
            type(good).from_bytes(forged)
