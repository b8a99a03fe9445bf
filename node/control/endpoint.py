"""The socket itself: who may reach it, and that only one node listens on it."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import trio

from node.files import private_directory
from protocol.errors import OperatorFault

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path, sun_path in unix(7) without its end."""

BACKLOG = 16


def listen(path: Path) -> trio.SocketListener:
    """A listener at `path`: the socket is 0600, in a directory that only this user may enter.

    Raises `OperatorFault` for a path that is too long, a directory that others may enter, or one at which
    a node listens already.
    """
    check_path(path)
    try:
        if not path.parent.exists():
            private_directory(path.parent)
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        raise OperatorFault(
            f"the control socket {path} cannot be made: {error.strerror}",
            remedy="give the node a directory of its own, see control.socket",
        ) from error
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))


def check_path(path: Path) -> None:
    """Raise `OperatorFault` unless a control socket may lie at `path`."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise OperatorFault(
            f"the control socket's path {path} is longer than {MAX_SOCKET_PATH} bytes",
            remedy="set control.socket to a shorter one, such as /run/starling/control.sock",
        )
    if not path.parent.exists():
        return
    directory = path.parent.stat()
    if directory.st_uid != os.geteuid() or directory.st_mode & 0o077:
        raise OperatorFault(
            f"others may enter {path.parent}, where the control socket would lie",
            remedy=f"chmod 700 {path.parent}, or set control.socket to a directory of the node's own",
        )


def _remove_stale(path: Path) -> None:
    """Remove a socket that a dead node left; `OperatorFault` if one answers at it."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OperatorFault(
        f"a node listens at {path} already", remedy="stop it first, or give this one a state of its own"
    )


def peer_user(stream: trio.SocketStream) -> int:
    """The user id of the process at the other end, as the kernel knows it (SO_PEERCRED, unix(7))."""
    size = struct.calcsize("3i")
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    user: int = struct.unpack("3i", raw)[1]
    return user
