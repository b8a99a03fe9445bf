"""Does what the node's processes do, with no system calls but those named on standard input.

What it does is the argument; it prints "fine" when all went well. Run by test_confinement.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

LIBRARY = "libseccomp.so.2"
PTRACE_TRACEME = 0
ALLOW, ERRNO = 0x7FFF0000, 0x00050000 | errno.EPERM


def confine(names: list[str]) -> None:
    """What SystemCallFilter= does, for this process and its children (seccomp_rule_add(3))."""
    seccomp = ctypes.CDLL(LIBRARY)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ERRNO)))
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # there are names of other processors' calls in the lists
            seccomp.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0)
    if seccomp.seccomp_load(context) != 0:
        sys.exit("the filter could not be loaded")


def is_confined() -> bool:
    """Whether a call that no node needs is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.ptrace(PTRACE_TRACEME, 0, 0, 0) == -1 and ctypes.get_errno() == errno.EPERM


def train() -> None:
    import torch

    os.nice(10)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten())
    network.append(torch.nn.Linear(8 * 26 * 26, 10))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    loss = torch.nn.functional.cross_entropy(network(torch.rand(4, 1, 28, 28)), torch.arange(4))
    loss.backward()
    optimiser.step()


def encrypt() -> None:
    from gmpy2 import mpz

    from protocol.crypto import kernel
    from protocol.crypto.sigma.schnorr import JobSecret

    JobSecret.generate().public()
    for name in kernel.available():
        with kernel.using(name):
            assert kernel.Modulus(mpz((1 << 521) - 1)).powers([mpz(3)], mpz(5)) == [mpz(243)]


def worker() -> None:
    import trio

    from node.confinement.kernel import kernel
    from node.workers.process import WorkerLost, WorkerProcess

    async def last_words() -> str:
        begun = await WorkerProcess.start("node.learning.worker", 1, 60.0)
        try:
            await begun.ask({"task": "none"}, lambda message: message, lambda progress: None)
        except WorkerLost as lost:
            return lost.stderr
        return ""

    assert str(kernel().landlock) == os.environ["LANDLOCK_ABI"]
    assert "KeyError" in trio.run(last_words)  # it has run confined, and found the request incomplete


def network() -> None:
    import socket

    import ifaddr  # lists the own addresses for mDNS, through netlink

    import node.daemon
    import node.storage.s3.store
    import node.storage.uplink.library  # noqa: F401

    assert any(each.name == "lo" for each in ifaddr.get_adapters())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname()).close()


if __name__ == "__main__":
    confine(sys.stdin.read().split())
    if not is_confined():
        sys.exit("the filter does not hold")
    {"train": train, "encrypt": encrypt, "worker": worker, "network": network}[sys.argv[1]]()
    print("fine")
