"""A joint key for two members: everything is multiplied under each one's own Paillier key.

Each member makes a Paillier key (`keys`) and proves its modulus well formed. Batches of candidates n = (p₁ +
p₂)(q₁ + q₂) are then sieved, multiplied and tested (`batch`); the first that passes every test (`finalist`)
becomes the joint modulus. A product under both keys turns p + q into shares of β·φ(n), from which `derive`
makes the threshold key, as for any number of members.

What holds if one of the two departs from the protocol in any way, and the other does not:

- *Named*: whatever it does to a candidate that fails is found when the leaves of all failed candidates are
  opened and replayed. Of the winner it proves that its own modulus is a product of two primes (ePrint
  2021/060), that its summands are short (to 88 bits more than they should be), that n is their product with
  the other's, and that all its powers have one exponent; powers and openings it committed to before it heard
  the other's (`commitment`). To find the other's p and q is then to factor n.
- *Not proved, but found out unless it happens to the winner alone* (one candidate in `Plan.expected`, before
  anyone knows which): the contents of the sieve. Cheating there at best shows the other's p and q modulo M,
  three eighths of their bits, where factoring n takes half of one (Coppersmith 1996).
- *Not proved, and harmless to secrecy*: answers to the winner's products. A false one makes a test fail; that
  none failed says one bit about the other's secrets at most. Equally the divisor checks of a winner, which a
  random modulus fails once in a hundred times: a member may lie in them. A wrong β·φ(n) shows in `derive`,
  with no evidence for others; but whoever kept to the protocol knows that it was the other, and names it.
- Nobody can be made to finish: a member who stops, stops the generation. Run it anew; all keys are fresh.

Secrecy rests on Paillier's assumption (DCR) for either member's own key, whose encryption exponents have half
its length (indistinguishable from full length if factoring it is hard), and on SHA-2 and SHA-3 as random
oracles. Own keys come from `phe` and the operating system's randomness (`random.SystemRandom`), everything
else from `secrets`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from gmpy2 import mpz

from protocol.crypto.integers import byte_width, decode_integer, encode_integer
from protocol.crypto.jointkey.derive import derive
from protocol.crypto.jointkey.errors import Cheater, GenerationFailed
from protocol.crypto.jointkey.fields import exponent_field
from protocol.crypto.jointkey.pair.batch import Batch
from protocol.crypto.jointkey.pair.bounded import MASK_EXTRA
from protocol.crypto.jointkey.pair.finalist import Outcome
from protocol.crypto.jointkey.pair.keys import Keys, MemberKey, OwnKey
from protocol.crypto.jointkey.pair.plan import PATIENCE, Plan, plan
from protocol.crypto.jointkey.pair.wellformed import PaillierBlum, PaillierBlumProver
from protocol.crypto.jointkey.party import Party, Progress, Received, Round, Setup, Shape, Steps
from protocol.crypto.jointkey.wire import blaming
from protocol.crypto.paillier import public_key
from protocol.crypto.sigma import prove, verify
from protocol.errors import OwnFault

MEMBERS = 2


class PairParty(Party):
    """One of two members that make a joint key; see `Party` for how to drive it."""

    def __init__(self, setup: Setup, me: int, on_progress: Callable[[Progress], None] | None = None) -> None:
        if setup.members != MEMBERS:
            raise OwnFault(f"a pair has two members, not {setup.members}")
        super().__init__(setup, me, on_progress)

    def _steps(self) -> Steps:
        numbers = plan(self.setup.profile.modulus_bits)
        self.report("making own keys", expected=numbers.expected)
        keys = yield from self._exchange_keys(numbers)
        winner = yield from self._find_modulus(numbers, keys)
        public = public_key(winner.n, self.setup.profile)
        field = exponent_field(self.setup.profile.modulus_bits)
        try:
            return (yield from derive(self, public, winner.share % field, field))
        except GenerationFailed as failure:
            raise Cheater(f"spoiled the threshold key: {failure}", member=self.others[0]) from failure

    def _exchange_keys(self, numbers: Plan) -> Generator[Round, Received, Keys]:
        """Make a key, prove its modulus well formed, and check the other's."""
        own, (other,) = OwnKey(numbers), self.others
        claim = PaillierBlum(own.n)
        proof = prove(claim, PaillierBlumProver(claim, own), self.setup.context(self.me))
        width = byte_width(own.n)
        body = encode_integer(own.n, width) + proof
        received = yield Round(Shape.exactly(len(body)), body)
        self.report("checking the other's key")
        theirs = received.bodies[other]
        with blaming(other):
            n = decode_integer(theirs[:width], width=width, below=mpz(1) << numbers.own.modulus_bits)
            key = MemberKey(other, n, numbers, numbers.blinding_bits)
            verify(PaillierBlum(n), theirs[width:], self.setup.context(other))
        mine = MemberKey(self.me, own.n, numbers, numbers.exponent_bits + MASK_EXTRA)
        return Keys(own, mine, key)

    def _find_modulus(self, numbers: Plan, keys: Keys) -> Generator[Round, Received, Outcome]:
        for number in range(PATIENCE * numbers.expected // numbers.batch):
            outcome = yield from Batch(self, numbers, keys, number).run()
            if outcome is not None:
                return outcome
        raise GenerationFailed("no modulus was found among many candidates", remedy="start again")
