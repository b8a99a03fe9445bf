"""The emulated head's API, as an independent client meets it: shapes, order, refusals."""

from __future__ import annotations

import contextlib
import json
from contextlib import asynccontextmanager

import httpx
import jsonschema
import pytest
import referencing
import trio
import yaml
from referencing.jsonschema import DRAFT7
from trio_websocket import open_websocket_url

from node.ledger import anchor, transaction, utxo_json
from node.ledger.transaction import TxIn, TxOut

REMOTE = "https://raw.githubusercontent.com/cardano-scaling/hydra/master/hydra-node/json-schemas/"


class Client:
    """A plain WebSocket and HTTP client of one party, which keeps all it hears."""

    def __init__(self, socket, http) -> None:
        self.socket = socket
        self.http = http
        self.heard = []

    async def hear(self):
        message = json.loads(await self.socket.get_message())
        self.heard.append(message)
        return message

    async def until(self, tag):
        with trio.fail_after(120):
            while (message := await self.hear())["tag"] != tag:
                pass
        return message

    async def say(self, tag, **fields: object):
        await self.socket.send_message(json.dumps({"tag": tag, **fields}))

    async def get(self, path):
        return (await self.http.get(path)).json()


@asynccontextmanager
async def connect(cohort, member=1, query=""):
    url = cohort.url(member)
    async with (
        httpx.AsyncClient(base_url=url, timeout=120) as http,
        open_websocket_url(url.replace("http", "ws") + "/" + query, max_message_size=1 << 24) as socket,
    ):
        yield Client(socket, http)


async def fund(client, cohort, member=1):
    """Deposit a member's funds through its node, as the documentation of hydra shows."""
    wallet = cohort.wallets[member - 1]
    utxo = await cohort.emulator.chain_utxo(wallet.address)
    drafted = (await client.http.post("/commit", json=utxo_json.to_json(utxo))).json()
    tx = utxo_json.transaction_from_json(drafted)
    raw = wallet.sign(tx.body)
    answer = await client.http.post("/cardano-transaction", json={"cborHex": raw.hex()})
    assert answer.json() == {"tag": "TransactionSubmitted"}
    await client.until("CommitFinalized")
    return next(iter(utxo.items()))


async def open_funded(client, cohort):
    await client.until("Greetings")
    await client.say("Init")
    head_id = (await client.until("HeadIsOpen"))["headId"]
    at, output = await fund(client, cohort)
    return anchor.Tip(at, output, anchor.first_link(head_id))


def envelope(wallet, inputs, *outputs: TxOut):
    return utxo_json.envelope(transaction.parse(wallet.sign(transaction.build_body(inputs, outputs))))


@pytest.fixture(scope="module")
def schema(hydra_api):
    """A function that validates a value against a schema of the real node by name."""
    folder = hydra_api / "hydra-node" / "json-schemas"
    cardano = json.loads((folder / "cardanonical" / "cardano.json").read_text())
    contents = {
        "api.yaml": yaml.safe_load((folder / "api.yaml").read_text()),
        "common.yaml": yaml.safe_load((folder / "common.yaml").read_text()),
        REMOTE + "cardanonical/cardano.json": cardano,
    }
    registry = referencing.Registry().with_resources(
        (uri, referencing.Resource(content, DRAFT7)) for uri, content in contents.items()
    )

    def validate(name, value):
        reference = {"$ref": f"api.yaml#/components/schemas/{name}"}
        jsonschema.Draft7Validator(reference, registry=registry).validate(value)

    return validate


UNSEQUENCED = {
    "CommandFailed",
    "PostTxOnChainFailed",
    "RejectedInputBecauseUnsynced",
    "SideLoadSnapshotRejected",
}


def validate_message(schema, message):
    if message["tag"] in ("Greetings", "InvalidInput"):
        schema(message["tag"], message)
        assert "seq" not in message
    elif message["tag"] in UNSEQUENCED:
        schema("ClientMessage", message)
        assert "seq" not in message
    else:
        schema(message["tag"], message)


