"""The only words in which a member tells the others why: nothing else that is text leaves a node of itself.

An exception's text may quote a patient's name, a path or a password, an operator's own words whatever it
likes: such details stay in the node's own log. Every reason that travels is typed as one of these, and
anything else is refused at the door.
"""

from __future__ import annotations

from enum import Enum


class _Word(Enum):
    """`value` is what travels, `text` what people read."""

    text: str

    def __new__(cls, value: str, text: str) -> _Word:
        word = object.__new__(cls)
        word._value_ = value
        word.text = text
        return word


class Reason(_Word):
    """Why a member declines a job, or votes to end it."""

    OPERATOR = "operator", "its operator's decision"
    APPROVAL = "approval", "an approval is missing"
    CONSENT = "consent", "a consent was withdrawn"
    TERMS = "terms", "its operator does not agree to the job's terms"
    LATER = "later", "not now; propose it again later"
    NOT_POSSIBLE = "not-possible", "its node cannot take part, and has the details in its own log"


OPERATORS = (Reason.OPERATOR, Reason.APPROVAL, Reason.CONSENT, Reason.TERMS, Reason.LATER)
"""What an operator may choose; the rest a node says by itself."""


class KeyReason(_Word):
    """Why an attempt at the joint key failed for a member."""

    TOO_LONG = "too-long", "the attempt took too long"
    RESTARTED = "restarted", "a member was restarted meanwhile"
    DEVIATION = "deviation", "a message broke the rules of key generation"
    UNEXPLAINED = "unexplained", "it failed, and nothing shows by whose fault"
    FAILED_HERE = "failed-here", "its node failed, and has the details in its own log"
