"""`starling bench`: how fast this machine is at what costs most."""

from __future__ import annotations

from node.cli.invocation import Invocation
from node.cli.parser import Commands, Run

BENCHES = {
    "crypto": (("node.bench", "crypto"), "encryption, proofs, decryption and key generation"),
    "ledger": (("node.ledger.bench",), "anchors through an emulated head"),
    "storage": (("node.storage.bench",), "objects through a bucket"),
}


def register(commands: Commands) -> None:
    group = commands.group("bench", "how fast this machine is")
    for name, (command, summary) in BENCHES.items():
        group.delegate(name, _runner(command), summary)


def _runner(command: tuple[str, ...]) -> Run:
    def run(call: Invocation) -> int:
        """In a process of its own: a benchmark shares nothing with this one."""
        import subprocess
        import sys

        return subprocess.run([sys.executable, "-m", *command, *call.rest]).returncode

    return run
