"""The control socket against its own client, other clients, and junk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fake_node import FakeNode

from node.control import limits
from node.control.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    LIMIT,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    NodeFailed,
    RequestRefused,
    Unreachable,
)
from node.control.server import ControlServer
from node.control.trio_client import connect
from protocol.errors import MemberFault, OperatorFault
from protocol.words import Reason


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[FakeNode]:
    node = FakeNode()
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(node, path).run)
        yield node
        nursery.cancel_scope.cancel()


async def exchange(path: Path, sent: bytes) -> list[dict[str, Any]]:
    """All that a server answers to raw bytes, until it closes or the client's end is reached."""
    async with await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(sent)
        stream.socket.shutdown(socket.SHUT_WR)
        received = b"".join([piece async for piece in stream])
    return [json.loads(line) for line in received.splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s" / "control.sock"


async def test_methods_answer_and_take_parameters_by_name(path: Path):
    async with serving(path) as node, connect(path) as client:
        assert (await client.call("status"))["name"] == "clinic-a"
        assert await client.call("add_peer", card={"name": "b"}) == {"contact": 1, "name": "b"}
        assert (await client.call("job", job="3fe1"))["task"] == "mnist"
        await client.call("decline", job="3fe1", reason="consent", note="no data")
        await client.call("export_model", job="3fe1", path="/x.npz")
    assert node.calls == [
        ("add_peer", {"name": "b"}),
        ("decline", "3fe1", Reason.CONSENT, "no data"),
        ("export_model", "3fe1", "/x.npz"),
    ]


async def test_numbers_that_json_lacks_are_null(path: Path):
    async with serving(path), connect(path) as client:
        assert (await client.call("rounds", job="3fe1"))[0]["metrics"]["loss"] is None


async def test_errors_keep_whose_fault_they_are(path: Path):
    async with serving(path), connect(path) as client:
        with pytest.raises(OperatorFault) as operator:
            await client.call("remove_peer", name="x")
        assert (operator.value.what, operator.value.remedy) == (
            "no peer is called 'x'",
            "see `starling peers`",
        )
        with pytest.raises(MemberFault) as member:
            await client.call("accept", job="3fe1")
        assert member.value.member == 2


async def test_a_bug_in_the_node_is_told_without_details_and_survived(path: Path, capsys):
    async with serving(path), connect(path) as client:
        with pytest.raises(NodeFailed) as bug:
            await client.call("stop", job="3fe1")
        assert "canary" not in str(bug.value)
        assert (await client.call("status"))["name"] == "clinic-a"
    logged = capsys.readouterr().out
    assert "ControlRequestFailed" in logged
    assert "ZeroDivisionError" in logged
    assert "canary" not in logged


async def test_a_full_disk_is_said_to_be_one_and_no_bug(path: Path):
    class Full(FakeNode):
        async def add_peer(self, card: Any) -> dict[str, Any]:
            raise OSError(errno.ENOSPC, "No space left on device", "/a/secret/path")

    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(Full(), path).run)
        async with connect(path) as client:
            with pytest.raises(OperatorFault, match=r"No space left on device \(make room") as refused:
                await client.call("add_peer", card={})
        assert "secret" not in str(refused.value)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("nonsense", {}, METHOD_NOT_FOUND),
        ("status", {"extra": 1}, INVALID_PARAMS),
        ("job", {}, INVALID_PARAMS),
        ("job", {"job": "3f"}, INVALID_PARAMS),
        ("job", {"job": "../x"}, INVALID_PARAMS),
        ("export_model", {"job": "3fe1", "path": "relative"}, INVALID_PARAMS),
        ("unsubscribe", {"subscription": 5}, LIMIT),
    ],
)
async def test_wrong_calls_are_refused_with_a_remedy(path: Path, method: str, params: dict, code: int):
    async with serving(path), connect(path) as client:
        with pytest.raises(RequestRefused) as refused:
            await client.call(method, **params)
    assert refused.value.code == code


async def test_events_come_until_the_job_ends(path: Path):
    async with serving(path) as node, connect(path) as client:
        events = await client.subscribe("3fe1")
        node.listeners[0].send_nowait({"event": "Train", "round": 1})
        assert await events.receive() == {"event": "Train", "round": 1}
        node.listeners[0].close()
        with pytest.raises(trio.EndOfChannel):
            await events.receive()


async def test_unsubscribing_ends_the_events_and_frees_the_place(path: Path):
    async with serving(path) as node, connect(path) as client:
        for _ in range(2 * limits.MAX_SUBSCRIPTIONS):
            events = await client.subscribe()
            await client.call("unsubscribe", subscription=len(node.listeners))
            with pytest.raises(trio.EndOfChannel):
                await events.receive()
        with pytest.raises(trio.BrokenResourceError):
            node.listeners[0].send_nowait({})


