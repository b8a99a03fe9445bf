"""`starling card` and `starling peers`: who this node is, and whom it knows."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from node.cli.formats import clean, duration, size
from node.cli.invocation import Invocation
from node.cli.output import field
from node.cli.parser import Commands
from node.control.errors import Unreachable
from protocol.errors import OperatorFault

MAX_CARD_BYTES = 8 * 1024
"""As in `node.peers`, which would load the network library."""

UNREACHABLE_HOSTS = ("/ip4/0.0.0.0/", "/ip6/::/", "/ip4/127.", "/ip6/::1/")
"""Multiaddresses that mean something on this machine only."""


def register(commands: Commands) -> None:
    parser = commands.add(
        "card",
        card,
        "print this node's card, for the other members",
        "Nothing in it is secret. Works without a running node, too.",
        examples=("starling card --address /dns4/node.clinic-a.example/tcp/4711 > clinic-a.json",),
    )
    parser.add_argument(
        "--address",
        action="append",
        metavar="MULTIADDRESS",
        help="where the others reach this node, such as /dns4/node.example/tcp/4711, instead of where it "
        "listens; may be given again",
    )
    group = commands.group("peers", "the peers that this node knows", list_peers)
    group.add("list", list_peers, "list them, and where each stands")
    _file(
        group.add(
            "add",
            add,
            "add a peer's card, or its new version",
            "Have the card from its operator by a way that nobody else can write to: it says who that is.",
            examples=("starling peers add clinic-b.json",),
        )
    )
    name = group.add("remove", remove, "forget a peer and disconnect it")
    name.add_argument("name", help="its name or peer id")


def _file(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="what `starling card` printed there; - is standard input")


def card(call: Invocation) -> None:
    try:
        with call.node() as node:
            found: dict[str, Any] = node.call("card")
    except Unreachable:
        found = _offline_card(call)
    if call.arguments.address:
        found["addresses"] = call.arguments.address
    print(json.dumps(found, indent=2, ensure_ascii=False))
    if not found["hydra"]:
        sys.stderr.write(
            "starling: the hydra-node does not answer, so this card lacks its key, and no job takes it\n"
            "  → start the hydra-node, or set ledger.hydra_key, then print the card again\n"
        )
    if any(address.startswith(UNREACHABLE_HOSTS) for address in found["addresses"]):
        sys.stderr.write(
            "starling: others cannot reach all of these addresses from outside\n"
            "  → give the node's own with --address /dns4/node.example/tcp/4711\n"
        )


def _offline_card(call: Invocation) -> dict[str, Any]:
    import trio

    from node.card import own_card
    from node.keys import load_keys
    from node.parties import own_hydra_key

    config = call.config()
    hydra = trio.run(own_hydra_key, config.ledger)
    text = own_card(config, load_keys(config.node.state), config.network.listen, hydra).to_json()
    found: dict[str, Any] = json.loads(text)
    return found


def list_peers(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("peers")
    columns = [
        field("NAME", "name"),
        field("CONNECTED", "connected"),
        field("ROUND TRIP", "round_trip_seconds", _milliseconds, right=True),
        field("IN", "bytes_in", size, right=True),
        field("OUT", "bytes_out", size, right=True),
        field("PEER ID", "peer"),
        field("LAST ERROR", "last_error"),
    ]
    call.out.show(found, lambda: call.out.table(found, columns, "no peers: add their cards first"))


def _milliseconds(seconds: float | None) -> str:
    return duration(seconds) if seconds is None or seconds >= 1 else f"{1000 * seconds:.0f} ms"


def add(call: Invocation) -> None:
    card = _read_card(call.arguments.file)
    with call.node() as node:
        found = node.call("add_peer", card=card)
    call.out.show(found, lambda: print(f"added {clean(found['name'])}"))


def _read_card(path: Path) -> dict[str, Any]:
    try:
        with sys.stdin if str(path) == "-" else path.open() as file:
            card = json.loads(file.read(MAX_CARD_BYTES + 1))
    except OSError as error:
        raise OperatorFault(
            f"{path} cannot be read: {error.strerror}", remedy="name a peer's card"
        ) from error
    except (ValueError, RecursionError) as error:
        raise OperatorFault(f"{path} is not a card", remedy="use the output of `starling card`") from error
    if not isinstance(card, dict):
        raise OperatorFault(f"{path} is not a card", remedy="use the output of `starling card`")
    return card


def remove(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("remove_peer", name=call.arguments.name)
    call.out.show(found, lambda: print(f"removed {clean(found['name'])}"))
