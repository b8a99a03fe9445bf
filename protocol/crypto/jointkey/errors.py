"""How key generation fails: with a name where there is evidence, without one where there is none."""

from __future__ import annotations

from protocol.errors import MemberFault, StarlingError


class MissingMessage(MemberFault):
    """A member of the roster has no message in this round."""


class UnexpectedMessage(MemberFault):
    """A message from someone who is not another member of the roster."""


class MalformedMessage(MemberFault):
    """A message of the wrong version, round or length, or with a number out of range."""


class Equivocation(MemberFault):
    """`member` and `witness` disagree on what `member` broadcast in the round before.

    Either `member` sent different messages to different members, or `witness` misreports: their signed
    messages tell which.
    """

    def __init__(self, what: str, *, member: int, witness: int) -> None:
        super().__init__(what, member=member, remedy="compare the signed messages of the round before")
        self.witness = witness


class Cheater(MemberFault):
    """`member` provably departed from the protocol; every honest member comes to the same verdict."""


class GenerationFailed(StarlingError):
    """The result is wrong and nothing shows who spoiled it; nothing secret was released. Start again."""
