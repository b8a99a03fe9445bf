"""What a broken or hostile node says is refused and logged; nothing is lost, and the client lives on."""

from __future__ import annotations

import json
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import structlog
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey

from node.ledger.client.deposit import EMULATED_SCRIPT
from node.ledger.client.ledger import HydraLedger
from node.ledger.client.node import HydraNode
from node.ledger.errors import NodeUnavailable
from node.ledger.interface import LedgerState, Stalled, StallReason


class Liar(HydraNode):
    """A node between us and the true one: `twist` may change any message or answer."""

    def __init__(self, url) -> None:
        super().__init__(url)
        self.twist = lambda item: item

    @asynccontextmanager
    async def connect(self, *, history, utxo=True):
        async with super().connect(history=history, utxo=utxo) as channel:
            yield _Twisted(self, channel)

    async def request(self, method, path, body=None):
        status, answer = await super().request(method, path, body)
        return status, self.twist(answer)


class _Twisted:
    def __init__(self, liar, channel) -> None:
        self._liar, self._channel = liar, channel
        self.send = channel.send

    async def receive(self):
        text = await self._channel.receive()
        twisted = self._liar.twist(json.loads(text))
        return twisted if isinstance(twisted, str) else json.dumps(twisted)


def _believer(cohort, node):
    """A client of member 1 behind `node`."""
    members = [w.key_hash for w in cohort.wallets]
    ledger = HydraLedger(
        node, cohort.wallets[0], members, timing=cohort.timing, deposit_scripts={EMULATED_SCRIPT}
    )
    cohort.owner[ledger] = cohort.wallets[0]
    return ledger


def _snapshot(item):
    return item.get("snapshot") if isinstance(item, dict) and "signatures" in item else None


def _flip_signature(item):
    if _snapshot(item):
        item["signatures"]["multiSignature"][1] = "00" * 64
    return item


def _drop_signature(item):
    if _snapshot(item):
        item["signatures"]["multiSignature"].pop()
    return item


def _renumber(item):
    if _snapshot(item):
        item["snapshot"]["number"] += 1
    return item


def _other_datum(item):
    for output in ((_snapshot(item) or {}).get("utxo") or {}).values():
        if output["inlineDatumRaw"]:
            output["inlineDatumRaw"] = output["inlineDatumRaw"][:-4] + "00ff"
    return item


def _without_output(item):
    if _snapshot(item):
        item["snapshot"]["utxo"] = {}
    return item


@pytest.mark.parametrize(
    "twist", [_flip_signature, _drop_signature, _renumber, _other_datum, _without_output]
)
async def test_a_snapshot_that_does_not_hold_confirms_nothing(cohort, take, event_of, twist):
    honest, _ = await cohort.follow(2)
    await cohort.fund(honest)
    liar = Liar(cohort.url(1))
    deceived = _believer(cohort, liar)
    await cohort.nursery.start(deceived.run)
    await deceived.deposit(await cohort.emulator.chain_utxo(cohort.wallets[0].address))
    liar.twist = twist
    stalls = []

    async def wait():
        stalls.append(await event_of(deceived, Stalled, reason=StallReason.UNVERIFIED))

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await deceived.submit(b"truth")
    assert stalls
    assert deceived.status().slot == 0
    assert any(str(cohort.ports[0]) in str(entry.get("node")) for entry in logs)
    liar.twist = lambda item: item
    assert [r.datum for r in await take(deceived, 1)] == [b"truth"]
    assert deceived.status().state is LedgerState.OPEN


def _junk(item):
    return "\x00 not JSON" if isinstance(item, dict) and item.get("tag") == "TxValid" else item


def _wrong_types(item):
    return {**item, "transactionId": [7]} if isinstance(item, dict) and item.get("tag") == "TxValid" else item


def _foreign(item):
    return {**item, "headId": "cd" * 28} if isinstance(item, dict) and item.get("tag") == "TxValid" else item


def _repeated(item):
    return {**item, "seq": 0} if isinstance(item, dict) and item.get("tag") == "TxValid" else item


@pytest.mark.parametrize("twist", [_junk, _wrong_types, _foreign, _repeated])
async def test_single_bad_messages_are_passed_over(cohort, take, twist):
    liar = Liar(cohort.url(1))
    liar.twist = twist
    ledger = _believer(cohort, liar)
    await cohort.nursery.start(ledger.run)
    await cohort.fund(ledger)
    with structlog.testing.capture_logs() as logs:
        for n in range(3):
            await ledger.submit(b"%d" % n)
        assert [r.datum for r in await take(ledger, 3)] == [b"0", b"1", b"2"]
    expected = {
        _junk: "LedgerMessageRefused",
        _wrong_types: "LedgerMessageRefused",
        _foreign: "ForeignHeadMessage",
    }
    assert twist is _repeated or expected[twist] in [entry["event"] for entry in logs]


async def test_a_head_of_other_parties_is_not_followed(cohort, event_of):
    honest, _ = await cohort.follow(2)
    await cohort.fund(honest)
    strangers = [bytes(SigningKey(bytes([n]) * 32).verify_key) for n in (9, 8, 7)]
    wary = cohort.ledger(1, parties=strangers)
    with wary.events() as events:
        cohort.nursery.start_soon(wary.run)
        with trio.fail_after(120):
            async for event in events:
                if isinstance(event, Stalled):
                    break
    assert event.reason is StallReason.UNVERIFIED
    assert wary.status().slot == 0


async def test_a_node_in_another_head_is_named_foreign(cohort):
    honest, _ = await cohort.follow(2)
    await honest.open_head()
    other = cohort.ledger(1, head_id="cd" * 28)
    cohort.nursery.start_soon(other.run)
    with trio.fail_after(120):
        while other.status().state is LedgerState.CONNECTING:
            await trio.sleep(0.01)
    assert other.status().state is LedgerState.FOREIGN


async def test_an_absent_node_is_a_stall_and_its_return_ends_it(cohort, event_of):
    await cohort.stop()
    ledger = cohort.ledger(1)
    with ledger.events() as events:
        cohort.nursery.start_soon(ledger.run)
        with trio.fail_after(120):
            stall = await events.receive()
        assert stall.reason is StallReason.NODE_UNREACHABLE
        assert ledger.status().state is LedgerState.STALLED
    await cohort.start()
    await ledger.open_head()
    assert ledger.status().state is LedgerState.FUNDING


def _certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


async def test_a_node_behind_tls(cohort, nursery, tmp_path, take):
    certificate, private = _certificate()
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(private)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def proxy(stream):
        node = await trio.open_tcp_stream("127.0.0.1", cohort.ports[0])
        async with stream, node, trio.open_nursery() as both:
            both.start_soon(_pump, stream, node, both.cancel_scope)
            both.start_soon(_pump, node, stream, both.cancel_scope)

    serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1")
    [listener] = await nursery.start(serve, proxy, 0, server)
    url = f"https://localhost:{listener.transport_listener.socket.getsockname()[1]}"
    trusted = ssl.create_default_context(cadata=certificate.decode())
    ledger = _believer(cohort, HydraNode(url, tls=trusted))
    await nursery.start(ledger.run)
    await cohort.fund(ledger)
    await ledger.submit(b"secret of the trade")
    assert [r.datum for r in await take(ledger, 1)] == [b"secret of the trade"]

    suspicious = HydraNode(url)
    with pytest.raises(NodeUnavailable):
        await suspicious.request("GET", "/head")
    await suspicious.aclose()


async def _pump(source, sink, done):
    try:
        async for data in source:
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    done.cancel()