async def test_unsubscribing_amid_an_event_leaves_no_half_line(path: Path):
    unsubscribe = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "starling.v1.unsubscribe",
        "params": {"subscription": 1},
    }
    async with serving(path) as node, await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(b'{"jsonrpc": "2.0", "id": 1, "method": "starling.v1.subscribe"}\n')
        await node.listened.wait()
        node.listeners[0].send_nowait({"event": "x" * 5_000_000})
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(json.dumps(unsubscribe).encode() + b"\n")
        await trio.testing.wait_all_tasks_blocked()
        received = b""
        with trio.fail_after(30):
            while received.count(b"\n") < 4:
                received += await stream.receive_some()
    answers = [json.loads(line) for line in received.splitlines()]
    assert [answer.get("id", answer.get("method")) for answer in answers[:2]] == [1, "starling.v1.event"]
    assert {answer.get("id", answer.get("method")) for answer in answers[2:]} == {2, "starling.v1.ended"}


async def test_an_event_that_json_cannot_hold_ends_that_connection_only(path: Path, capsys):
    async with serving(path) as node, connect(path) as client:
        events = await client.subscribe()
        node.listeners[0].send_nowait({"event": object()})
        with pytest.raises(trio.EndOfChannel):
            await events.receive()
        async with connect(path) as another:
            await another.call("status")
    assert "ControlSessionFailed" in capsys.readouterr().out


async def test_subscriptions_of_a_connection_are_limited(path: Path):
    async with serving(path), connect(path) as client:
        for _ in range(limits.MAX_SUBSCRIPTIONS):
            await client.subscribe()
        with pytest.raises(RequestRefused, match="too many subscriptions"):
            await client.subscribe()


async def test_a_client_that_leaves_ends_its_subscriptions(path: Path):
    async with serving(path) as node:
        async with connect(path) as client:
            await client.subscribe()
        with trio.fail_after(30):
            while node.listeners[0].statistics().open_receive_channels:
                await trio.lowlevel.checkpoint()


async def test_shutdown_is_answered_before_the_node_ends(path: Path):
    node = FakeNode()
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(node, path).run)
        node.shutdown = nursery.cancel_scope.cancel  # type: ignore[method-assign]
        request = b'{"jsonrpc": "2.0", "id": 1, "method": "starling.v1.shutdown"}\n'
        with trio.CancelScope(shield=True):
            answers = await exchange(path, request)
    assert answers == [{"jsonrpc": "2.0", "id": 1, "result": None}]
    assert not path.exists()


async def test_a_notification_gets_no_answer(path: Path):
    request = b'{"jsonrpc": "2.0", "method": "starling.v1.decline", "params": {"job": "3fe1"}}\n'
    async with serving(path) as node:
        assert await exchange(path, request) == []
        assert node.calls == [("decline", "3fe1", Reason.OPERATOR, "")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"hello", PARSE_ERROR),
        (b"\xff\xfe", PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "method": "x", "params": {"deep": ' + b"[" * 100_000, PARSE_ERROR),
        (b"[]", INVALID_REQUEST),
        (b'{"jsonrpc": "1.0", "method": "x", "id": 1}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "method": "x", "id": 1, "params": [1]}', INVALID_REQUEST),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_goes_on(path: Path, line: bytes, code: int):
    good = b'{"jsonrpc": "2.0", "id": 7, "method": "starling.v1.head"}'
    async with serving(path):
        refused, answered = await exchange(path, line + b"\n" + good + b"\n")
    assert (refused["id"], refused["error"]["code"]) == (None, code)
    assert answered["id"] == 7


async def test_a_line_without_end_is_cut_off(path: Path):
    async with serving(path):
        async with await trio.open_unix_socket(str(path)) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(bytes(100 * limits.MAX_REQUEST_BYTES))
        async with connect(path) as client:
            await client.call("status")


async def test_a_client_of_another_protocol_is_dropped(path: Path):
    async with serving(path):
        answers = await exchange(path, b"GET / HTTP/1.1\r\n" * 100)
    assert len(answers) == limits.MAX_FAULTS


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_junk_costs_the_node_nothing(junk: bytes, tmp_path: Path):
    async def attempt() -> None:
        path = tmp_path / "junk" / "control.sock"
        async with serving(path):
            await exchange(path, junk + b"\n")
            async with connect(path) as client:
                assert (await client.call("head"))["state"] == "open"

    trio.run(attempt)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    params=st.dictionaries(
        st.sampled_from(["job", "reason", "card", "spec", "path", "name"]) | st.text(max_size=5),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
        ),
        max_size=3,
    ),
    method=st.sampled_from(["job", "decline", "add_peer", "propose", "subscribe", "rounds"]),
)
def test_any_parameters_get_an_answer(params: dict, method: str, tmp_path: Path):
    request = {"jsonrpc": "2.0", "id": 1, "method": f"starling.v1.{method}", "params": params}

    async def attempt() -> list[dict[str, Any]]:
        path = tmp_path / "any" / "control.sock"
        async with serving(path):
            return await exchange(path, json.dumps(request).encode() + b"\n")

    (answer, *_) = trio.run(attempt)
    assert answer["id"] == 1
    assert ("result" in answer) != ("error" in answer)


