"""What can be wrong with a set of shares."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocol.errors import MemberFault, OwnFault


class BadShareIndex(OwnFault):
    """A share index is not positive, or given twice: shares belong to distinct members 1, 2, …"""


class TooFewShares(OwnFault):
    """Fewer shares than the degree of the sharing asks for."""


class InconsistentShares(MemberFault):
    """The shares do not lie on one polynomial of the stated degree: at least one of them is wrong."""


class WrongShare(MemberFault):
    """A share does not match its dealer's commitments."""


def require_points(points: Sequence[int]) -> None:
    """Raise `BadShareIndex` unless all `points` are positive and distinct (zero is where the secret lies)."""
    for point in points:
        if point < 1:
            raise BadShareIndex(f"{point} is no share index: they start at 1")
    if len(set(points)) != len(points):
        raise BadShareIndex("a share index is given twice")


def require_shares(shares: Collection[object], needed: int) -> None:
    """Raise `TooFewShares` unless there are at least `needed`."""
    if len(shares) < needed:
        raise TooFewShares(f"{len(shares)} shares of the {needed} needed")
