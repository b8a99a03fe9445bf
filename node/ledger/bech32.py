"""Bech32 (BIP-173) without its 90-character limit, as Cardano addresses use it (CIP-19)."""

from __future__ import annotations

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE = {c: i for i, c in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
MAX_LENGTH = 160  # a base address takes 108 characters; pointers a few more


def encode(prefix: str, data: bytes) -> str:
    """`data` as a bech32 string with human-readable `prefix`."""
    words = _regroup(data, 8, 5, pad=True)
    remainder = _polymod([*_expand(prefix), *words, *([0] * _CHECKSUM_LENGTH)]) ^ 1
    checksum = [(remainder >> 5 * (5 - i)) & 31 for i in range(_CHECKSUM_LENGTH)]
    return prefix + "1" + "".join(_ALPHABET[w] for w in (*words, *checksum))


def decode(text: str) -> tuple[str, bytes]:
    """The prefix and the bytes of a bech32 string; ValueError if it is not one."""
    if len(text) > MAX_LENGTH or text.lower() != text:
        raise ValueError("not a lower-case bech32 string of a sane length")
    prefix, separator, rest = text.rpartition("1")
    if not separator or not prefix or len(rest) < _CHECKSUM_LENGTH or any(c not in _VALUE for c in rest):
        raise ValueError("not a bech32 string")
    words = [_VALUE[c] for c in rest]
    if _polymod([*_expand(prefix), *words]) != 1:
        raise ValueError("wrong bech32 checksum")
    return prefix, bytes(_regroup(words[:-_CHECKSUM_LENGTH], 5, 8, pad=False))


def _expand(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _polymod(words: list[int]) -> int:
    check = 1
    for word in words:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ word
        for i, generator in enumerate(_GENERATOR):
            check ^= generator if (top >> i) & 1 else 0
    return check


def _regroup(data: bytes | list[int], width: int, to: int, *, pad: bool) -> list[int]:
    accumulator, bits, out = 0, 0, []
    for value in data:
        accumulator = (accumulator << width) | value
        bits += width
        while bits >= to:
            bits -= to
            out.append((accumulator >> bits) & ((1 << to) - 1))
    rest = accumulator & ((1 << bits) - 1)
    if pad and bits:
        out.append(rest << (to - bits))
    elif not pad and (bits >= width or rest):
        raise ValueError("bech32 padding is not zero")
    return out
