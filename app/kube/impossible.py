"""The answer of a builder that has no safe action to offer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Impossible:
    """`why` is one sentence with its numbers; `advice` what a person could do instead, empty when there is nothing. `stands`: what is asked for is so
    already."""

    why: str
    advice: str = ""
    stands: bool = False
