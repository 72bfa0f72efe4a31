"""What a param may be, by its annotation: the check that no value passes for another type, and the words for what is allowed.

Used by `Params` for every field, and where an order is refused. Never repeats a value: it may be a secret that was put in the wrong
place.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

_NUMBERS = frozenset({int, float})


def mistaken(field: FieldInfo, value: object) -> str:
    """What is wrong with a value that pydantic would turn into another type (true into 1, "8" into 8, 1 into true); empty when
    nothing is."""
    kinds, written = _kinds(field)
    if isinstance(value, bool):
        return "" if bool in kinds else form(field)
    if kinds == {bool} or (bool in kinds and not kinds & _NUMBERS and isinstance(value, int | float)):
        return form(field)
    plain = kinds - {types.NoneType}
    if plain and plain <= _NUMBERS and not written:
        wrong = isinstance(value, str) or (plain == {int} and isinstance(value, float))
        return form(field) if wrong else ""
    return ""


def form(field: FieldInfo) -> str:
    """What is allowed: `a whole number from 1 to 1000, or null`."""
    kinds, written = _kinds(field)
    words = [_word(kind, field) for kind in sorted(kinds - {types.NoneType}, key=str)]
    if written:
        words.append("text with its unit, such as 90s, 512Mi or 80%")
    null = ", or null" if types.NoneType in kinds else ""
    return f"expected {' or '.join(dict.fromkeys(words))}{null}"


def _word(kind: Any, field: FieldInfo) -> str:
    if kind in _NUMBERS:
        noun = "a whole number" if kind is int else "a number"
        low, above, high = (_bound(field, name) for name in ("ge", "gt", "le"))
        between = (
            f" from {_plain(low)}"
            if low is not None
            else f" above {_plain(above)}"
            if above is not None
            else ""
        )
        most = (
            "" if high is None else f" to {_plain(high)}" if low is not None else f", at most {_plain(high)}"
        )
        return f"{noun}{between}{most}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(str(word) for word in get_args(kind))}"
    names = {bool: "true or false", str: "text", tuple: "a list", list: "a list", dict: "an object"}
    return names.get(get_origin(kind) or kind, "an object")


def _plain(number: float) -> str:
    """As people write it: :g has an exponent from a million on."""
    return f"{number:.0f}" if number.is_integer() else f"{number:g}"


def _kinds(field: FieldInfo) -> tuple[frozenset[Any], bool]:
    """The plain types of a field, and whether it also takes them written as text with a unit."""
    found = list(_parts(field.annotation, tuple(field.metadata)))
    written = any(isinstance(m, BeforeValidator) for _, more in found for m in more)
    return frozenset(kind for kind, _ in found), written


def _parts(annotation: Any, metadata: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from _parts(inner, (*metadata, *more))
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _parts(one, metadata)
    else:
        yield annotation, metadata


def _bound(field: FieldInfo, name: str) -> float | None:
    """The narrowest one: a field may have a bound of its own beside that of its type."""
    found = [
        float(value)
        for _, metadata in _parts(field.annotation, tuple(field.metadata))
        for one in _flat(metadata)
        if (value := getattr(one, name, None)) is not None
    ]
    return (min if name == "le" else max)(found, default=None)


def _flat(metadata: tuple[Any, ...]) -> Iterator[Any]:
    for one in metadata:
        if isinstance(one, FieldInfo):
            yield from one.metadata
        else:
            yield one
