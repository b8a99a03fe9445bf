"""Range proofs of updates: every digit of every plaintext is short, and a private weight in range."""

from protocol.crypto.ranges.digits import DigitsInRange, prove_digits, verify_digits
from protocol.crypto.ranges.shape import Shape

__all__ = ["DigitsInRange", "Shape", "prove_digits", "verify_digits"]
