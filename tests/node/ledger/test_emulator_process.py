"""The emulated head as a process: started, killed, started again, told to stop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
import trio

from node.ledger.emulator.__main__ import main
from node.ledger.emulator.remote import Emulator


def _free_ports():
    """A control port with three free ports after it."""
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        try:
            for port in range(first, first + 4):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError


@pytest.fixture
def command(tmp_path, wallets):
    control = _free_ports()
    ports = ["--control-port", str(control), "--port", str(control + 1)]
    participants = [x for w in wallets for x in ("--participant", w.key_hash.hex())]
    return [str(tmp_path / "head"), *ports, *participants], control


async def test_a_killed_emulator_comes_back_as_it_was(command):
    arguments, control = command
    emulator = Emulator(f"http://127.0.0.1:{control}")
    for end, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        process = subprocess.Popen([sys.executable, "-m", "node.ledger.emulator", *arguments])
        try:
            await emulator.ready()
            seen = [party["online"] for party in (await emulator.status())["parties"]]
            assert seen == ([True, True, True] if end is signal.SIGKILL else [True, False, True])
            await emulator.party(2, "offline")
            process.send_signal(end)
            assert await trio.to_thread.run_sync(process.wait) == code
        finally:
            process.kill()
    await emulator.aclose()


def test_faults_of_the_operator_are_told_in_one_line(tmp_path, command, capsys):
    arguments, control = command
    assert main([str(tmp_path / "nothing")]) == 1
    assert not (tmp_path / "nothing").exists()
    assert main([str(tmp_path / "new"), "--participant", "abc"]) == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", control + 1))
        taken.listen()
        assert main(arguments) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "participants" in errors[0]
    assert f"port {control + 1}" in errors[2]
