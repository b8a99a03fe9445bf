"""Tries what a hostile task would try, as a worker's module, and prints what it got as one line of JSON.

The places to try are named in the file `places` in the folder that it may read (see test_worker_confinement).
"""

import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path

PR_GET_NO_NEW_PRIVS, PR_GET_DUMPABLE = 39, 3


def attempt(work):
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return "done"


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def write(path):
    with open(path, "a") as file:
        file.write("x")


def own_scratch():
    path = Path.home() / "a" / "b"
    path.parent.mkdir()
    path.write_text("x")
    path.rename(path.with_name("c"))
    with open(os.devnull, "w") as null:
        null.write("x")
    left, right = socket.socketpair()
    left.close()
    right.close()


places = json.loads(Path(os.environ["PYTHONPATH"].split(os.pathsep)[0], "places").read_text())
parent = os.getppid()
found = {
    "read data": attempt(lambda: Path(places["data"], "numbers").read_text()),
    "write data": attempt(lambda: write(Path(places["data"], "numbers"))),
    "add to data": attempt(lambda: write(Path(places["data"], "new"))),
    "remove data": attempt(lambda: Path(places["data"], "numbers").unlink()),
    "list keys": attempt(lambda: os.listdir(places["keys"])),
    "read key": attempt(lambda: Path(places["keys"], "job.key").read_bytes()),
    "read journal": attempt(lambda: Path(places["journal"]).read_bytes()),
    "write elsewhere": attempt(lambda: write(places["elsewhere"])),
    "parent's memory": attempt(lambda: os.close(os.open(f"/proc/{parent}/mem", os.O_RDWR))),
    "parent's environment": attempt(lambda: Path(f"/proc/{parent}/environ").read_bytes()),
    "parent's files": attempt(lambda: os.readlink(f"/proc/{parent}/fd/0")),
    "signal": attempt(lambda: os.kill(parent, signal.SIGCONT)),
    "control socket": attempt(lambda: connect(places["socket"])),
    "tcp": attempt(lambda: socket.create_connection(("127.0.0.1", places["port"])).close()),
    "udp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()),
    "netlink": attempt(lambda: socket.socket(socket.AF_NETLINK).close()),
    "datagram pair": attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)),
    "scratch": attempt(own_scratch),
    "environment": dict(os.environ),
    "home": os.environ["HOME"],
    "privileges": ctypes.CDLL(None).prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
    "capabilities": Path("/proc/self/status").read_text().split("CapPrm:")[1].split()[0],
    "core": Path("/proc/self/limits").read_text().split("Max core file size")[1].split()[:2],
    "descriptors": [os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)],
    "safe path": sys.flags.safe_path,
}
print(json.dumps(found), file=sys.stderr, flush=True)