async def test_connections_are_limited(path: Path):
    async with serving(path), trio.open_nursery() as nursery:
        for _ in range(limits.MAX_CONNECTIONS):
            await nursery.start(hold, path)
        (answer,) = await exchange(path, b"")
        assert answer["error"]["code"] == LIMIT
        nursery.cancel_scope.cancel()


async def hold(path: Path, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    async with connect(path) as client:
        await client.call("head")
        task_status.started()
        await trio.sleep_forever()


async def test_a_client_that_does_not_read_is_cut_off(path: Path, monkeypatch):
    monkeypatch.setattr(limits, "SEND_SECONDS", 0.05)
    async with serving(path) as node, await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(b'{"jsonrpc": "2.0", "id": 1, "method": "starling.v1.subscribe"}\n')
        await node.listened.wait()
        with pytest.raises(trio.BrokenResourceError):
            await flood(node.listeners[0])


async def flood(listener: trio.MemorySendChannel[dict[str, Any]]) -> None:
    with trio.fail_after(30):
        while True:
            await listener.send({"event": "x" * 10_000})


async def test_a_silent_client_is_closed_but_a_listening_one_is_not(path: Path, monkeypatch):
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.05)
    async with serving(path) as node:
        async with await trio.open_unix_socket(str(path)) as silent:
            assert await silent.receive_some() == b""
        async with connect(path) as client:
            events = await client.subscribe()
            async with await trio.open_unix_socket(str(path)) as later:
                assert await later.receive_some() == b""
            node.listeners[0].send_nowait({"event": "Train"})
            assert await events.receive() == {"event": "Train"}


async def test_a_fast_client_is_slowed_down_not_refused(path: Path, monkeypatch):
    monkeypatch.setattr(limits, "BURST", 1)
    monkeypatch.setattr(limits, "REQUESTS_PER_SECOND", 1000.0)
    async with serving(path), connect(path) as client:
        before = trio.current_time()
        for _ in range(21):
            await client.call("head")
        assert trio.current_time() - before >= 0.019


async def test_the_socket_is_for_its_owner_alone(path: Path):
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_refused_even_where_the_files_let_it_in(path: Path):
    async with serving(path):
        path.chmod(0o666)
        path.parent.chmod(0o711)
        with socket.socket(socket.AF_UNIX) as stranger:
            connect_as(65534, stranger, path)
            answer = await trio.to_thread.run_sync(stranger.recv, 65536)
    assert json.loads(answer)["error"]["message"] == "user 65534 may not control this node"


def connect_as(user: int, client: socket.socket, path: Path) -> None:
    """The kernel remembers who a process was when it connected."""
    with contextlib.chdir(path.parent):
        os.seteuid(user)
        try:
            client.connect(path.name)
        finally:
            os.seteuid(0)


async def test_a_socket_of_a_dead_node_is_replaced(path: Path):
    path.parent.mkdir(mode=0o700)
    command = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
    subprocess.run([sys.executable, "-c", command, str(path)], check=True)
    async with serving(path), connect(path) as client:
        await client.call("status")


async def test_a_second_node_at_the_same_socket_is_refused(path: Path):
    async with serving(path), connect(path) as client:
        with pytest.raises(OperatorFault, match="listens at"):
            await ControlServer(FakeNode(), path).run()
        await client.call("status")


async def test_a_directory_that_others_may_enter_is_refused(path: Path):
    path.parent.mkdir(mode=0o755)
    with pytest.raises(OperatorFault, match="chmod 700"):
        await ControlServer(FakeNode(), path).run()


async def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path):
    with pytest.raises(OperatorFault, match="longer than 107 bytes"):
        await ControlServer(FakeNode(), tmp_path / ("x" * 100) / "control.sock").run()


async def test_nobody_there_is_unreachable(path: Path):
    with pytest.raises(Unreachable):
        async with connect(path):
            pass


async def test_calls_that_wait_learn_that_the_node_is_gone(path: Path):
    asked = trio.Event()

    class Slow(FakeNode):
        async def propose(self, spec: Any, *, reuse_data: bool = False) -> dict[str, Any]:
            asked.set()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server_scope = trio.CancelScope()

        async def serve(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            with server_scope:
                await ControlServer(Slow(), path).run(task_status=task_status)

        await nursery.start(serve)
        async with connect(path) as client:

            async def stop_it() -> None:
                await asked.wait()
                server_scope.cancel()

            nursery.start_soon(stop_it)
            with pytest.raises(Unreachable):
                await client.call("propose", spec={})


def test_the_fake_node_is_like_the_real_one():
    """Both have the methods that the socket calls, so that these tests say something about the node."""
    from node.control.api import Node
    from node.operator import Operator

    methods = {name for name in vars(Node) if not name.startswith("_")}
    for name in methods:
        assert callable(getattr(Operator, name))
        assert callable(getattr(FakeNode, name))
