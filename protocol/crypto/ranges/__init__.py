"""Range proofs of updates: every digit of every plaintext is short, and a private weight in range."""

from protocol.crypto.ranges.digits import DigitsInRange, prove_digits, verify_digits
from protocol.crypto.ranges.shape import Shape, Sizes

__all__ = ["DigitsInRange", "Shape", "Sizes", "prove_digits", "verify_digits"]
