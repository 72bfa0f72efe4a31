"""JSON as we store, hash and compare it. Owns the canonical form; everything hashed goes through here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

JsonValue: TypeAlias = "None | bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue]"
Obj: TypeAlias = dict[str, Any]
"""A Kubernetes object as decoded from the API server."""


def canonical(value: Any) -> str:
    """`value` as JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def decoded(text: str | bytes) -> Any:
    """The value of a JSON text from outside. Raises ValueError, also for one that is nested deeper than the parser goes."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


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
