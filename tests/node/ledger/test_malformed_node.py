"""What answers at a hydra-node's address may be anything: the client says so, and tries again."""

from __future__ import annotations

import base64
import hashlib
import json
import socket

import pytest
import structlog
import trio

from node.ledger.client.ledger import HydraLedger
from node.ledger.client.node import HydraNode
from node.ledger.client.session import Timing
from node.ledger.errors import NodeUnavailable, WrongAddress
from node.ledger.interface import LedgerState, Stalled, StallReason
from node.ledger.wallet import Wallet
from protocol.errors import OperatorFault

WALLET = Wallet(b"\x01" * 32)
QUICK = Timing(poll=0.02, greeting=0.5, unreachable=0.01, backoff_first=0.01, backoff_last=0.05)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
BIG = b"9" * 5000


def _accept(request):
    [key] = [
        line[19:].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    ]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324
    return SWITCH + b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n"


def _frame(payload, opcode=1):
    length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + payload


def _after(*frames: bytes):
    return lambda request: _accept(request) + b"\r\n" + b"".join(frames)


def _greeting(**changes: object):
    fields = {
        "tag": "Greetings",
        "me": {"vkey": "00"},
        "headStatus": "Open",
        "hydraHeadId": "ab" * 28,
        "hydraNodeVersion": "2.3.0",
    }
    return _after(_frame(json.dumps({**fields, **changes}).encode()))


ANSWERS = {
    "nothing": b"",
    "noise": b"\x00\xff\xfe\x16\x03\x01" * 40,
    "another protocol": b"SSH-2.0-OpenSSH_9.7\r\n",
    "http 0.9": b"<html>hello</html>",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 1010 Switching\r\n\r\n",
    "http 3.7": b"HTTP/3.7 101 Switching Protocols\r\n\r\n",
    "a page": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "not found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "no headers": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "no accept": SWITCH + b"\r\n",
    "a wrong accept": SWITCH + b"Sec-WebSocket-Accept: AAAA\r\n\r\n",
    "accept of raw bytes": SWITCH + b"Sec-WebSocket-Accept: \xff\xfe\xfd\r\n\r\n",
    "upgrade to something else": lambda request: _accept(request).replace(b"websocket", b"h2c") + b"\r\n",
    "no upgrade": lambda request: _accept(request).replace(b"Upgrade: websocket\r\n", b"") + b"\r\n",
    "an extension": lambda request: _accept(request) + b"Sec-WebSocket-Extensions: nonsense; x=\xff\r\n\r\n",
    "a subprotocol": lambda request: _accept(request) + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
    "a header without a colon": lambda request: _accept(request) + b"no colon\r\n\r\n",
    "a header with a zero byte": lambda request: _accept(request) + b"X: a\x00b\r\n\r\n",
    "a folded header": lambda request: _accept(request) + b"X: a\r\n\tb\r\n\r\n",
    "a header of a megabyte": SWITCH + b"X: " + b"x" * 2**20 + b"\r\n\r\n",
    "two lengths": b"HTTP/1.1 400 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length of letters": b"HTTP/1.1 400 No\r\nContent-Length: many\r\n\r\n",
    "a length of many digits": b"HTTP/1.1 400 No\r\nContent-Length: " + BIG + b"\r\n\r\n",
    "bad chunks": b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an unknown encoding": b"HTTP/1.1 400 No\r\nTransfer-Encoding: secret\r\n\r\n",
    "a cut answer": b"HTTP/1.1 101 Switching Proto",
    "a masked frame": _after(b"\x81\x82\x00\x00\x00\x00hi"),
    "reserved bits": _after(b"\xf1\x02hi"),
    "an unknown opcode": _after(b"\x8b\x00"),
    "a frame of 2**62 bytes": _after(b"\x81\x7f\x40" + bytes(7)),
    "text that is none": _after(b"\x81\x02\xff\xfe"),
    "a continuation of nothing": _after(b"\x80\x02hi"),
    "a long ping": _after(_frame(bytes(200), 9)),
    "a close of one byte": _after(_frame(b"\x03", 8)),
    "a close with a wrong code": _after(_frame(b"\x00\x01bye", 8)),
    "a close with a wrong reason": _after(_frame(b"\x03\xe8\xff\xfe", 8)),
    "an empty message": _after(_frame(b"")),
    "no object": _after(_frame(b"[]")),
    "deep nesting": _after(_frame(b"[" * 60_000)),
    "numbers that are none": _greeting(seq=float("inf"), hydraHeadId=float("nan")),
    "a huge number": _after(_frame(b'{"tag":"Greetings","seq":' + BIG + b"}")),
    "greetings of another shape": _greeting(env=[1], networkInfo=7, me=None),
    "greetings of an unknown head": _greeting(),
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr("node.ledger.client.node.CONNECT_TIMEOUT", 0.3)


class Impostor:
    """Answers every connection with the same bytes, then hangs up. `asked` counts the connections."""

    def __init__(self, answer) -> None:
        self._answer = answer
        self.asked = 0
        self.url = ""

    async def run(self, task_status):
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream):
        self.asked += 1
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                got = await stream.receive_some()
                if not got:
                    return
                request += got
            answer = self._answer
            if callable(answer):
                answer = (
                    answer(request) if b"Sec-WebSocket-Key" in request else b"HTTP/1.1 200 OK\r\n\r\n[1e999"
                )
            try:
                await stream.send_all(answer)
                stream.socket.shutdown(socket.SHUT_WR)
                while await stream.receive_some():
                    pass
            except (trio.BrokenResourceError, OSError):
                pass


