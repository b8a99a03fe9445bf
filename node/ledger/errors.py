"""Typed errors of the ledger: what happened, whose fault, what to do."""

from __future__ import annotations

from protocol.errors import MemberFault, OperatorFault, OwnFault


class MalformedTransaction(MemberFault):
    """Bytes that are not a Cardano transaction, or one outside the limits of this parser."""


class MalformedMessage(OperatorFault):
    """The node sent something its API does not allow; the message is refused and changes nothing."""


class AnchorTooLarge(OwnFault):
    """A record, datum or transaction is over the limit that still leaves a head."""


class OutOfFunds(OperatorFault):
    """The member's chain has no output that can carry the next anchor."""


class NodeUnavailable(OperatorFault):
    """The hydra-node cannot be reached or answered with an error."""


class WrongAddress(NodeUnavailable):
    """What is configured as the hydra-node's address can be none: said at every use until it is mended."""


class CommandRefused(OperatorFault):
    """The node understood a command and refused it in its present state."""


class DraftRefused(OperatorFault):
    """What the hydra-node drafted for this member to sign is not what it must be; nothing was signed."""


class ForeignHead(OperatorFault):
    """The node is in another head than the one this ledger follows."""


class KeyFileError(OperatorFault):
    """A key file is missing, readable by others, or not an Ed25519 payment key."""


class HistoryGap(OperatorFault):
    """The node no longer has the confirmations of slots `from_slot` … `to_slot` (None: unknown end).

    They must come from the other members, through the `recover` hook of the client.
    """

    def __init__(self, from_slot: int, to_slot: int | None, *, from_snapshot: int, to_snapshot: int) -> None:
        end = "?" if to_slot is None else str(to_slot)
        super().__init__(
            f"the node's history lacks slots {from_slot}…{end} (snapshots {from_snapshot}…{to_snapshot})",
            remedy="fetch the missing records from the other members",
        )
        self.from_slot = from_slot
        self.to_slot = to_slot
        self.from_snapshot = from_snapshot
        self.to_snapshot = to_snapshot


class BrokenChain(MemberFault):
    """Records do not continue a member's hash chain of anchors."""
