"""What touches the world: the daemon and its network, ledger, storage, learning and control."""

VERSION = "0.1.0"
