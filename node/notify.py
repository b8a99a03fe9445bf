"""Telling the service manager how we are (sd_notify(3)); nothing happens where there is none."""

from __future__ import annotations

import os
import socket

import trio


def notify(message: str) -> None:
    """Send `message`, such as READY=1 or STATUS=…, to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(message.encode())


async def keep_watchdog() -> None:
    """Pet the watchdog twice in its interval: a blocked event loop does not, and is restarted."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    if not microseconds:
        return
    while True:
        notify("WATCHDOG=1")
        await trio.sleep(int(microseconds) / 2_000_000)
