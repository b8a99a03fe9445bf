"""Run the emulated network as a process of its own.

    python -m support.storj                  serve until killed; prints the root access grant and the address
    python -m support.storj COMMAND …        run a command with the grant in STORJ_ACCESS, then end

One bucket, `updates`, is there.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import trio

from support.storj.emulator import running


async def main(command: list[str]) -> int:
    """Serve; returns the command's exit status."""
    with tempfile.TemporaryDirectory() as directory:
        async with running(Path(directory)) as emulator:
            emulator.satellite.buckets.add(b"updates")
            access = emulator.root_access()
            if not command:
                print(json.dumps({"access": access, "address": emulator.address}), flush=True)
                await trio.sleep_forever()
            done = await trio.run_process(command, env=os.environ | {"STORJ_ACCESS": access}, check=False)
            return done.returncode


sys.exit(trio.run(main, sys.argv[1:]))
