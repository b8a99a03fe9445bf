"""Which construction makes a joint key for a roster."""

from __future__ import annotations

from collections.abc import Callable

from protocol.crypto.jointkey.honest_majority import HonestMajorityParty
from protocol.crypto.jointkey.pair import PairParty
from protocol.crypto.jointkey.party import Party, Progress, Setup


def party_for(setup: Setup, me: int, on_progress: Callable[[Progress], None] | None = None) -> Party:
    """This member's party: two members multiply under their own keys, more share with an honest majority."""
    if setup.members == 2:
        return PairParty(setup, me, on_progress)
    return HonestMajorityParty(setup, me, on_progress)
