"""Owns the small mutations of the bounded run: the same for every run of the same target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

_LONGEST = 2_048


def mutations(seeds: Sequence[bytes], words: Sequence[bytes], random: Random, count: int) -> Iterator[bytes]:
    """`count` inputs, each a seed with one to four changes."""
    for _ in range(count):
        data = random.choice(seeds)
        for _ in range(random.randint(1, 4)):
            data = _changed(data, seeds, words, random)
        yield data[:_LONGEST]


def _changed(data: bytes, seeds: Sequence[bytes], words: Sequence[bytes], random: Random) -> bytes:
    start = random.randint(0, len(data))
    end = min(len(data), start + random.choice((1, 2, 8, 64)))
    match random.randrange(6):
        case 0:
            return data[:start] + bytes((random.randrange(256),)) + data[end:]
        case 1:
            return data[:start] + data[end:]
        case 2:
            return data[:end] + data[start:]
        case 3:
            return data[:start] + (random.choice(words) if words else b"\0") + data[start:]
        case 4:
            return data[:start] + (random.choice(words) if words else b"\xff") + data[end:]
        case _:
            other = random.choice(seeds)
            at = random.randint(0, len(other))
            return data[:start] + other[at:]
