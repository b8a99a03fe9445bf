"""What touches the world: the daemon and its network, ledger, storage, learning and control."""

import atexit

from node.unpacked import drop_unpacked_library

VERSION = "0.1.0"

atexit.register(drop_unpacked_library)
