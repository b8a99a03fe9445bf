"""The Hydra head: its client, the anchor chain, the emulated head and the settlement audit."""
