"""Joint keys from a seed, to compare what two versions of the program cost for the same candidates.

python tests/support/seeded_keys.py MEMBERS BITS SEED…, with the version to measure on PYTHONPATH: all members
in one process, one line per seed. Such keys are for measurements only.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
import time
from unittest import mock

import gmpy2
import phe
from gmpy2 import mpz

from node.bench.keys import profile_of
from protocol.crypto.jointkey.choose import party_for
from protocol.crypto.jointkey.pair.keys import OwnKey
from protocol.crypto.jointkey.party import Finished, Incoming, Outgoing, Setup


class Seeded:
    """Leaves and own keys that follow from a seed, in the order in which the members ask for them."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._asked = itertools.count()

    def _draw(self, size: int) -> bytes:
        return hashlib.shake_256(f"{self._seed} {next(self._asked)}".encode()).digest(size)

    def leaves(self, count: int) -> list[bytes]:
        """In place of `leaf.fresh_leaves`."""
        return [self._draw(32) for _ in range(count)]

    def own_key(self, key: OwnKey, plan: object) -> None:
        """In place of `OwnKey.__init__`."""
        half = plan.own.modulus_bits // 2  # type: ignore[attr-defined]
        p, q = (self._prime(half) for _ in range(2))
        key._key = phe.PaillierPrivateKey(phe.PaillierPublicKey(int(p * q)), int(p), int(q))
        key.n = p * q

    def _prime(self, bits: int) -> mpz:
        prime = mpz.from_bytes(self._draw(bits // 8)) | mpz(3) << (bits - 2)
        while (prime := gmpy2.next_prime(prime)) % 4 != 3:
            continue
        return prime


def generate(members: int, bits: int, seed: str) -> str:
    """What one key took."""
    setup = Setup(bytes(32), bytes(32), members, 2, profile_of(bits))
    seeded, package = Seeded(seed), "protocol.crypto.jointkey."
    with (
        mock.patch(package + "batch.fresh_leaves", seeded.leaves),
        mock.patch(package + "pair.batch.fresh_leaves", seeded.leaves),
        mock.patch.object(OwnKey, "__init__", lambda key, plan: seeded.own_key(key, plan)),
    ):
        begun = time.process_time()
        parties = [party_for(setup, me) for me in setup.indices]
        sent: dict[int, Outgoing | Finished] = {party.me: party.start() for party in parties}
        rounds = 0
        while not isinstance(sent[1], Finished):
            sent = {party.me: party.advance(_inbox(sent, party.me)) for party in parties}
            rounds += 1
        cpu, tried = time.process_time() - begun, parties[0].progress.tried
    return (
        f"{members} members, {bits} bits, seed {seed}: {tried} candidates, {rounds} rounds, {cpu:.2f} s CPU, "
        f"{1000 * cpu / tried:.3f} ms each"
    )


def _inbox(sent: dict[int, Outgoing | Finished], me: int) -> dict[int, Incoming]:
    return {
        other: Incoming(each.broadcast, each.private[me])
        for other, each in sent.items()
        if other != me and isinstance(each, Outgoing)
    }


if __name__ == "__main__":
    for each in sys.argv[3:]:
        print(generate(int(sys.argv[1]), int(sys.argv[2]), each), flush=True)
