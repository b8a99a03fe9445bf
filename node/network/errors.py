"""What a caller of the network can meet besides the faults of `protocol.errors`."""

from __future__ import annotations

from protocol.errors import StarlingError


class NotConnected(StarlingError):
    """No connection to the member at this moment: nobody's fault; it is being redialled."""

    def __init__(self, member: int, why: str = "no connection") -> None:
        super().__init__(f"member {member} is not connected: {why}", remedy="wait for PeerUp and send again")
        self.member = member


class TransferFailed(StarlingError):
    """A bulk transfer broke off (line, timeout, full queue): nothing was delivered; it may be tried again."""

    def __init__(self, member: int, why: str) -> None:
        super().__init__(
            f"transfer with member {member} failed: {why}", remedy="try again or ask another member"
        )
        self.member = member


class BlobAbsent(TransferFailed):
    """The member does not have the blob, or does not give it to us."""
