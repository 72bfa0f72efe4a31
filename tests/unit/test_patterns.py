"""No pattern by which a stranger's text is read takes the square of its length: none tries a run of the same signs in two ways, and none that
is searched for begins anew at each sign of what it read to the end for nothing. What is bounded otherwise is listed with its bound."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.domain.gated import Gated
from tests.unit.domain.test_redact_patterns import LONG, REPEATS, Signs, codes, faults_of, parser, signs_of

_ROOT = Path(__file__).parents[2]
_READERS = ("app/domain", "app/intake", "app/kube", "app/notify", "remediations")
_SEARCHES = frozenset({"search", "finditer", "findall", "sub", "subn", "split"})
_METHODS = "|".join((*_SEARCHES, "match", "fullmatch"))
_WORD = frozenset(chr(code) for code in range(128) if re.match(r"\w", chr(code)))

_NAMES = "asked of names of at most 256 signs"
_NEAR = "asked of a part of at most some hundred signs"
_CUT = "asked of texts that are cut to 4,000 signs, or 500"
_STATUS = "asked of a reason that the kubelet gives, of a few words"
_OURS = "asked of the operator's own patterns and settings"
_ESCAPED = "what is read holds only quotes that are escaped, and the name before such a quote begins nothing"
_FORWARD = "takes what it read when more does not follow, or begins at the next change of signs"
BOUNDED = {
    "app.domain.gated._TOKEN": _OURS,
    "app.domain.log_prefix._MESSAGE": _ESCAPED,
    "app.domain.log_prefix._SAID": _ESCAPED,
    "app.domain.no_secret._ASSIGNED": _OURS,
    "app.domain.no_secret._TEMPLATE": _OURS,
    "app.domain.secret_names._HARMLESS": _NAMES,
    "app.domain.secret_names._IMAGE": _NEAR,
    "app.domain.secret_names.PARTS": _NAMES,
    "app.domain.secret_refusals._TAIL": _FORWARD,
    "app.domain.secret_sentences._VERDICT": _NEAR,
    "app.domain.secret_statements._THEN_NAME": _NEAR,
    "app.domain.subject._WORDS": _FORWARD,
    "remediations.causes.rejected._REJECTIONS": _STATUS,
    "remediations.causes.refusals._BOUND": _CUT,
    "remediations.causes.refusals._RULES": _CUT,
    "remediations.causes.scheduling._PREEMPTION": _CUT,
    "remediations.causes.suspects._ABOUT": _CUT,
    "remediations.causes.suspects._DIRECTED": "asked of paths of a pod template, which the API server bounds",
    "remediations.evidence.error_words.LOGFMT_MESSAGE": _ESCAPED,
}
"""Patterns that take the square of a text which nobody can make long."""


@cache
def _files() -> tuple[Path, ...]:
    return tuple(file for folder in _READERS for file in sorted((_ROOT / folder).rglob("*.py")))


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@cache
def _asked(file: Path) -> frozenset[tuple[str, str]]:
    """The names that a file asks as patterns, each with how."""
    return frozenset(re.findall(rf"\b(\w+)\.({_METHODS})\b", _text(file)))


def _module(file: Path) -> ModuleType:
    name = ".".join(file.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")
    return importlib.import_module(name)


def _within(value: Any, depth: int = 0) -> Iterator[re.Pattern[Any]]:
    """The patterns that a value of a module holds."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Gated):
        yield value.regex
    elif depth < 4 and isinstance(value, dict):
        for inner in (*value, *value.values()):
            yield from _within(inner, depth + 1)
    elif depth < 4 and isinstance(value, tuple | list | set | frozenset):
        for inner in value:
            yield from _within(inner, depth + 1)
    elif depth < 4 and not isinstance(value, type):
        for field in getattr(value, "__dataclass_fields__", ()):
            yield from _within(getattr(value, field, None), depth + 1)


def _ways(name: str, file: Path, value: Any) -> frozenset[str]:
    """How a pattern is asked; one that no module names where it is asked may be searched for."""
    if not isinstance(value, re.Pattern):
        return frozenset({"search"})
    private = {way for asked, way in _asked(file) if asked == name}
    others = (way for f in _files() for asked, way in _asked(f) if asked == name)
    return frozenset(private if name.startswith("_") else others) or frozenset({"search"})


def _patterns() -> Iterator[tuple[str, re.Pattern[Any], frozenset[str]]]:
    for file in _files():
        module = _module(file)
        for name, value in vars(module).items():
            if f"\n{name}" not in _text(file):
                continue  # another module's
            for pattern in _within(value):
                yield f"{module.__name__}.{name}", pattern, _ways(name, file, value)


