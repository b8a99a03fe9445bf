"""What can be wrong with an encoded update, by whose fault it is."""

from __future__ import annotations

from protocol.errors import MemberFault, OwnFault, StarlingError


class EncodingError(StarlingError):
    """Base of every error of this package; its other base says whose fault it is."""


class Misuse(EncodingError, OwnFault):
    """The caller passed something that the codec was not built for."""


class NotFinite(Misuse):
    """An update holds NaN or infinity: training diverged, and nothing may be encrypted."""


class Malformed(EncodingError, MemberFault):
    """Received bytes or values do not follow the format."""


class Truncated(Malformed):
    """Received bytes end before the format does."""


class Excess(Malformed):
    """Received bytes go on after the format's end, or announce more than a limit allows."""


class Mismatch(EncodingError, MemberFault):
    """Well-formed, but not what was agreed or committed to: another round, sender, key or digest."""


class OutOfRange(EncodingError, MemberFault):
    """A decrypted sum is none that honest contributions add up to: a digit, or the weights together.

    Whoever opens the same sum finds the same, so that all discard it. `plaintext`, `slot` and `parameter`
    count from 0. `parameter` is the index in the flattened update, where the digits of a private weight
    follow the last parameter; None for padding.
    """

    def __init__(self, what: str, *, plaintext: int, slot: int, parameter: int | None) -> None:
        place = "" if parameter is None else f", parameter {parameter}"
        super().__init__(
            f"{what} in plaintext {plaintext}, slot {slot}{place}",
            remedy="some contributor encrypted more than it may; the round must not be applied",
        )
        self.plaintext = plaintext
        self.slot = slot
        self.parameter = parameter
