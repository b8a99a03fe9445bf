"""The control socket: how operators and their programs talk to a running node. See README.md here."""
