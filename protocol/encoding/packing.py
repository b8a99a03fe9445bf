"""Many digits in one Paillier plaintext, with exactly the headroom that their sums need.

A digit has b bits and at most N of them are ever added, so a slot of w = b + ⌈log₂N⌉ bits holds any
sum of honest digits without a carry: N(2^b − 1) < 2^w. J = ⌊(|n| − 1)/w⌋ slots fit below the modulus;
slot j of a plaintext weighs 2^(jw). Parameters fill the slots of plaintext 0, then 1, and so on.

Encryption hides a contributor that uses larger digits. After decryption of the sum, `unpack` compares
each slot with what honest digits can reach, which caps such a digit's effect at that of N honest ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from protocol.encoding.errors import Malformed, Misuse, OutOfRange
from protocol.encoding.quantise import Digits, check_bits

MAX_MEMBERS = 1024  # keeps every sum below 2^34, hence exact in 64-bit integers and in float64
_WORD = 64


@dataclass(frozen=True)
class Packing:
    """Slots for sums of up to `members` digits of `bits` bits below a modulus of `modulus_bits` bits."""

    modulus_bits: int
    bits: int
    members: int

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if not 1 <= self.members <= MAX_MEMBERS:
            raise Misuse(f"sums are over 1 to {MAX_MEMBERS} members, not {self.members}")
        if self.slots < 1:
            raise Misuse(f"a modulus of {self.modulus_bits} bits has no room for one slot")

    @property
    def largest(self) -> int:
        """The largest digit of one contributor."""
        return (1 << self.bits) - 1

    @property
    def width(self) -> int:
        """Bits of a slot: w = b + ⌈log₂N⌉."""
        return self.bits + (self.members - 1).bit_length()

    @property
    def slots(self) -> int:
        """Slots in a plaintext: J = ⌊(|n| − 1)/w⌋."""
        return (self.modulus_bits - 1) // self.width

    def count(self, digits: int) -> int:
        """How many plaintexts hold `digits` digits."""
        return -(-digits // self.slots)

    def place(self, index: int) -> tuple[int, int]:
        """The plaintext and the slot, from 0, of the digit with this index."""
        return divmod(index, self.slots)

    def pack(self, digits: npt.NDArray[np.unsignedinteger]) -> list[mpz]:
        """Plaintexts below 2^(Jw) ≤ n of a non-empty 1-D array of unsigned digits up to `largest`.

        Unused slots of the last plaintext are zero. Raises `Misuse` for any other array.
        """
        if digits.ndim != 1 or digits.size == 0 or digits.dtype.kind != "u":
            raise Misuse("digits are a non-empty flat array of unsigned integers")
        if int(digits.max()) > self.largest:
            raise Misuse(f"a digit is above {self.largest}")
        grid = np.zeros((self.count(digits.size), self.slots), np.uint64)
        grid.reshape(-1)[: digits.size] = digits
        columns = np.ascontiguousarray(grid.T)
        words = np.zeros((self._words, grid.shape[0]), np.uint64)
        for slot, column in enumerate(columns):
            word, shift = divmod(slot * self.width, _WORD)
            words[word] |= column << np.uint64(shift)
            if shift + self.width > _WORD:
                words[word + 1] |= column >> np.uint64(_WORD - shift)
        data = np.ascontiguousarray(words.T).astype("<u8").tobytes()
        size = self._words * 8
        return [mpz(int.from_bytes(data[at : at + size], "little")) for at in range(0, len(data), size)]

    def unpack(self, plaintexts: Sequence[int], digits: int, contributors: int) -> Digits:
        """The first `digits` slots of a decrypted sum of `contributors` packed updates (uint64, flat).

        Raises `Malformed` for a wrong number of plaintexts and `OutOfRange` naming the first slot
        above contributors · `largest`, or above zero where no digit belongs; what overflows a
        plaintext's last slot counts as that slot's.
        """
        if not 1 <= contributors <= self.members:
            raise Misuse(f"{contributors} contributors where sums are of 1 to {self.members}")
        if digits < 1 or len(plaintexts) != self.count(digits):
            raise Malformed(f"{len(plaintexts)} plaintexts instead of {self.count(digits)}")
        sums = self._slots_of(plaintexts)
        beyond = sums > np.uint64(contributors * self.largest)
        beyond[digits:] = sums[digits:] > 0
        if beyond.any():
            raise self.out_of_range(int(beyond.argmax()), digits)
        return sums[:digits]

    def out_of_range(self, index: int, digits: int, what: str = "a sum is out of range") -> OutOfRange:
        """The error for a sum out of range in the slot with this index, when `digits` slots are in use."""
        plaintext, slot = self.place(index)
        parameter = index if index < digits else None
        return OutOfRange(what, plaintext=plaintext, slot=slot, parameter=parameter)

    @property
    def _words(self) -> int:
        """64-bit words of a packed plaintext, as many as every slot can be cut from in two reads."""
        return self.slots * self.width // _WORD + 1

    def _slots_of(self, plaintexts: Sequence[int]) -> Digits:
        """All slots of all plaintexts in order; a plaintext that overflows has 2^64 − 1 in its last."""
        size, capacity = self._words * 8, self.slots * self.width
        overflows = np.array([not 0 <= plaintext < 1 << capacity for plaintext in plaintexts])
        low = mpz(1 << capacity) - 1
        data = b"".join(int(plaintext & low).to_bytes(size, "little") for plaintext in plaintexts)
        rows = np.frombuffer(data, "<u8").reshape(len(plaintexts), self._words)
        words = np.ascontiguousarray(rows.T).astype(np.uint64)
        columns = np.empty((self.slots, len(plaintexts)), np.uint64)
        for slot in range(self.slots):
            word, shift = divmod(slot * self.width, _WORD)
            columns[slot] = words[word] >> np.uint64(shift)
            if shift + self.width > _WORD:
                columns[slot] |= words[word + 1] << np.uint64(_WORD - shift)
        columns &= np.uint64((1 << self.width) - 1)
        columns[-1, overflows] = np.iinfo(np.uint64).max
        return columns.T.reshape(-1)
