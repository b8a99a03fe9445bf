"""What a caller of the kernel can do wrong; nothing has been computed or changed when one is raised."""

from __future__ import annotations

from protocol.errors import OperatorFault, OwnFault


class BadModulus(OwnFault):
    """A modulus that Montgomery arithmetic cannot serve: even, too small, too long, or not an integer."""


class BadOperand(OwnFault):
    """A number that is not an integer in the range its place requires."""


class LengthMismatch(OwnFault):
    """Sequences that are taken element by element have different lengths."""


class NotInvertible(OwnFault):
    """A negative exponent on a base that shares a factor with the modulus."""


class BackendUnavailable(OperatorFault):
    """A backend was asked for that this machine or this installation does not have."""