async def _everything(cohort, client, schema):
    """One head with every kind of event that the emulator has; HTTP answers are validated on the way."""
    wallet, other = cohort.wallets[0], cohort.wallets[1]
    await client.until("Greetings")
    schema("HeadState", await client.get("/head"))
    schema("SeenSnapshot", await client.get("/snapshot/last-seen"))
    assert (await client.http.get("/snapshot")).status_code == 404
    assert (await client.http.get("/snapshot/utxo")).status_code == 404
    await client.say("Close")
    await client.until("CommandFailed")
    await client.say("Init")
    await client.until("HeadIsOpen")
    schema("ConfirmedSnapshot", await client.get("/snapshot"))
    at, output = await fund(client, cohort)
    schema("ConfirmedSnapshot", await client.get("/snapshot"))
    half = TxOut(wallet.address, output.lovelace // 2)
    split = envelope(wallet, (at,), half, half)
    await client.say("NewTx", transaction=split)
    await client.until("SnapshotConfirmed")
    await client.say("NewTx", transaction=split)
    await client.until("TxInvalid")
    first, second = (TxIn(bytes.fromhex(split["txId"]), n) for n in (0, 1))
    await client.say("Decommit", decommitTx=envelope(wallet, (at,), half))
    await client.until("DecommitInvalid")
    await client.say("Decommit", decommitTx=envelope(wallet, (second,), half))
    await client.until("DecommitFinalized")
    await cohort.emulator.party(2, "offline")
    pay = envelope(wallet, (first,), TxOut(other.address, half.lovelace))
    answer = await client.http.post("/transaction", json=pay)
    assert answer.status_code == 202
    schema("SubmitL2TxResponse", answer.json())
    schema("SeenSnapshot", await client.get("/snapshot/last-seen"))
    schema("HeadState", await client.get("/head"))
    await client.until("TxValid")
    await cohort.emulator.party(2, "online")
    await client.until("SnapshotConfirmed")
    snapshot = await client.get("/snapshot")
    assert (await client.http.post("/snapshot", json=snapshot)).json() == "OK"
    snapshot["signatures"]["multiSignature"].reverse()
    await client.say("SideLoadSnapshot", snapshot=snapshot)
    await client.until("SideLoadSnapshotRejected")
    await cohort.emulator.party(2, "offline")
    await cohort.emulator.party(3, "offline")
    await client.until("NetworkDisconnected")
    await cohort.emulator.party(2, "online")
    await client.until("NetworkConnected")
    await cohort.emulator.party(3, "online")
    await cohort.emulator.party(1, "unsynced")
    await client.say("Close")
    await client.until("RejectedInputBecauseUnsynced")
    await cohort.emulator.party(1, "synced")
    await client.socket.send_message("}")
    await client.until("InvalidInput")
    await client.say("SafeClose")
    await client.until("HeadIsClosed")
    schema("HeadState", await client.get("/head"))
    await client.say("Contest")
    await client.until("PostTxOnChainFailed")
    await client.until("ReadyToFanout")
    await client.say("Fanout")
    await client.until("HeadIsFinalized")
    await cohort.emulator.party(1, "rotate")
    await client.until("EventLogRotated")
    schema("ProtocolParameters", await client.get("/protocol-parameters"))


async def test_every_message_is_one_of_the_real_nodes(cohort, schema):
    async with connect(cohort) as client:
        await _everything(cohort, client, schema)
    for message in client.heard:
        validate_message(schema, message)
    assert len({m["tag"] for m in client.heard}) == 29


async def test_history_comes_first_and_is_the_same_for_all_who_ask(cohort):
    async with connect(cohort) as client:
        await open_funded(client, cohort)
        live = [m for m in client.heard if "seq" in m]
    async with connect(cohort, query="?history=yes") as late:
        await late.until("Greetings")
    assert late.heard[:-1] == live
    async with connect(cohort, query="?history=yes&snapshot-utxo=no") as late:
        greetings = await late.until("Greetings")
        snapshots = [m["snapshot"] for m in late.heard if m["tag"] == "SnapshotConfirmed"]
        assert snapshots
        assert all("utxo" not in s for s in snapshots)
        assert "snapshotUtxo" not in greetings
    async with connect(cohort, query="?history=no") as late:
        await late.until("Greetings")
        assert len(late.heard) == 1
    sequence = [m["seq"] for m in live]
    assert sequence == sorted(set(sequence))


async def test_the_address_filter_only_concerns_snapshots(cohort):
    mine = transaction.address_text(cohort.wallets[0].address)
    theirs = transaction.address_text(cohort.wallets[1].address)
    async with (
        connect(cohort) as client,
        connect(cohort, query=f"?address={mine}") as filtered,
        connect(cohort, query=f"?address={theirs}") as stranger,
    ):
        tip = await open_funded(client, cohort)
        tx = anchor.build(cohort.wallets[0], tip, b"x")
        await client.say("NewTx", transaction=utxo_json.envelope(tx))
        await client.until("SnapshotConfirmed")
        assert (await filtered.until("SnapshotConfirmed"))["snapshot"]["confirmed"][0]["txId"] == tx.id.hex()
        await stranger.until("TxValid")
        await client.say("Close")
        await stranger.until("HeadIsClosed")
        assert "SnapshotConfirmed" not in [m["tag"] for m in stranger.heard]


async def test_leaders_rotate_and_all_parties_sign(cohort):
    async with connect(cohort) as client:
        tip = await open_funded(client, cohort)
        vkeys = [p["vkey"] for p in next(m for m in client.heard if m["tag"] == "HeadIsOpen")["parties"]]
        tx = anchor.build(cohort.wallets[0], tip, b"x")
        await client.say("NewTx", transaction=utxo_json.envelope(tx))
        confirmed = await client.until("SnapshotConfirmed")
    assert len(confirmed["signatures"]["multiSignature"]) == len(vkeys) == 3
    assert confirmed["snapshot"]["number"] == 2
    assert confirmed["snapshot"]["version"] == 1


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "null",
        "[]",
        '"Init"',
        "{}",
        '{"tag":7}',
        '{"tag":"Reboot"}',
        '{"tag":"NewTx"}',
        '{"tag":"NewTx","transaction":{}}',
        '{"tag":"NewTx","transaction":{"cborHex":"zz"}}',
        '{"tag":"NewTx","transaction":{"cborHex":"84"}}',
        '{"tag":"Recover","recoverTxId":5}',
        '{"tag":"SideLoadSnapshot","snapshot":{"snapshot":{},"signatures":{}}}',
        "[" * 50_000,
    ],
)
async def test_bad_input_is_answered_to_its_sender_only(cohort, frame):
    async with connect(cohort) as client, connect(cohort) as other:
        await client.until("Greetings")
        await client.socket.send_message(frame)
        assert (await client.until("InvalidInput"))["input"] == frame
        await client.say("Init")
        await client.until("HeadIsOpen")
        await other.until("HeadIsOpen")
        assert "InvalidInput" not in [m["tag"] for m in other.heard]


