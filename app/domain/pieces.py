"""Long JSON in pieces: the same value as from one parse, without holding the interpreter for all of it.

A parser in C keeps every other thread waiting until it is done, for seconds with some megabytes of brackets, and so does each single
call over megabytes. So a long text is first cut into pieces along its commas, in windows, and each piece is parsed by itself; between
two of them other threads run. Values are counted before anything is made of them. For the intake and for answers of other servers;
knows no meaning of what it reads, and no parser: the caller brings it.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PIECE: Final = 32 * 1024
"""Bytes that are parsed at once, at most about 2 ms of brackets; shorter texts need no cutting."""
_WINDOW: Final = 64 * 1024
_OPEN, _CLOSE, _COMMA, _QUOTE = frozenset(b"[{"), frozenset(b"]}"), ord(","), ord('"')
_CLOSING: Final = {ord("["): ord("]"), ord("{"): ord("}")}
# Strings are passed over whole; possessive, so that no text is looked at twice.
_TO_STRUCTURE = re.compile(rb'(?>[^"{}\[\],]++|"(?>[^"\\]++|\\.)*+")*+', re.DOTALL)
_IN_STRING = re.compile(rb"(?>[^\"\\]++|\\.)*+", re.DOTALL)
_BLANK = re.compile(rb"[ \t\r\n]*+")


class TooManyValues(ValueError):
    """More values than anybody sends who does not want to keep a reader busy."""


class TooDeep(ValueError):
    """Objects and arrays inside one another beyond the limit."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a text may hold at most. `values` are commas and brackets outside of strings, `containers` objects and arrays, `depth`
    those inside one another, `members` what one object or array holds: a dict that grows beyond stalls everybody each time. A string that is
    longer than `string` bytes ends there; None: it stays whole."""

    values: int = 1_200_000
    containers: int = 200_000
    members: int = 100_000
    depth: int = 1_000
    string: int | None = None


@dataclass(slots=True)
class _Container:
    """An object or array that is longer than a piece: its brackets, and the commas between its children."""

    start: int
    end: int
    commas: array[int]


def decode(body: bytes, parse: Callable[[bytes], Any], bounds: Bounds) -> Any:
    """The JSON value of UTF-8 `body`; of duplicate keys the last one counts. `parse` makes the value of a short text.

    Raises ValueError, also TooManyValues and TooDeep, and what `parse` raises.
    """
    if len(body) <= PIECE:
        return parse(body)
    return _Reader(body, parse, _containers(body, bounds), bounds.string).value(0, len(body))


def _containers(body: bytes, bounds: Bounds) -> dict[int, _Container]:
    """The long containers by where they begin. Raises ValueError when brackets or quotes do not fit."""
    found: dict[int, _Container] = {}
    stack: list[_Container] = []
    at, size, values, containers = 0, len(body), bounds.values, bounds.containers
    passed = _TO_STRUCTURE.match
    while (at := passed(body, at, at + _WINDOW).end()) < size:  # type: ignore[union-attr]
        sign = body[at]
        if sign == _COMMA:
            if not stack:
                raise ValueError("a comma outside of everything")
            stack[-1].commas.append(at)
        elif sign in _OPEN:
            containers -= 1
            stack.append(_Container(at, -1, array("Q")))
            if len(stack) > bounds.depth:
                raise TooDeep(f"more than {bounds.depth} levels of nesting")
        elif sign in _CLOSE:
            if not stack or _CLOSING[body[stack[-1].start]] != sign:
                raise ValueError("a bracket that closes nothing")
            ended = stack.pop()
            ended.end = at
            if len(ended.commas) >= bounds.members:
                raise TooManyValues("more values in one place than are read")
            if at - ended.start >= PIECE:
                found[ended.start] = ended
        else:  # the end of the window, in a string or not
            at = _string_end(body, at) if sign == _QUOTE else at
            continue
        at += 1
        values -= 1
        if values < 0 or containers < 0:
            raise TooManyValues("more values than are read")
    if stack:
        raise ValueError("the text ends inside of an object or array")
    return found


def _string_end(body: bytes, start: int) -> int:
    """The place behind the string that begins at `start`. Raises ValueError when it has no end."""
    at, size = start + 1, len(body)
    while at < size:
        before = at
        at = _IN_STRING.match(body, at, min(at + _WINDOW, size)).end()  # type: ignore[union-attr]
        if at < size and body[at] == _QUOTE:
            return at + 1
        if at == before:
            break
    raise ValueError("a string without an end")


class _Reader:
    """Makes the values, given where the long containers are."""

    def __init__(
        self,
        body: bytes,
        parse: Callable[[bytes], Any],
        long: dict[int, _Container],
        longest_string: int | None,
    ) -> None:
        self._body, self._parse, self._long, self._string = body, parse, long, longest_string

    def value(self, start: int, end: int) -> Any:
        """The value that alone stands between two places."""
        start = self._after_blank(start, end)
        container = self._long.get(start)
        if container is None:
            return self._leaf(start, end)
        if self._after_blank(container.end + 1, end) != end:
            raise ValueError("more behind the value")
        return self._object(container) if self._body[start] == ord("{") else self._array(container)

    def _after_blank(self, at: int, end: int) -> int:
        while at < end:
            found = _BLANK.match(self._body, at, min(at + _WINDOW, end)).end()  # type: ignore[union-attr]
            if found == at:
                break
            at = found
        return at

    def _leaf(self, start: int, end: int) -> Any:
        body = self._body
        if end - start <= PIECE:
            return self._parse(body[start:end])
        if body[start] == _QUOTE:
            stop = _string_end(body, start)
            if self._after_blank(stop, end) == end:
                return self._text(start, stop)
        elif body[start] in _OPEN:
            # A short container, and blanks to the end.
            stop = body.rfind(b"]" if body[start] == ord("[") else b"}", start, start + PIECE + 1) + 1
            if stop and self._after_blank(stop, end) == end:
                return self._parse(body[start:stop])
        elif self._after_blank(cut := start + PIECE, end) == end:
            return self._parse(body[start:cut])
        raise ValueError("a word or number without an end")

    def _text(self, start: int, end: int) -> Any:
        longest = self._string
        if longest is None or end - start - 2 <= longest:
            return self._parse(self._body[start:end])
        # The cut may part an escape or a character, which are twelve bytes at most.
        for back in range(13):
            try:
                return self._parse(self._body[start : start + 1 + longest - back] + b'"')
            except ValueError:
                continue
        raise ValueError("a string that is none")

    def _array(self, container: _Container) -> list[Any]:
        found: list[Any] = []
        for start, end in self._groups(container):
            if end - start <= PIECE:
                part = self._parse(b"[" + self._body[start:end] + b"]")
                if not part and container.commas:
                    raise ValueError("nothing between two commas")
                found += part
            else:
                found.append(self.value(start, end))
        return found

    def _object(self, container: _Container) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for start, end in self._groups(container):
            if end - start <= PIECE:
                part = self._parse(b"{" + self._body[start:end] + b"}")
                if not part and container.commas:
                    raise ValueError("nothing between two commas")
                found.update(part)
            else:
                name, value = self._member(start, end)
                found[name] = value
        return found

    def _member(self, start: int, end: int) -> tuple[str, Any]:
        start = self._after_blank(start, end)
        if start == end or self._body[start] != _QUOTE:
            raise ValueError("a member without a name")
        stop = _string_end(self._body, start)
        colon = self._after_blank(stop, end)
        if colon == end or self._body[colon] != ord(":"):
            raise ValueError("a name without a value")
        return self._text(start, stop), self.value(colon + 1, end)

    def _groups(self, container: _Container) -> list[tuple[int, int]]:
        """Where the children stand, as many together as one piece holds."""
        groups: list[tuple[int, int]] = []
        first = start = container.start + 1
        for comma in (*container.commas, container.end):
            if comma - first > PIECE and start > first:
                groups.append((first, start - 1))
                first = start
            start = comma + 1
        groups.append((first, container.end))
        return groups
