"""Who signs a head: the members' Hydra keys, from their cards or from the configuration.

A snapshot counts where all of them signed it, and nobody else. With one key that an operator does not know,
the head could be another one than the members', so that there is no job without all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from node.config import Ledger
from node.ledger.client import messages
from node.ledger.client.node import HydraNode
from node.ledger.errors import MalformedMessage, NodeUnavailable
from protocol.errors import OperatorFault
from protocol.roster import Roster

ASK_SECONDS = 10.0
"""For this member's hydra-node to say its own key."""


def parties_of(roster: Roster, me: int, cards: Mapping[int, bytes], config: Ledger) -> tuple[bytes, ...]:
    """The Hydra keys of all members in roster order; this member's is empty where only its node can say it.

    `cards` are the keys in others' cards, by index. Raises `OperatorFault` naming members without one.
    """
    named = dict(zip(roster.indices, map(bytes.fromhex, config.parties), strict=False))
    if config.parties and len(config.parties) != roster.size:
        named = {}
    own = bytes.fromhex(config.hydra_key)
    keys = {i: cards.get(i) or named.get(i) or (own if i == me else b"") for i in roster.indices}
    unknown = [roster.member(i).name for i in roster.indices if i != me and not keys[i]]
    if unknown:
        raise OperatorFault(
            f"the Hydra keys of these members are not known: {', '.join(unknown)}",
            remedy="add new cards of theirs (`starling card`), or name all keys under ledger.parties",
        )
    if any(named.get(i, key) != key for i, key in keys.items() if key):
        raise OperatorFault(
            "ledger.parties and the members' cards name different Hydra keys",
            remedy="find out which are right; with cards that have them, ledger.parties can be left out",
        )
    known = [key for key in keys.values() if key]
    if len(set(known)) != len(known):
        raise OperatorFault(
            "two members have the same Hydra key", remedy="one of the cards is wrong: ask for both again"
        )
    return tuple(keys.values())


async def own_hydra_key(config: Ledger) -> str:
    """This member's Hydra verification key (hex): as configured, or as its hydra-node says; empty where
    neither does."""
    if config.hydra_key:
        return config.hydra_key
    node = HydraNode(config.url)
    try:
        with trio.move_on_after(ASK_SECONDS):
            async with node.connect(history=False) as channel:
                while True:
                    try:
                        _, message = messages.parse(await channel.receive())
                    except MalformedMessage:
                        continue
                    if isinstance(message, messages.Greetings):
                        return message.me.hex()
    except NodeUnavailable:
        return ""
    finally:
        await node.aclose()
    return ""
