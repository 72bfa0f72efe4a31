"""Request bodies as JSON, within limits that no sender can exceed.

Used by every module of the intake and by the JSON routes. Never looks at what the JSON means.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from app.domain.errors import BadInput

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 1024 * 1024
"""Default limit of a body, for what has none of its own."""
MAX_DEPTH = 32
"""Objects and arrays inside one another; every known sender stays below ten."""

_MAYBE_HUGE = re.compile(rb"[0-9][eE]\+?[0-9]{2,}|[0-9]{300}")


def decode(body: bytes, *, max_bytes: int = MAX_BYTES, halves: bool = False) -> Any:
    """`body` as a JSON value. Of duplicate keys the last one counts.

    With `halves` a lone half of a surrogate pair is let through for the caller to judge, who knows what it spoils.

    Raises BadInput: `body_too_large`, `invalid_json` (also invalid UTF-8, NaN, lone surrogates, with line and column),
    `json_too_deep`, `number_out_of_range` (a float beyond the range, such as 1e999).
    """
    if len(body) > max_bytes:
        raise BadInput(f"the body has more than {max_bytes} bytes", code="body_too_large", where="body")
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        if halves and ("surrogate" in str(error) or "hex escape" in str(error)):
            return _decode_with_halves(body)
        reason, at, place = str(error).rpartition(" at line ")
        if reason.startswith("recursion limit"):
            raise _too_deep() from error
        where = f"body line {place}" if at else "body"
        raise BadInput(reason or "the body is not JSON", code="invalid_json", where=where) from error
    # Most bodies cannot be too deep or hold a huge number, which their text tells more cheaply than a walk.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH or _MAYBE_HUGE.search(body) is not None:
        _check_depth_and_range(value)
    return value


def _decode_with_halves(body: bytes) -> Any:
    # The fast parser refuses the whole body for one half character; the standard library's keeps it.
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise BadInput("the body is not JSON", code="invalid_json", where="body") from error
    _check_depth_and_range(value)
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check_depth_and_range(value: Any) -> None:
    # Level by level instead of recursively: the depth of a hostile body must not become the depth of our stack.
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for container in level:
            if type(container) is dict:
                items = container.values()
            elif type(container) is list:
                items = container  # type: ignore[assignment]
            else:
                items = (container,)  # type: ignore[assignment]  # a bare value at the top
            for item in items:
                kind = type(item)
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    deeper.append(item)
                elif kind is float and not math.isfinite(item):
                    raise BadInput("a number is out of range", code="number_out_of_range", where="body")
        if not deeper:
            return
        level = deeper
    raise _too_deep()


def _too_deep() -> BadInput:
    return BadInput(f"more than {MAX_DEPTH} levels of nesting", code="json_too_deep", where="body")


def pointer(*parts: str | int) -> str:
    """RFC 6901 JSON pointer of a place in a body, e.g. `/alerts/3/labels/severity`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def validated(model: type[M], value: Any) -> M:
    """`value` as a `model`. Raises BadInput with code `invalid_field` and the pointer of the first fault."""
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        # Without the input: it may hold what must not be echoed.
        first = error.errors(include_url=False, include_input=False)[0]
        where = pointer(*first["loc"]) or "body"
        raise BadInput(str(first["msg"]), code="invalid_field", where=where) from error
