"""The crypto worker process: answers the requests of `desk` for one job.

python -m node.crypto.worker
"""

from __future__ import annotations

import os

from node.confinement.memory import keep_memory_private
from node.crypto import spread
from node.crypto.desk import Desk
from node.memory import return_large_blocks
from node.workers.pipe import Pipe, ProgressPipe, private_pipe
from node.workers.wire import error_to
from protocol.crypto import kernel
from protocol.crypto.sigma.schnorr import JobSecret
from protocol.errors import StarlingError
from protocol.manifest import Manifest


def main() -> None:
    """Serve the node at the other end of the pipe until it ends."""
    keep_memory_private()
    return_large_blocks()
    pipe: Pipe = private_pipe()
    if "STARLING_KERNEL" in os.environ:
        kernel.choose(os.environ["STARLING_KERNEL"])
    progress = ProgressPipe(pipe)
    opening = pipe.receive()
    os.nice(opening["nice"])
    manifest, secret = Manifest.from_bytes(opening["manifest"]), JobSecret.from_bytes(opening["secret"])
    desk = Desk(manifest, opening["me"], secret, progress.progress)
    with spread.over(opening["cores"]):
        pipe.send({"result": {"kernel": kernel.backend()}})
        while True:
            request = pipe.receive()
            try:
                pipe.send({"result": desk.answer(request)})
            except StarlingError as error:
                pipe.send({"error": error_to(error)})


if __name__ == "__main__":
    main()
