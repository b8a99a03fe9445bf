"""How key generation fails: with a name where there is evidence, without one where there is none."""

from __future__ import annotations

from protocol.errors import MemberFault, OwnFault, StarlingError


class WrongSenders(OwnFault):
    """The caller gave other messages than one of every other member. Silence makes no culprit: wait."""


class MalformedMessage(MemberFault):
    """A message of the wrong version, round or length, or with a number out of range."""


class Cheater(MemberFault):
    """`member` provably departed from the protocol; every honest member comes to the same verdict."""


class GenerationFailed(StarlingError):
    """The attempt cannot succeed, and nothing that others could check shows who spoiled it.

    Nothing secret was released. Start again.
    """


class Equivocation(GenerationFailed):
    """Two members report different broadcasts of one author: it sent two, or one of them misreports.

    Which it was shows in nothing that everybody holds, so nobody is named.
    """


class Unproven(GenerationFailed):
    """A private message is wrong, and only its recipient can see that: nobody is named."""
