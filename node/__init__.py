"""What touches the world: the daemon and its network, ledger, storage, learning and control."""
