"""Errors say what went wrong, whose fault it is, and what to do about it.

Every error that Starling raises on purpose is a `StarlingError`; which of its branches it belongs to
answers *whose fault*: this process's caller (`OwnFault`), another member of the cohort (`MemberFault`),
or what the operator configured (`OperatorFault`). Anything else that escapes is a bug.
"""

from __future__ import annotations


class StarlingError(Exception):
    """Base of all deliberate errors: `what` happened and the `remedy` that helps."""

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(f"{what} ({remedy})" if remedy else what)
        self.what = what
        self.remedy = remedy


class OwnFault(StarlingError):
    """The calling code broke a rule; nothing was changed."""


class OperatorFault(StarlingError):
    """The configuration, the command or the environment is at fault; an operator can mend it."""


class MemberFault(StarlingError):
    """Another member's message or proof broke a rule; it is refused and changes nothing.

    `member` is the roster index (1…N) of the member at fault, or None where the sender is not yet
    known; a caller who knows it names it with `blame`.
    """

    def __init__(self, what: str, *, member: int | None = None, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.member = member

    def blame(self, member: int) -> MemberFault:
        """The same error with its author's index filled in where it was unknown."""
        if self.member is None:
            self.member = member
        return self

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.member is None else f"member {self.member}: {text}"