async def test_a_transaction_whose_id_does_not_fit_is_invalid_input(cohort):
    wallet = cohort.wallets[0]
    tx = envelope(wallet, (TxIn(bytes(32), 0),), TxOut(wallet.address, 2_000_000))
    async with connect(cohort) as client:
        await client.until("Greetings")
        await client.say("NewTx", transaction={**tx, "txId": "00" * 32})
        await client.until("InvalidInput")
        await client.say("NewTx", transaction={"cborHex": tx["cborHex"]})
        assert (await client.until("CommandFailed"))["state"]["tag"] == "Idle"
        await client.socket.send_message(json.dumps({"tag": "NewTx", "transaction": tx}).encode())
        await client.until("CommandFailed")


async def test_every_golden_input_is_understood_as_the_real_node_does(cohort, hydra_api):
    """2.3.0 knows neither the Abort of older releases nor the PartialFanout of later ones."""
    unknown = {"Abort", "PartialFanout"}
    paths = sorted(hydra_api.rglob("golden/ClientInput/*.json"))
    async with connect(cohort) as client:
        await client.until("Greetings")
        for path in paths:
            if path.stem == "Init":
                continue
            for sample in json.loads(path.read_text())["samples"]:
                await client.socket.send_message(json.dumps(sample))
                if path.stem in unknown:
                    await client.until("InvalidInput")
                elif path.stem != "Recover":  # of a deposit that nobody knows: the real node is silent too
                    answer = await client.hear()
                    assert (path, answer["tag"]) == (path, "CommandFailed")
                    assert answer["clientInput"] == sample
    assert len(paths) >= 30


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        ("GET", "/nowhere", None, 400, "Resource not found"),
        ("PUT", "/head", None, 400, "Resource not found"),
        ("POST", "/commit", "{}", 400, "Head is not open"),
        ("POST", "/commit", "][", 400, None),
        ("POST", "/commit", '{"x#0":{}}', 400, None),
        ("POST", "/cardano-transaction", '{"cborHex":""}', 400, None),
        ("POST", "/snapshot", '{"tag":"InitialSnapshot","headId":"00"}', 400, "Side-load snapshot failed"),
        ("DELETE", "/commits/xyz", None, 400, None),
        ("GET", "/commits", None, 200, []),
    ],
)
async def test_http_answers(cohort, method, path, body, status, answer):
    async with httpx.AsyncClient(base_url=cohort.url(2)) as http:
        response = await http.request(method, path, content=body)
    assert response.status_code == status
    assert answer is None or response.json() == answer


async def test_a_request_without_end_or_sense_does_not_hurt_others(cohort):
    port = cohort.ports[0]
    for junk in (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 9000, b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n"):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(junk)
        with trio.move_on_after(5), contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
        await stream.aclose()
    async with connect(cohort) as client:
        await client.until("Greetings")


async def test_a_double_spend_is_refused_on_every_node(cohort):
    async with connect(cohort) as client, connect(cohort, member=3) as other:
        tip = await open_funded(client, cohort)
        one, two = (anchor.build(cohort.wallets[0], tip, r) for r in (b"one", b"two"))
        await client.say("NewTx", transaction=utxo_json.envelope(one))
        await client.say("NewTx", transaction=utxo_json.envelope(two))
        assert (await client.until("TxInvalid"))["transaction"]["txId"] == two.id.hex()
        invalid = await other.until("TxInvalid")
        assert "BadInputsUTxO" in invalid["validationError"]["reason"]
        utxo = await client.get("/snapshot/utxo")
        assert sum(o["value"]["lovelace"] for o in utxo.values()) == tip.output.lovelace
