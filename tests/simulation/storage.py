"""Every member's bucket: create-only objects that may be out of reach for a while, or arrive damaged."""

from __future__ import annotations

from random import Random


class Buckets:
    """Objects by owner and digest. `out` are buckets that cannot be reached, `withheld` those that their
    Byzantine owners closed for good."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._objects: dict[tuple[int, bytes], bytes] = {}
        self.out: set[int] = set()
        self.withheld: set[int] = set()
        self.bit_flip = 0.0
        self.flipped = 0

    def put(self, owner: int, digest: bytes, data: bytes) -> bool:
        """Whether the object is there now, which it then is for ever."""
        if owner in self.out:
            return False
        self._objects.setdefault((owner, digest), data)
        return True

    def peek(self, owner: int, digest: bytes) -> bytes | None:
        """The object as it is."""
        return self._objects.get((owner, digest))

    def get(self, owner: int, digest: bytes) -> bytes | None:
        """The object as it arrives; None where it cannot be had."""
        if owner in self.out or owner in self.withheld:
            return None
        data = self._objects.get((owner, digest))
        if data is not None and self._rng.random() < self.bit_flip:
            self.flipped += 1
            place = self._rng.randrange(8 * len(data))
            damaged = bytearray(data)
            damaged[place // 8] ^= 1 << place % 8
            return bytes(damaged)
        return data
