"""JSON as we store, hash and compare it. Owns the canonical form; everything hashed goes through here."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from app.domain.pieces import PIECE, Bounds, decode

JsonValue: TypeAlias = "None | bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue]"
Obj: TypeAlias = dict[str, Any]
"""A Kubernetes object as decoded from the API server."""
_BOUNDS: Final = Bounds(values=5_000_000, containers=1_500_000, members=1_000_000)
"""Of the cluster's own API server: lists of some ten thousand objects."""
ANSWER: Final = Bounds()
"""Of any other server."""


def canonical(value: Any) -> str:
    """`value` as JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def decoded(text: str | bytes, bounds: Bounds = _BOUNDS) -> Any:
    """The value of a JSON text from outside. Raises ValueError, also for one that is nested deeper than the parser goes or has more
    values than `bounds`. A long text is read in pieces, between which other threads run: give it to a thread."""
    try:
        if len(text) <= PIECE:
            return json.loads(text)
        body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        return decode(body, json.loads, bounds)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


async def decoded_beside(text: bytes, bounds: Bounds = _BOUNDS) -> Any:
    """As `decoded`, a long text in a thread, so that it holds nobody up."""
    if len(text) <= PIECE:
        return decoded(text)
    return await asyncio.to_thread(decoded, text, bounds)


def beginning(value: Any, limit: int) -> str:
    """The canonical text of a value; of one that is longer than `limit` characters at least as many, and no more work than that:
    its keys are then not sorted."""
    budget = limit
    waiting: list[Any] = [value]
    while waiting and budget >= 0:
        item = waiting.pop()
        budget -= len(item) + 2 if isinstance(item, str) else 2
        if isinstance(item, dict):
            budget -= len(item)
            waiting += itertools.islice(itertools.chain(item, item.values()), limit)
        elif isinstance(item, list):
            waiting += itertools.islice(item, limit)
    if budget >= 0:
        return canonical(value)
    parts: list[str] = []
    for part in _parts(value, limit):
        parts.append(part)
        limit -= len(part)
        if limit < 0:
            break
    return "".join(parts)


def _parts(value: Any, limit: int) -> Iterator[str]:
    if isinstance(value, dict):
        before = "{"
        for name, item in value.items():
            yield f"{before}{canonical(str(name)[:limit])}:"
            yield from _parts(item, limit)
            before = ","
        yield "}"
    elif isinstance(value, list):
        before = "["
        for item in value:
            yield before
            yield from _parts(item, limit)
            before = ","
        yield "]"
    else:
        yield canonical(value[:limit] if isinstance(value, str) else value)


def value_or_text(text: str) -> Any:
    """What a person wrote as a value: JSON where it is some, else the text itself. `NaN` and the like are text."""
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, 64 hex digits."""
    # Half of a surrogate pair, which JSON can spell, is hashed as it is.
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()
