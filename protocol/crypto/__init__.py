"""Paillier under a joint key that nobody holds whole, with proofs. See README.md in this folder."""
