"""`starling config check`: whether a node can start with what it is given, before it does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from node.cli.exits import OK, REFUSED
from node.cli.invocation import Invocation
from node.cli.output import field
from node.cli.parser import Commands
from node.config import Config
from protocol.errors import OperatorFault, StarlingError


def register(commands: Commands) -> None:
    group = commands.group("config", "the node's configuration")
    group.add(
        "check",
        check,
        "check the configuration, the keys, and the places it names",
        "Starts nothing and talks to nobody. The exit code is 1 where something is wrong.",
        examples=("sudo -u starling starling config check", "starling config check --config ~/node.toml"),
    )


def check(call: Invocation) -> int:
    config = call.config()
    checks: list[tuple[str, Callable[[Config], str]]] = [
        ("keys", _keys),
        ("state", _state),
        ("network", _network),
        ("data", _data),
        ("control socket", _socket),
    ]
    found = [{"check": "configuration", "ok": True, "found": str(call.config_path), "remedy": ""}]
    found += [_outcome(name, test, config) for name, test in checks]
    columns = [field("", "check"), field("OK", "ok"), field("FOUND", "found"), field("REMEDY", "remedy")]
    call.out.show(found, lambda: call.out.table(found, columns, ""))
    return OK if all(each["ok"] for each in found) else REFUSED


def _outcome(name: str, test: Callable[[Config], str], config: Config) -> dict[str, object]:
    try:
        return {"check": name, "ok": True, "found": test(config), "remedy": ""}
    except StarlingError as error:
        return {"check": name, "ok": False, "found": error.what, "remedy": error.remedy}


def _keys(config: Config) -> str:
    from node.keys import load_keys

    return f"peer {load_keys(config.node.state).identity.peer_id}"


def _state(config: Config) -> str:
    state = config.node.state
    if not state.is_dir() or not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        raise OperatorFault(f"{state} is not a directory that this user may write", remedy="run as its owner")
    if state.stat().st_mode & 0o077:
        raise OperatorFault(f"others may enter {state}", remedy=f"chmod 700 {state}")
    return str(state)


def _network(config: Config) -> str:
    from node.network.addresses import parse_address

    for address in (*config.network.listen, *config.network.bootstrap):
        try:
            parse_address(address)
        except ValueError as error:
            raise OperatorFault(
                f"network: {error}", remedy="write it as /ip4/203.0.113.7/tcp/4711"
            ) from error
    return ", ".join(config.network.listen)


def _data(config: Config) -> str:
    from node.service.environment import hider
    from node.service.layout import SOCKET

    for task, folder in config.learning.data.items():
        if not os.access(folder, os.R_OK):
            raise OperatorFault(
                f"learning.data.{task}: {folder} is not there, or not readable", remedy="name where they lie"
            )
        if str(config.socket) == SOCKET and (hidden := hider(folder)) is not None:
            raise OperatorFault(
                f"learning.data.{task}: the service cannot see {folder}: its unit hides {hidden}",
                remedy="put them elsewhere, such as below /srv",
            )
    return ", ".join(sorted(config.learning.data)) or "none: this node can take part in no job"


def _socket(config: Config) -> str:
    from node.control.endpoint import check_path

    check_path(config.socket)
    return str(Path(config.socket))
