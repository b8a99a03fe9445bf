"""One run of the command: its arguments, and the way to the configuration and the node."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from node.cli.output import Output
from node.config import Config, load_config
from node.control.client import Client

CONFIG_VARIABLE = "STARLING_CONFIG"
SOCKET_VARIABLE = "STARLING_SOCKET"
SYSTEM_CONFIG = Path("/etc/starling/node.toml")


def user_config() -> Path:
    """Where a user's own configuration lies (XDG base directory specification)."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "starling" / "node.toml"


def user_state() -> Path:
    """Where a user's own node keeps its state."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "starling"


def find_config(given: Path | None) -> Path:
    """The configuration: `--config`, $STARLING_CONFIG, the user's own, else the system's."""
    if given is not None:
        return given
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    own = user_config()
    return own if own.exists() else SYSTEM_CONFIG


class Invocation:
    """What a command's function gets."""

    def __init__(self, arguments: Namespace, rest: Sequence[str] = ()) -> None:
        self.arguments = arguments
        self.rest = list(rest)
        self.out = Output(as_json=getattr(arguments, "json", False))

    @property
    def config_path(self) -> Path:
        """Where the configuration lies."""
        return find_config(getattr(self.arguments, "config", None))

    def config(self) -> Config:
        """The configuration. Raises `OperatorFault`."""
        return load_config(self.config_path)

    @property
    def socket(self) -> Path:
        """The control socket: `--socket`, $STARLING_SOCKET, else as configured."""
        given: Path | None = getattr(self.arguments, "socket", None)
        if given is not None:
            return given
        named = os.environ.get(SOCKET_VARIABLE)
        return Path(named) if named else self.config().socket

    def node(self) -> Client:
        """A connection to the node. Raises `Unreachable`."""
        return Client(self.socket)
