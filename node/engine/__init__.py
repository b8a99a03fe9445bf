"""The engine: feeds the protocol's core with what happens, and carries out what it asks for."""
