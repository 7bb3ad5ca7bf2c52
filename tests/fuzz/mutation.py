"""Bytes from bytes: small changes, drawn. It knows nothing of what they are."""

from __future__ import annotations

import random

_EDGES = (0, 1, 0x7F, 0x80, 0xFF)
LONGEST_BYTES = 20_000


def mutated(dice: random.Random, seeds: list[bytes], words: list[bytes]) -> bytes:
    """One of the seeds, changed one to eight times."""
    data = bytearray(dice.choice(seeds))
    for _ in range(1 + dice.randrange(8)):
        _change(dice, data, seeds, words)
    return bytes(data[:LONGEST_BYTES])


def _change(dice: random.Random, data: bytearray, seeds: list[bytes], words: list[bytes]) -> None:
    at = dice.randrange(len(data) + 1)
    until = min(len(data), at + 1 + int(dice.expovariate(0.2)))
    match dice.randrange(9):
        case 0 if at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        case 1 if at < len(data):
            data[at] = dice.choice(_EDGES)
        case 2:
            del data[at:until]
        case 3:
            data[at:at] = dice.randbytes(1 + dice.randrange(6))
        case 4:
            data[at:at] = data[at:until] * dice.choice((1, 1, 2, 50))
        case 5 if words:
            data[at:at] = dice.choice(words)
        case 6:
            other = dice.choice(seeds)
            begin = dice.randrange(len(other) + 1)
            data[at:until] = other[begin : begin + dice.randrange(40)]
        case 7:
            del data[at:]
        case _ if at + 4 <= len(data):
            data[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\x10\0"))
