"""A joint key for exactly two members, who have no honest majority: see `party` for the protocol.

`plan` has the public numbers, `keys` each member's own Paillier key, `wellformed`, `bounded` and `opening`
the proofs, `candidate` the arithmetic of one candidate, `batch` the protocol for many of them at once,
`finalist` the tests of the one that looks right, and `replay` the check of all others once they are opened.
"""

from protocol.crypto.jointkey.pair.party import PairParty

__all__ = ["PairParty"]
