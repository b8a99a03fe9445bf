"""Exit codes, as `starling --help` lists them."""

from __future__ import annotations

from node.control.errors import NodeFailed, Unreachable
from protocol.errors import MemberFault, StarlingError

OK = 0
REFUSED = 1
USAGE = 2
UNREACHABLE = 3
MEMBER_FAULT = 4
BUG = 5
INTERRUPTED = 130

MEANINGS = {
    OK: "done",
    REFUSED: "refused: configuration, command or environment are at fault, and the message says what helps",
    USAGE: "the command line is wrong",
    UNREACHABLE: "no node answers at the control socket",
    MEMBER_FAULT: "another member is at fault",
    BUG: "a bug in Starling",
    INTERRUPTED: "interrupted",
}


def exit_code(error: StarlingError) -> int:
    """The code for an error: whose fault it is."""
    match error:
        case Unreachable():
            return UNREACHABLE
        case MemberFault():
            return MEMBER_FAULT
        case NodeFailed():
            return BUG
        case _:
            return REFUSED
