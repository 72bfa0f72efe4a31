"""The Dockerfile as instructions. Owns reading it; never runs anything."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction with its stage, counted from 0."""

    stage: int
    word: str
    rest: str


def _parse(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found: list[Instruction] = []
    stage = -1
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        stage += word == "FROM"
        if word:
            found.append(Instruction(stage, word, rest.strip()))
    return found


RECIPE: Final = _parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))
LAST: Final = max(i.stage for i in RECIPE)


def all_of(word: str, stage: int | None = None) -> list[str]:
    """What stands behind each instruction of this word, in one stage or in all."""
    return [i.rest for i in RECIPE if i.word == word and stage in (None, i.stage)]


def environment(stage: int = LAST) -> dict[str, str]:
    """The variables that a stage sets."""
    return dict(pair.split("=", 1) for rest in all_of("ENV", stage) for pair in shlex.split(rest))
