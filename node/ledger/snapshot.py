"""What the parties of a head sign: the signable bytes of a snapshot and the check of a multi-signature.

Source: hydra-tx `Snapshot.hs` (SignableRepresentation) at releases 1.0.0 to 2.3.0. From 2.2 the UTxO set is
covered by a KZG accumulator's hash that the node states; before, by a hash of the outputs themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cbor2

from node.ledger import plutus
from node.ledger.transaction import UTxO
from node.ledger.wallet import verify


@dataclass(frozen=True, slots=True)
class Signable:
    """The parts of a snapshot that signatures cover. `utxo` is None where the node left it out."""

    head_id: bytes
    version: int
    number: int
    accumulator: bytes | None
    utxo: UTxO | None
    to_commit: UTxO
    to_decommit: UTxO

    def layouts(self) -> list[bytes]:
        """The signed bytes in each layout that this snapshot may be signed in, newest release first."""
        head = cbor2.dumps(self.head_id) + cbor2.dumps(self.version) + cbor2.dumps(self.number)
        commit, decommit = plutus.hash_outputs(self.to_commit), plutus.hash_outputs(self.to_decommit)
        if self.accumulator is not None:
            short = head + cbor2.dumps(self.accumulator)
            full = short + cbor2.dumps(decommit) + cbor2.dumps(commit)
            # Release 2.2 signed no commits; it is tried only where there are none to redirect.
            return [full] if self.to_commit or self.to_decommit else [full, short]
        if self.utxo is None:
            return []
        outputs = plutus.hash_outputs(self.utxo)
        return [head + b"".join(map(cbor2.dumps, (outputs, commit, decommit)))]


def verified(snapshot: Signable, signatures: Sequence[bytes], parties: Sequence[bytes]) -> bool:
    """Whether each party (Ed25519 keys in the head's order) signed; one signature per party, in order."""
    if len(signatures) != len(parties) or not parties:
        return False
    try:
        layouts = snapshot.layouts()
    except ValueError:
        return False  # an output that no script can see, so no head can hold it
    return any(
        all(verify(key, signature, message) for key, signature in zip(parties, signatures, strict=True))
        for message in layouts
    )
