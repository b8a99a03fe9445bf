"""The node's configuration: one TOML file, typed, checked whole before anything starts.

Every key is documented in `config/node.example.toml`. Nothing in it is secret: keys lie in files of their
own, or come as systemd credentials.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocol.errors import OperatorFault

Port = Annotated[int, Meta(ge=0, le=65535)]
Threads = Annotated[int, Meta(ge=1, le=256)]
Name = Annotated[str, Meta(min_length=1, max_length=60)]

MAX_CONFIG_BYTES = 256 * 1024


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all tables: unknown keys are errors."""


class Node(Section, frozen=True):
    """Who this node is and where it keeps its state."""

    name: Name
    state: Path


class Network(Section, frozen=True):
    """Where it listens, and how it finds the other members."""

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/4711",)
    bootstrap: tuple[str, ...] = ()
    mdns: bool = True
    dht: bool = False


class Ledger(Section, frozen=True):
    """This member's own hydra-node, and what pays for its anchors.

    `hydra_key` is this member's Hydra verification key (hex), otherwise asked of the hydra-node; the
    others' come with their cards. `parties` stands for cards without one: the keys of all members in roster
    order. Deposits come from `funding`, outputs on L1 at this member's address written as
    txid#index:lovelace, or from an emulated chain at `l1`. `deposit_script` (hash, hex) stands for those of
    the releases that this one knows. `trust_own_node`: the hydra-node at `url` is this operator's own;
    otherwise more members must vouch for the order before a share is released.
    """

    url: str = "http://127.0.0.1:4001"
    trust_own_node: bool = True
    l1: str = ""
    funding: tuple[Annotated[str, Meta(pattern="^[0-9a-f]{64}#[0-9]{1,5}:[0-9]{1,18}$")], ...] = ()
    hydra_key: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    parties: tuple[Annotated[str, Meta(pattern="^[0-9a-f]{64}$")], ...] = ()
    deposit_script: Annotated[str, Meta(pattern="^([0-9a-f]{56})?$")] = ""
    mainnet: bool = False
    confirm_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 30.0


class Storage(Section, frozen=True):
    """This member's own bucket. `peers` are the places where other members' buckets may be: folders of this
    machine (absolute), S3 servers (URLs), Storj satellites (host:port); grants that lead elsewhere are
    refused."""

    kind: Literal["directory", "storj", "s3"] = "directory"
    path: Path | None = None
    bucket: str = ""
    endpoint: str = ""
    peers: tuple[str, ...] = ()
    retention_days: Annotated[int, Meta(ge=1, le=3650)] = 90


class Learning(Section, frozen=True):
    """Which private data each task may read, and how much of this machine training may take.

    Tasks may read `also_read` too (base models). They reach nothing else where the kernel can keep them so;
    with `confine` false they are not kept.
    """

    data: dict[str, Path] = {}
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Threads = 1
    nice: Annotated[int, Meta(ge=0, le=19)] = 10
    also_read: tuple[Path, ...] = ()
    confine: bool = True


class Policy(Section, frozen=True):
    """What this node does without asking its operator."""

    accept: Literal["ask", "known-peers"] = "ask"
    insecure_keys: bool = False


class Control(Section, frozen=True):
    """The control socket; empty: `control.sock` in the state directory."""

    socket: Path | None = None


class Log(Section, frozen=True):
    """Where events go: a file of JSON lines, or standard output (empty), which systemd's journal takes."""

    file: Path | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section, frozen=True):
    """Everything that an operator decides."""

    node: Node
    network: Network = Network()
    ledger: Ledger = Ledger()
    storage: Storage = Storage()
    learning: Learning = Learning()
    policy: Policy = Policy()
    control: Control = Control()
    log: Log = Log()

    @property
    def socket(self) -> Path:
        """The control socket's path."""
        return self.control.socket or self.node.state / "control.sock"

    @property
    def bucket_path(self) -> Path:
        """The directory bucket's path."""
        return self.storage.path or self.node.state / "bucket"


def load_config(path: Path) -> Config:
    """The configuration in the file at `path`; relative paths in it are relative to its folder.

    Raises `OperatorFault` naming file, key and remedy.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise OperatorFault(f"{path} is too large for a configuration", remedy="is it the right file?")
        table = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise OperatorFault(f"there is no {path}", remedy="create one with `starling init`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorFault(f"{path} cannot be read: {error}", remedy="check its permissions") from error
    except tomllib.TOMLDecodeError as error:
        raise OperatorFault(f"{path} is not TOML: {error}", remedy="mend the line it names") from error
    return parse_config(table, str(path), path.parent)


def parse_config(table: object, name: str, base: Path) -> Config:
    """The configuration in a decoded TOML table; `name` is for errors. Raises `OperatorFault`."""

    def decode(wanted: type, value: object) -> object:
        if wanted is Path and isinstance(value, str):
            return base / os.path.expanduser(value)
        raise ValueError(f"Expected a path as text, got `{type(value).__name__}`")

    try:
        return msgspec.convert(table, Config, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise OperatorFault(
            f"{name}: {_plain(str(error))}", remedy="config/node.example.toml documents every key"
        ) from error


def _plain(message: str) -> str:
    """The message with the key as an operator writes it: `learning.threads`, not `$.learning.threads`."""
    what, _, where = message.partition(" - at `$")
    key = where.strip("`.").lstrip(".")
    return f"{key}: {what}" if key else what
