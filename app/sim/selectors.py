"""Label and field selectors in the API server's syntax. Pure; used by lists, Services' traffic and disruption budgets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from app.domain.errors import ObjectInvalid
from app.domain.json import Obj

Labels = Mapping[str, str]
Test = Callable[[Labels], bool]

_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)\Z")
_EQUAL = re.compile(r"([^=!\s]+)\s*(==|!=|=)\s*([^=!\s]*)\Z")
_EXISTS = re.compile(r"(!?)\s*([^=!<>\s(),]+)\Z")


def label_selector(text: str) -> Test:
    """A test for labels, from text such as `app=x,tier in (a,b),!legacy`. Raises ObjectInvalid."""
    tests = [_requirement(part.strip()) for part in _split(text) if part.strip()]
    return lambda labels: all(test(labels) for test in tests)


def _split(text: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    return re.split(r",(?![^(]*\))", text)


def _requirement(text: str) -> Test:
    if found := _SET.match(text):
        key, word, values = found[1], found[2], frozenset(v.strip() for v in found[3].split(","))
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(text):
        key, sign, value = found[1], found[2], found[3]
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(text):
        wanted, key = not found[1], found[2]
        return lambda labels: (key in labels) is wanted
    raise ObjectInvalid(f"not a label selector: {text!r}", where="labelSelector")


def matches(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Does a LabelSelector object (matchLabels, matchExpressions) choose these labels? None chooses nothing."""
    if selector is None:
        return False
    if any(labels.get(k) != v for k, v in selector.get("matchLabels", {}).items()):
        return False
    return all(_expression(e, labels) for e in selector.get("matchExpressions", []))


def _expression(expression: Mapping[str, Any], labels: Labels) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", [])
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]


def field_selector(text: str) -> Callable[[Obj], bool]:
    """A test for objects, from text such as `status.phase!=Running,metadata.name=x`. Raises ObjectInvalid."""
    terms: list[tuple[list[str], bool, str]] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        found = _EQUAL.match(part)
        if found is None:
            raise ObjectInvalid(f"not a field selector: {part!r}", where="fieldSelector")
        terms.append((found[1].split("."), found[2] != "!=", found[3]))
    return lambda obj: all((_field(obj, path) == value) is wanted for path, wanted, value in terms)


def _field(obj: Obj, path: list[str]) -> str:
    value: Any = obj
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
