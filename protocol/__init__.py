"""What is true: pure state machines, cryptography and encodings.

Nothing in this package knows a clock, a socket, a thread, a file or a machine-learning library.
"""
