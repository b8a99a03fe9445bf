"""The command line `starling`: everything an operator asks of a node, and what works without one.

It must start fast: a module here imports what the whole node needs (trio, libp2p, numpy) inside the
command that needs it, and the terminal library only where there is a terminal.
"""
