"""The blocking client, and the examples of the control socket's page."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import trio
from support.fake_node import FakeNode, served

from node.control import limits
from node.control.client import Client
from node.control.errors import Unreachable
from node.control.methods import NAMES
from protocol.errors import OperatorFault, StarlingError

PAGE = (Path(__file__).parents[3] / "node" / "control" / "README.md").read_text()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s" / "control.sock"


def tell(node: FakeNode, event: dict[str, object]) -> None:
    """Have the first listener hear an event, from this thread."""
    trio.from_thread.run_sync(node.listeners[0].send_nowait, event, trio_token=node.token)


def once_listened(node: FakeNode, event: dict[str, object]) -> threading.Thread:
    """A thread that tells an event as soon as somebody listens."""

    async def wait() -> None:
        await node.listened.wait()
        node.listeners[0].send_nowait(event)

    thread = threading.Thread(target=lambda: trio.from_thread.run(wait, trio_token=node.token))
    thread.start()
    return thread


def test_calls_and_events_share_a_connection(path: Path):
    with served(path) as node, Client(path) as client:
        client.subscribe()
        tell(node, {"event": "Train", "round": 1})
        assert client.call("status")["name"] == "clinic-a"
        assert client.next_event(30) == {"event": "Train", "round": 1}
        assert client.next_event(0.01) is None


def test_errors_are_typed(path: Path):
    with served(path), Client(path) as client, pytest.raises(OperatorFault) as refused:
        client.call("remove_peer", name="x")
    assert refused.value.remedy == "see `starling peers`"


def test_a_node_that_stops_ends_the_events(path: Path):
    with served(path) as node, Client(path) as client:
        client.subscribe()
        trio.from_thread.run_sync(node.shutdown, trio_token=node.token)
        with pytest.raises(Unreachable):
            client.next_event(30)


@pytest.mark.parametrize("answer", [b"", b"hello\n", b"[]\n", b'{"jsonrpc": "2.0"', b"\xff\n"])
def test_something_else_at_the_socket_is_an_error(path: Path, answer: bytes):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def impostor() -> None:
            with listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=impostor)
        thread.start()
        with Client(path) as client, pytest.raises(StarlingError):
            client.call("status")
        thread.join()


def test_an_endless_answer_is_cut_off(path: Path, monkeypatch):
    monkeypatch.setattr("node.control.client.MAX_ANSWER_BYTES", 1000)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with Client(path) as client:
            connection = listener.accept()[0]
            connection.sendall(bytes(5000))
            with pytest.raises(Unreachable, match="too large"):
                client.call("status")
            connection.close()


def test_a_silent_node_is_given_up(path: Path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with Client(path, seconds=0.01) as client, pytest.raises(Unreachable, match="did not answer"):
            client.call("status")


def test_the_python_examples_run(path: Path):
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    printed = io.StringIO()
    with served(path) as node, redirect_stdout(printed):
        teller = once_listened(node, {"event": "Train", "round": 1})
        names = {"socket": str(path)}
        for example in examples:
            exec(compile(example, "example", "exec"), names)  # noqa: S102
        teller.join()
    assert printed.getvalue().splitlines() == [
        "clinic-a",
        "digits running waits for members' updates (3)",
        "no peer is called 'nobody' → see `starling peers`",
        "Train 1",
    ]


def test_the_wire_example_is_what_happens(path: Path):
    (example,) = re.findall(r"```wire\n(.*?)```", PAGE, re.DOTALL)
    with served(path) as node, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        file = client.makefile()
        for line in example.splitlines():
            direction, _, text = line.partition(" ")
            if direction == "→":
                client.sendall(text.encode() + b"\n")
                continue
            if "v1.event" in text:
                tell(node, {"event": "Train", "round": 1})
            assert json.loads(file.readline()) == json.loads(text)


def test_the_page_lists_the_methods_and_limits():
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == NAMES
    assert f"at most {limits.MAX_REQUEST_BYTES // 1024} KiB" in PAGE
    assert f"{limits.MAX_CONNECTIONS} connections, with {limits.MAX_SUBSCRIPTIONS} subscriptions" in PAGE
    assert f"{limits.REQUESTS_PER_SECOND:.0f} requests" in PAGE
    assert (limits.MAX_FAULTS, limits.IDLE_SECONDS, limits.SEND_SECONDS) == (10, 600, 5)
