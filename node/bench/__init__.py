"""How fast this machine is: `python -m node.bench crypto`."""
