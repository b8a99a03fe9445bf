"""What a member tells others about itself, from its configuration and its keys."""

from __future__ import annotations

from collections.abc import Sequence

from node.config import Config
from node.keys import NodeKeys
from node.peers import Card


def own_card(config: Config, keys: NodeKeys, addresses: Sequence[str], hydra: str = "") -> Card:
    """This node's card; `addresses` are the multiaddresses at which others reach it, `hydra` is the Hydra key
    of its hydra-node, as far as it is known."""
    return Card(
        name=config.node.name,
        peer=keys.identity.peer_id,
        payment=keys.wallet.key_hash.hex(),
        job_key=keys.job.public().hex(),
        bucket=config.storage.bucket or config.node.name,
        addresses=tuple(address.partition("/p2p/")[0] for address in addresses),
        hydra=hydra or config.ledger.hydra_key,
    )