@pytest.mark.parametrize("kind", ANSWERS)
async def test_a_malformed_answer_is_said_and_tried_again(nursery, kind):
    impostor = Impostor(ANSWERS[kind])
    await nursery.start(impostor.run)
    ledger = HydraLedger(HydraNode(impostor.url), WALLET, [WALLET.key_hash], timing=QUICK)
    with structlog.testing.capture_logs() as logs, trio.fail_after(120):
        await nursery.start(ledger.run)
        while impostor.asked < 4 or ledger.status().state is not LedgerState.STALLED:
            await trio.sleep(0.005)
    assert "hydra-node" in ledger.status().waits_for
    assert {entry["event"] for entry in logs} >= {"LedgerConnectionLost", "HeadStalled"}
    assert "LedgerFault" not in {entry["event"] for entry in logs}
    assert ledger.status().slot == 0


@pytest.mark.parametrize("kind", [kind for kind, answer in ANSWERS.items() if isinstance(answer, bytes)])
async def test_a_malformed_answer_to_a_request_is_an_error_with_a_name(nursery, kind):
    impostor = Impostor(ANSWERS[kind])
    await nursery.start(impostor.run)
    node = HydraNode(impostor.url)
    with trio.fail_after(120):
        try:
            status, _ = await node.request("GET", "/head")
        except NodeUnavailable as error:
            status = str(error)
    assert impostor.url in str(status) or kind in ("a page", "not found", "elsewhere") or status >= 400
    await node.aclose()


async def test_an_answer_that_only_trickles_has_an_end(nursery, monkeypatch):
    monkeypatch.setattr("node.ledger.client.node.ANSWER_TIMEOUT", 0.3)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def trickle(stream):
        async with stream:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
            try:
                while True:
                    await stream.send_all(b"[")
                    await trio.sleep(0.01)
            except trio.BrokenResourceError:
                pass

    nursery.start_soon(trio.serve_listeners, trickle, [listener])
    node = HydraNode(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
    with trio.fail_after(120), pytest.raises(NodeUnavailable, match="TooSlow"):
        await node.request("GET", "/head")
    await node.aclose()


async def test_an_error_of_who_uses_a_connection_stays_what_it_is(cohort):
    with pytest.raises(ZeroDivisionError):
        async with HydraNode(cohort.url(1)).connect(history=False):
            raise ZeroDivisionError
    with pytest.raises(ExceptionGroup) as group:
        async with HydraNode(cohort.url(1)).connect(history=False), trio.open_nursery():
            raise ZeroDivisionError
    assert isinstance(group.value.exceptions[0], ZeroDivisionError)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:4001",
        "http:/127.0.0.1:4001",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:40o1",
        "http://127.0.0.1:0",
        "http://[::1:4001",
        "http://a..b:4001",
        "http://" + "x" * 80 + ":4001",
        "http://host name:4001",
        "http://host\n:4001",
        "http://user:secret@host:1/",
        "unix:///run/hydra.sock",
    ],
)
async def test_a_mistyped_address_is_the_operators_fault_and_ends_nothing(nursery, url):
    node = HydraNode(url)
    with pytest.raises(WrongAddress, match=r"ledger\.url") as refusal:
        await node.request("GET", "/head")
    assert isinstance(refusal.value, OperatorFault)
    assert "secret" not in str(refusal.value) + repr(node)
    ledger = HydraLedger(node, WALLET, [WALLET.key_hash], timing=QUICK)
    await nursery.start(ledger.run)
    with trio.fail_after(120):
        while ledger.status().state is not LedgerState.STALLED:
            await trio.sleep(0.005)
    assert "ledger.url is not the address" in ledger.status().waits_for


async def test_a_stall_says_what_was_wrong_with_the_answer(nursery):
    impostor = Impostor(ANSWERS["a page"])
    await nursery.start(impostor.run)
    ledger = HydraLedger(HydraNode(impostor.url), WALLET, [WALLET.key_hash], timing=QUICK)
    with ledger.events() as events:
        await nursery.start(ledger.run)
        with trio.fail_after(120):
            async for event in events:
                if isinstance(event, Stalled) and event.detail:
                    break
    assert event.reason is StallReason.NODE_UNREACHABLE
    assert impostor.url in event.detail
