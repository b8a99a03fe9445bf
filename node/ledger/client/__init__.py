"""The client of a hydra-node: from its messages to one order of confirmed records."""
