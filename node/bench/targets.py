"""What Starling's cryptography has to reach, each with what was measured beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from node.bench.report import Generations, Operations, Target
from protocol.crypto.profiles import FAST, STANDARD

TWO_CORES = 2


FASTER = {"ifma": ("the kernel", 10_000, 100), "gmp": ("the fallback", 1_500, 10)}
"""How many times faster than phe encryption is: as shipped, and with our packing. At 2048 bits."""

KEY_SECONDS = {(3, FAST.modulus_bits): 60, (3, STANDARD.modulus_bits): 240, (2, FAST.modulus_bits): 300}
"""Wall seconds that a key generation may take on two cores, by members and bits."""


def of_operations(given: Operations) -> Iterator[Target]:
    """The targets for operations on one core, by CPU time."""
    single = given.on_one_core()
    for name, each in single.items():
        if given.facts.modulus_bits == FAST.modulus_bits:
            words, shipped, packed = FASTER[name]
            ours = each.costs["encrypt"].cpu
            ratio = given.shipped.encrypt.cpu / (ours * given.facts.per_parameter)
            yield Target(f"encryption with {words}, faster than phe as shipped", shipped, ratio, True)
            ratio = given.packed.encrypt.cpu / ours
            yield Target(f"encryption with {words}, faster than phe with our packing", packed, ratio, True)
    if "ifma" in single:
        ratio = given.gmp.decrypt.cpu / single["ifma"].costs["partial decrypt"].cpu
        yield Target("partial decryption with the kernel, faster than gmpy2.powmod", 5, ratio, True)
    fallback = single["gmp"]
    ratio = fallback.costs["verify"].cpu / fallback.costs["encrypt"].cpu
    yield Target("verification of an update's proof, of its encryption, fallback", 0.3, ratio, False)
    yield Target("proof of an update", 4096, fallback.plaintext_proof, False, " bytes")
    for words, name, bound in (("proof", "prove range", 62), ("check", "verify range", 63)):
        micro = fallback.costs[name].cpu * given.facts.per_parameter * 1e6
        yield Target(f"{words} of an update's ranges, fallback", bound, micro, False, " µs per parameter")
    size = fallback.range_proof / given.facts.parameters
    yield Target("range proof of an update", 29, size, False, " bytes per parameter")
    bucket = fallback.blob / given.facts.parameters
    yield Target("update in the bucket", 6, bucket, False, " bytes per parameter")


def of_keys(made: Sequence[Generations]) -> Iterator[Target]:
    """The targets for key generation, by wall time as measured and as two idle cores would take at best."""
    for each in made:
        seconds = KEY_SECONDS.get((each.members, each.bits))
        if seconds is not None:
            claim = f"key of {each.members} members, {each.bits} bits"
            yield Target(f"{claim}, wall as measured", seconds, each.wall, False, " s")
            idle = each.idle_wall(TWO_CORES)
            yield Target(f"{claim}, by CPU on two idle cores", seconds, idle, False, " s")