def _all_signs(items: Iterable[Any]) -> Signs:
    found: Signs = frozenset()
    for op, said in items:
        if op in REPEATS:
            found |= _all_signs(said[2])
        elif op in (codes.SUBPATTERN, codes.ATOMIC_GROUP):
            found |= _all_signs(said[3] if op is codes.SUBPATTERN else said)
        elif op is codes.BRANCH:
            found |= _all_signs(one for branch in said[1] for one in branch)
        else:
            found |= signs_of(op, said) or frozenset()
    return found


def _can_fail(items: Iterable[Any]) -> bool:
    """Whether what stands behind a run may be missing."""
    for op, said in items:
        if op in REPEATS:
            if said[0] and _can_fail(said[2]):
                return True
        elif op in (codes.SUBPATTERN, codes.ATOMIC_GROUP):
            if _can_fail(said[3] if op is codes.SUBPATTERN else said):
                return True
        elif op is codes.BRANCH:
            if all(_can_fail(branch) for branch in said[1]):
                return True
        else:
            return True
    return False


def _not_behind(op: Any, said: Any) -> Signs:
    """The signs behind which nothing may begin."""
    if op is codes.AT and said is codes.AT_BOUNDARY:
        return _WORD
    one: list[Any] = list(said[1]) if op is codes.ASSERT_NOT and said[0] < 0 else []
    return (signs_of(*one[0]) or frozenset()) if len(one) == 1 else frozenset()


def heads_of(items: list[Any], before: tuple[Signs, ...] = (), never: Signs = frozenset()) -> Iterator[Signs]:
    """The runs in whose signs the pattern may begin anew, and behind which it may fail."""
    for number, (op, said) in enumerate(items):
        rest = items[number + 1 :]
        if op in (codes.SUBPATTERN, codes.ATOMIC_GROUP, codes.BRANCH):
            inner = said[1] if op is codes.BRANCH else [said[3] if op is codes.SUBPATTERN else said]
            for branch in inner:
                yield from heads_of([*branch, *rest], before, never)
            return
        if op is codes.AT and said in (codes.AT_BEGINNING, codes.AT_BEGINNING_STRING):
            return
        if op in (codes.AT, codes.ASSERT, codes.ASSERT_NOT):
            never = never or (_not_behind(op, said) if not before else frozenset())
            continue
        if op in REPEATS:
            run = _all_signs(said[2])
            anew = all(one & run for one in before) and not run <= never
            if said[1] > LONG and anew and _can_fail(rest):
                yield run
            before += (run,) * min(said[0], 3)
            continue
        before += (signs_of(op, said) or frozenset(map(chr, range(128))),)


def faults_in(pattern: re.Pattern[Any], ways: frozenset[str]) -> list[str]:
    """What may take the square of a text's length when the pattern is asked in these ways."""
    text = pattern.pattern.decode() if isinstance(pattern.pattern, bytes) else pattern.pattern
    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    found = ["a run in two ways"] if faults_of(text, flags, whole="fullmatch" in ways) else []
    searched = ways & _SEARCHES and any(heads_of(list(parser.parse(text, flags))))
    return [*found, "a search that begins anew"] if searched else found


def test_no_pattern_takes_the_square_of_a_strangers_text() -> None:
    bad = {
        name: f"{found} {p.pattern!r:.90}" for name, p, ways in _patterns() if (found := faults_in(p, ways))
    }
    assert {name: said for name, said in bad.items() if name not in BOUNDED} == {}
    assert sorted(set(BOUNDED) - set(bad)) == [], "mended, or gone"


def test_the_patterns_are_found() -> None:
    found = list(_patterns())
    assert len(found) > 500
    assert {ways for name, _, ways in found if name == "app.intake.labels._HEADING"} == {
        frozenset({"fullmatch"})
    }


@pytest.mark.parametrize(
    ("pattern", "way", "bad"),
    [
        (r"\**labels\**:?\**", "fullmatch", True), (r"\**labels\**:?\**", "match", False), (r"\**+labels\**+:?\**+", "fullmatch", False),
        (r'"(?>[^"\\]++|\\.)*+"', "finditer", True), (r'"(?>[^"\\]++|\\.)*+"?', "finditer", False), (r'"[^"]*"', "finditer", False),
        (r"\w+:", "search", True), (r"\w+:", "match", False), (r"\b\w+:", "search", False), (r"(?<!\w)\w+:", "search", False),
        (r"\w{1,64}:", "search", False), (r"a\w*", "search", False), (r"x[ab]*y", "search", False), (r"^\w+:", "search", False),
    ],
)  # fmt: skip
def test_what_is_such_a_pattern(pattern: str, way: str, bad: bool) -> None:
    assert bool(faults_in(re.compile(pattern), frozenset({way}))) is bad
