"""No pattern of Python's own engine in the readers of secrets tries a run of the same signs in two ways: that takes the square of its length,
whoever sends it. What runs on RE2 cannot."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

import app.domain
from app.domain.gated import Gated

codes: Any = importlib.import_module("re._constants")
parser: Any = importlib.import_module("re._parser")
_SIGNS = [chr(code) for code in range(128)]
_CLASSES = {
    codes.CATEGORY_DIGIT: r"\d", codes.CATEGORY_NOT_DIGIT: r"\D", codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S", codes.CATEGORY_WORD: r"\w", codes.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
LONG = 1_000
_SEVERAL, _NESTED = 3, 24  # a group so often, of runs so long: each way to cut one multiplies
Signs = frozenset[str]


def signs_of(op: Any, said: Any) -> Signs | None:
    """Which signs one place of a pattern takes; None for what is no single sign."""
    if op is codes.LITERAL:
        return frozenset({chr(said), chr(said).swapcase()})
    if op is codes.NOT_LITERAL:
        return frozenset(_SIGNS) - {chr(said)}
    if op is codes.ANY:
        return frozenset(_SIGNS) - {"\n"}
    if op is not codes.IN:
        return None
    found = set[str]()
    for kind, value in said:
        if kind is codes.LITERAL:
            found.add(chr(value))
        elif kind is codes.RANGE:
            found |= {sign for sign in _SIGNS if value[0] <= ord(sign) <= value[1]}
        elif kind is codes.CATEGORY:
            found |= {sign for sign in _SIGNS if re.match(_CLASSES[value], sign)}
    return frozenset(_SIGNS) - found if said[0][0] is codes.NEGATE else frozenset(found)


def _runs(
    items: Iterable[Any], before: frozenset[Signs], faults: list[Signs], long: int = LONG
) -> frozenset[Signs]:
    """The runs of any length that may still be cut behind `items`; two that meet in a sign are a fault, unless the pattern ends there."""
    for op, said in items:
        if op in REPEATS:
            before = _repeated(op, said, before, faults, long)
        elif (one := signs_of(op, said)) is not None:
            before = frozenset(run & one for run in before if run & one)
        elif op is codes.SUBPATTERN:
            before = _runs(said[3], before, faults, long)
        elif op is codes.ATOMIC_GROUP:
            _runs(said, before, faults, long)
            before = frozenset()
        elif op is codes.BRANCH:
            before = frozenset().union(*(_runs(branch, before, faults, long) for branch in said[1]))
        elif op in (codes.ASSERT, codes.ASSERT_NOT):
            _runs(said[1], frozenset(), faults, long)
    return before


def _repeated(
    op: Any, said: Any, before: frozenset[Signs], faults: list[Signs], long: int
) -> frozenset[Signs]:
    least, most, body = said
    one = signs_of(*body[0]) if len(body) == 1 else None
    if one is None:
        inside = _runs(body, before, faults, long)
        if most >= _SEVERAL:
            inside = _runs(body, _runs(body, inside, faults, long), faults, min(long, _NESTED))
            _runs(body, _runs(body, frozenset(), faults, min(long, _NESTED)), faults, min(long, _NESTED))
        return before | inside if not least else inside
    faults += [run & one for run in before if run & one and most > long]
    own = frozenset({one}) if most > long and op is not codes.POSSESSIVE_REPEAT else frozenset()
    kept = before if not least else frozenset(run & one for run in before if run & one)
    return kept | own


def faults_of(pattern: str, flags: int, *, whole: bool = False) -> list[Signs]:
    """The signs of which a run is tried in two ways. A pattern of a `whole` text may fail behind its last part."""
    faults: list[Signs] = []
    parsed = list(parser.parse(pattern, flags))
    while not whole and parsed and parsed[-1][0] in REPEATS and not parsed[-1][1][0]:
        parsed.pop()  # nothing behind it can fail
    _runs(parsed, frozenset(), faults)
    return faults


def _patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for module in pkgutil.iter_modules(app.domain.__path__):
        if module.name.startswith(("secret_", "log_prefix", "disguise")):
            for name, value in vars(importlib.import_module(f"app.domain.{module.name}")).items():
                found = value.regex if isinstance(value, Gated) else value
                if isinstance(found, re.Pattern):
                    yield f"{module.name}.{name}", found


@pytest.mark.parametrize("pattern", [pytest.param(p, id=name) for name, p in _patterns()])
def test_no_run_of_signs_is_tried_in_two_ways(pattern: re.Pattern[str]) -> None:
    assert not faults_of(pattern.pattern, pattern.flags)


@pytest.mark.parametrize(
    ("pattern", "bad"),
    [
        (r"\s*,?\s*x", True), (r"\s*+,?\s*+x", False), (r"\s*,\s*x", False), (r"\s*\n\s*x", True), (r"(?:a+)+x", True),
        (r"[ \t]*(?:#[^\n]*)?\n", False), (r"a*(?:b|a*)x", True), (r"\w+[.-]\w+x", False), (r"\s+\S+\s+x", False),
        (r"x\s*,?\s*", False),
    ],
)  # fmt: skip
def test_what_is_such_a_pattern(pattern: str, bad: bool) -> None:
    assert bool(faults_of(pattern, 0)) is bad
