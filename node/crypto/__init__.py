"""Heavy cryptography in a process of its own, so that the daemon's event loop stays free."""
