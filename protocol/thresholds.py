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
        colluders = _limit(members)
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

    @property
    def votes(self) -> int:
        """How many members' word ends the waiting in a round: one of them is honest, where no more collude
        than are tolerated."""
        return min(self.colluders + 1, self.shares)

    def vouchers(self, members: int, *, trusting: bool) -> int:
        """V: how many members vouch for the same order before one of them releases a share of a sum in it.

        Who trusts its own hydra-node needs one honest voucher; who does not needs so many that any two such
        groups share an honest member, since a colluder vouches for every order (`tla/README.md`).
        """
        one_honest = self.colluders + 1
        return one_honest if trusting else max(one_honest, (members + self.colluders) // 2 + 1)

    def leaks(self, members: int) -> list[str]:
        """What somebody can learn under these thresholds that the inequalities rule out, in plain words.

        The inequalities: key generation tolerates `_limit` colluders, T > c, and q >= c + 2, where of three
        members or more at least one is taken to be curious. Whoever agrees must acknowledge each.
        """
        limit, curious = _limit(members), max(self.colluders, min(1, _limit(members)))
        found = []
        if self.colluders > limit:
            found.append(
                f"{self.colluders} colluders of {members} can break key generation, which tolerates {limit}"
            )
        if self.shares <= curious:
            found.append(f"any {self.shares} of the {members} members can decrypt every update")
        if self.quorum < curious + 2:
            found.append(
                f"{self.quorum - 1} of {self.quorum} contributors can subtract their own updates from the "
                "sum and read the one that is left"
            )
        return found

    def learnt(self, members: int) -> list[str]:
        """All that members can learn of others' updates beyond the defaults' promise, in plain words.

        `leaks`, what two members learn in any case, and what fewer colluders can do than under the defaults.
        Where there is any of it an operator has to agree by hand; no policy does.
        """
        found = self.leaks(members)
        if members == 2:
            found.insert(0, "two members: each learns the other's update, as the sum less its own")
        elif not found and self.tolerated(members) < _limit(members):
            found.append(
                f"{_together(self.tolerated(members) + 1)} may learn others' updates; "
                f"by default it takes {_limit(members) + 1} of {members}"
            )
        return found

    def tolerated(self, members: int) -> int:
        """So many members together learn nothing but sums, whatever the manifest claims."""
        return max(0, min(self.colluders, self.shares - 1, self.quorum - 2, _limit(members)))

    def in_words(self, members: int) -> str:
        """Who can decrypt, and who learns nothing, in one line that is true of any thresholds."""
        safe = self.tolerated(members)
        kept = (
            f"{_together(safe)} can learn nothing but sums" if safe else "one alone may learn others' updates"
        )
        return f"{self.quorum} contributions seal, any {self.shares} of {members} members decrypt, {kept}"


def _together(count: int) -> str:
    return "one member alone" if count == 1 else f"{count} members together"


def _limit(members: int) -> int:
    """The most colluders that key generation withstands: fewer than half, none of two."""
    return 0 if members == 2 else (members - 1) // 2
