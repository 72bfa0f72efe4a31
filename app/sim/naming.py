"""Generated names, uids and hashes: deterministic, so that the same story gives the same names every time.

Used by the object store and the controllers. Holds no randomness; a counter and a seed take its place.
"""

from __future__ import annotations

import hashlib
import itertools
import uuid

from app.domain.json import canonical

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""The letters of Kubernetes' generated names: no vowels, nothing that looks like another sign."""


class Names:
    """Fresh names; two worlds with one seed give the same ones."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = itertools.count(1)

    def _bytes(self) -> bytes:
        return hashlib.sha256(f"{self._seed}/{next(self._count)}".encode()).digest()

    def uid(self) -> str:
        """A UUID."""
        return str(uuid.UUID(bytes=self._bytes()[:16], version=4))

    def suffix(self) -> str:
        """Five letters, as the API server appends them to generateName."""
        return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in self._bytes()[:5])

    def digest(self) -> str:
        """64 hex digits, for container and image ids."""
        return self._bytes().hex()


def template_hash(template: object, collisions: int = 0) -> str:
    """The value of pod-template-hash: 8 to 10 letters that depend on the template alone."""
    data = f"{canonical(template)}/{collisions}" if collisions else canonical(template)
    number = int.from_bytes(hashlib.sha256(data.encode()).digest()[:4]) | 0x8000_0000
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(number))
