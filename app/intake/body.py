"""Request bodies as JSON, within limits that no sender can exceed, and times as senders write them.

Used by every module of the intake and by the JSON routes. Never looks at what the JSON means."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from app.domain import pieces
from app.domain.errors import BadInput
from app.domain.free_text import MAX_WHERE, told_of
from app.domain.secret_names import is_plain_name
from app.domain.text import visible

# RFC 3339 times as senders write them: 0 to 9 fraction digits, any offset.

# What `fromisoformat` takes beyond RFC 3339 (week dates, missing seconds, commas) is refused here.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FIRST_YEAR = 1970


def rfc3339(text: object) -> datetime | None:
    """The time in UTC, nanoseconds cut to microseconds; None for what is no RFC 3339 time.

    Go writes "no time" as 0001-01-01T00:00:00Z; that and every time before 1970 is None too.
    """
    if not isinstance(text, str) or _RFC3339.fullmatch(text) is None:
        return None
    try:
        time = datetime.fromisoformat(text.upper())
        if time.tzinfo is not UTC:
            time = time.astimezone(UTC)
    except (ValueError, OverflowError):  # 30 February; an offset that leaves the calendar
        return None
    return time if time.year >= _FIRST_YEAR else None


M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 1024 * 1024
"""Default limit of a body, for what has none of its own."""
MAX_DEPTH = 32
"""Objects and arrays inside one another; every known sender stays below ten."""

_BOUNDS = pieces.Bounds(depth=MAX_DEPTH + 1, string=256 * 1024)
"""A string that is cut there is still longer than any that is taken or shown."""
_MENDED = 256 * 1024
"""Bytes of a body up to which what is nested too deep is left out of it; a longer one is refused."""
_BRACKET = re.compile(rb'"(?>[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A string, to the end where it is not closed, so that none of its quotes is tried as the beginning of another; or a bracket."""
_LONGEST_NUMBER = 300  # digits
_BOM = b"\xef\xbb\xbf"
_NO_NUMBER = re.compile(rb"NaN|Infinity")
_MAYBE_HUGE = re.compile(rb"[0-9][eE]\+?[0-9]{2,}|[0-9]{300}")


def decode(body: bytes, *, max_bytes: int = MAX_BYTES, lenient: bool = False) -> Any:
    """`body` as a JSON value. Of duplicate keys the last one counts.

    With `lenient` one odd value does not spoil its neighbours: a lone half of a surrogate pair is let through for the caller to judge,
    a number that is none (NaN, Infinity, 1e999) becomes null, a byte order mark is skipped, a byte that is no UTF-8 becomes U+FFFD, and
    what is nested too deep in a body of some size becomes null.

    Raises BadInput: `body_too_large`, `invalid_json` (also invalid UTF-8, NaN, lone surrogates, with line and column where the body is
    short), `json_too_deep`, `too_many_values` (of a long body, counted before anything is made of them), `number_out_of_range` (a float beyond the range, such as 1e999).
    """
    if len(body) > max_bytes:
        raise BadInput(f"the body has more than {max_bytes} bytes", code="body_too_large", where="body")
    if not lenient:
        return _decode(body, _parse)
    body = body.removeprefix(_BOM)
    try:
        return _decode(body, _parse_leniently)
    except BadInput as error:
        mended = _mended(body, error.code)
        if mended == body:
            raise
        return decode(mended, max_bytes=4 * max_bytes, lenient=True)


def _mended(body: bytes, fault: str) -> bytes:
    """The body without what made it unreadable, where its other values need not be lost for that; else as it is."""
    if fault == "json_too_deep" and len(body) <= _MENDED:
        return _shallow(body)
    # Some senders write one field in the encoding of their system.
    return body.decode("utf-8", "replace").encode() if fault == "invalid_json" else body


def _shallow(body: bytes) -> bytes:
    """JSON with null for what is nested too deep."""
    kept, start, depth = [], 0, 0
    for token in _BRACKET.finditer(body):
        sign, at = body[token.start()], token.start()
        if sign in b"[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [body[start:at], b"null"]
        elif sign in b"]}":
            if depth == MAX_DEPTH + 1:
                start = at + 1
            depth -= 1
    return b"".join([*kept, body[start:]]) if depth <= 0 else body


def _decode(body: bytes, parse: Callable[[bytes], Any]) -> Any:
    try:
        return pieces.decode(body, parse, _BOUNDS)
    except pieces.TooManyValues as error:
        raise BadInput(str(error), code="too_many_values", where="body") from error
    except pieces.TooDeep as error:
        raise _too_deep() from error
    except ValueError as error:
        reason, at, place = str(error).rpartition(" at line ")
        if reason.startswith("recursion limit"):
            raise _too_deep() from error
        # Of a long body the parser has seen one piece, so its line says nothing.
        where = f"body line {place}" if at and len(body) <= pieces.PIECE else "body"
        raise BadInput(reason or "the body is not JSON", code="invalid_json", where=where) from error


def _parse(text: bytes) -> Any:
    """The value of a short text. Raises ValueError, and BadInput for what is JSON and refused all the same."""
    value = from_json(text, allow_inf_nan=False)
    # Most bodies cannot be too deep or hold a huge number, which their text tells more cheaply than a walk.
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH or _MAYBE_HUGE.search(text) is not None:
        _check_depth_and_range(value)
    return value


def _parse_leniently(text: bytes) -> Any:
    if _MAYBE_HUGE.search(text) is None:
        try:
            return _parse(text)
        except ValueError as error:
            odd = (
                "surrogate" in str(error) or "hex escape" in str(error) or _NO_NUMBER.search(text) is not None
            )
            if not odd:
                raise
    # The fast parser refuses the whole text for one half character or odd number; the standard library's keeps the rest.
    try:
        value = json.loads(text, parse_constant=_nothing, parse_float=_finite, parse_int=_whole)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise ValueError("the body is not JSON") from error
    _check_depth_and_range(value)
    return value


def _nothing(name: str) -> None:
    """NaN and Infinity are no JSON; Go and Python write them all the same."""


def _whole(text: str) -> int | None:
    return int(text) if len(text) < _LONGEST_NUMBER else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


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
    """RFC 6901 JSON pointer of a place in a body, e.g. `/alerts/3/labels/severity`; what nobody sees stands as its escape. A sender's names are
    told as other texts are, without what looks like a secret: behind the pointer's own escapes nobody would know it."""
    return "".join("/" + _named(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _named(part: str | int) -> str:
    if isinstance(part, int) or is_plain_name(part):
        return str(part)
    return visible(told_of(part, MAX_WHERE))


def validated(model: type[M], value: Any) -> M:
    """`value` as a `model`. Raises BadInput with code `invalid_field` and the pointer of the first fault."""
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        # Without the input: it may hold what must not be echoed.
        first = error.errors(include_url=False, include_input=False)[0]
        where = pointer(*first["loc"]) or "body"
        raise BadInput(str(first["msg"]), code="invalid_field", where=where) from error
