"""`starling init`: a configuration and keys for a new node."""

from __future__ import annotations

import json
import os
import socket
import tomllib
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from node.cli.invocation import SYSTEM_CONFIG, Invocation, user_config, user_state
from node.cli.parser import Commands
from node.config import parse_config
from protocol.errors import OperatorFault

SYSTEM_STATE = Path("/var/lib/starling")
DEFAULT_LISTEN = "/ip4/0.0.0.0/tcp/4711"


def register(commands: Commands) -> None:
    parser = commands.add(
        "init",
        run,
        "make a configuration and keys for a new node",
        "Asks nothing. Keys that are there already are kept, a configuration is never overwritten.",
        examples=(
            "starling init --name clinic-a --data mnist=/srv/mnist",
            "starling init --name test --state ~/starling --listen /ip4/127.0.0.1/tcp/4711",
        ),
    )
    parser.add_argument(
        "--name", default=socket.gethostname(), help="the member's name (default: the host's)"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="where the node keeps its state and keys")
    parser.add_argument(
        "--data",
        type=_data,
        action="append",
        default=[],
        metavar="TASK=PATH",
        help="the private data that a task may read; may be given again",
    )
    parser.add_argument(
        "--listen",
        action="append",
        metavar="MULTIADDRESS",
        help=f"where to listen (default: {DEFAULT_LISTEN}); may be given again",
    )
    parser.add_argument("--ledger", metavar="URL", help="the API of this member's hydra-node")
    parser.add_argument("--bucket", type=Path, metavar="DIR", help="a directory for this member's bucket")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where events go (default: standard output)")
    parser.add_argument(
        "--accept-known-peers",
        action="store_true",
        help="accept the jobs of peers in the peer book without asking",
    )


def run(call: Invocation) -> None:
    asked = call.arguments
    path: Path = getattr(asked, "config", None) or (SYSTEM_CONFIG if os.geteuid() == 0 else user_config())
    state = (asked.state or (SYSTEM_STATE if os.geteuid() == 0 else user_state())).absolute()
    for task, folder in asked.data:
        if not folder.exists():
            raise OperatorFault(f"there is no {folder} with data for '{task}'", remedy="name where they lie")
    text = _configuration(
        name=asked.name,
        state=state,
        listen=asked.listen or [DEFAULT_LISTEN],
        ledger=asked.ledger,
        bucket=asked.bucket,
        log=asked.log,
        data=asked.data,
        accept_known=asked.accept_known_peers,
    )
    config = parse_config(tomllib.loads(text), str(path), path.absolute().parent)
    if path.exists():
        raise OperatorFault(
            f"there is a configuration already: {path}", remedy="edit it, or name another with --config"
        )
    from node.files import write_whole
    from node.keys import create_keys
    from node.ledger.transaction import address_text

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = create_keys(config.node.state)
        write_whole(path, text.encode())
    except OSError as error:
        raise OperatorFault(
            f"{error.filename} cannot be written: {error.strerror}",
            remedy="name places of your own with --config and --state",
        ) from error
    made = {
        "name": config.node.name,
        "config": str(path),
        "state": str(config.node.state),
        "peer": keys.identity.peer_id,
        "payment": keys.wallet.key_hash.hex(),
        "address": address_text(keys.wallet.address),
    }
    call.out.show(made, lambda: _tell(call, made))


def _tell(call: Invocation, made: dict[str, str]) -> None:
    call.out.pairs(
        [
            ("node", made["name"]),
            ("configuration", made["config"]),
            ("state and keys", made["state"]),
            ("peer id", made["peer"]),
            ("Cardano address", made["address"]),
        ]
    )
    print(f"\nStart it:           starlingd --config {made['config']}")
    print("Tell the others:    starling card > card.json, and add theirs with starling peers add")


def _configuration(
    *,
    name: str,
    state: Path,
    listen: Sequence[str],
    ledger: str | None,
    bucket: Path | None,
    log: Path | None,
    data: Sequence[tuple[str, Path]],
    accept_known: bool,
) -> str:
    lines = ["# A Starling node. Check it with `starling config check`.", ""]
    lines += ["[node]", f"name = {_text(name)}", f"state = {_text(state)}", ""]
    lines += ["[network]", f"listen = [{', '.join(_text(each) for each in listen)}]", ""]
    if ledger is not None:
        lines += ["[ledger]", f"url = {_text(ledger)}", ""]
    if bucket is not None:
        lines += ["[storage]", f"path = {_text(bucket.absolute())}", ""]
    if data:
        lines += ["[learning.data]", *(f"{_text(task)} = {_text(at.absolute())}" for task, at in data), ""]
    if accept_known:
        lines += ["[policy]", 'accept = "known-peers"', ""]
    if log is not None:
        lines += ["[log]", f"file = {_text(log.absolute())}", ""]
    return "\n".join(lines)


def _text(value: object) -> str:
    """A TOML basic string; JSON's are a subset of them."""
    return json.dumps(str(value))


def _data(argument: str) -> tuple[str, Path]:
    task, equals, path = argument.partition("=")
    if not task or not equals or not path:
        raise ArgumentTypeError("write it as TASK=PATH, for example mnist=/srv/mnist")
    return task, Path(path)
