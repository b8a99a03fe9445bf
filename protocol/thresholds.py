"""How many members it takes: to decrypt, to seal, and to betray."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from protocol.crypto.threshold import MAX_MEMBERS
from protocol.errors import OperatorFault
from protocol.wire import Wire

Count = Annotated[int, Meta(ge=0, le=MAX_MEMBERS)]


class Thresholds(Wire, frozen=True):
    """Tolerated colluders c, shares T needed to decrypt, contributions needed to seal a round."""

    colluders: Count
    shares: Count
    quorum: Count

    @classmethod
    def default(cls, members: int) -> Thresholds:
        """The safest that still lets large cohorts lose members: see `leaks` for the inequalities."""
        colluders = 0 if members == 2 else (members - 1) // 2
        return cls(colluders, max(2, colluders + 1), min(members, colluders + 2))

    def check(self, members: int, *, acknowledged: bool = False) -> None:
        """Raise `OperatorFault` unless these fit `members` members.

        Choices that leak (`leaks`) need `acknowledged`; impossible ones are refused in any case.
        """
        if not 2 <= self.shares <= members or not 2 <= self.quorum <= members:
            raise OperatorFault(
                f"{self.shares} shares and {self.quorum} contributions do not fit {members} members",
                remedy="both are at least 2 and at most the number of members",
            )
        leaks = self.leaks(members)
        if leaks and not acknowledged:
            raise OperatorFault(
                "these thresholds leak: " + "; ".join(leaks),
                remedy="choose larger thresholds, or acknowledge the leak in the manifest",
            )

    def leaks(self, members: int) -> list[str]:
        """What somebody can learn under these thresholds that the defaults rule out, in plain words."""
        limit = 0 if members == 2 else (members - 1) // 2
        found = []
        if self.colluders > limit:
            found.append(
                f"{self.colluders} colluders of {members} can break key generation, which tolerates {limit}"
            )
        if self.shares <= self.colluders:
            found.append(f"{self.colluders} colluders hold the {self.shares} shares that decrypt any update")
        if self.quorum < self.colluders + 2:
            found.append(
                f"{self.colluders} colluders among {self.quorum} contributors can subtract their own updates "
                "and read the one that is left"
            )
        return found
