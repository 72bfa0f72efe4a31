"""Patterns on RE2, whose time is in proportion to the text, as `re` gives them: with a match's groups by name.

The library's own wrapper counts the characters before a match anew with each question, and asks for the names of all groups each time one is
read: of a text of many matches that is most of the time. Texts of ASCII, as most are, need no counting at all. Never decides what a match means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import re2

_LIBRARY: Any = re2
_ANCHOR: Any = _LIBRARY._re2.RE2.Anchor  # noqa: SLF001 - the library has no other name for it
_SEARCH, _MATCH, _FULL = _ANCHOR.UNANCHORED, _ANCHOR.ANCHOR_START, _ANCHOR.ANCHOR_BOTH
_NONE: Final = (-1, -1)


class Found:
    """One match, as `re.Match`."""

    __slots__ = ("_spans", "re", "string")

    def __init__(self, pattern: Linear, text: str, spans: Any) -> None:
        self.re, self.string, self._spans = pattern, text, spans

    def __getitem__(self, group: int | str) -> Any:
        start, end = self.span(group)
        return None if start < 0 else self.string[start:end]

    def group(self, group: int | str = 0) -> Any:
        """The text of a group, None where it took no part."""
        return self[group]

    @property
    def lastgroup(self) -> str | None:
        """The name of the last group that took part."""
        last = max((n for n in range(1, len(self._spans)) if self._spans[n][0] >= 0), default=0)
        return next((name for name, number in self.re.groupindex.items() if number == last), None)

    def groups(self) -> tuple[str | None, ...]:
        """The texts of all groups."""
        return tuple(self[number] for number in range(1, len(self._spans)))

    def groupdict(self) -> dict[str, str | None]:
        """The texts of the groups that have names."""
        return {name: self[number] for name, number in self.re.groupindex.items()}

    def span(self, group: int | str = 0) -> tuple[int, int]:
        """Where a group begins and ends, -1 where it took no part. Raises IndexError for a group that is none."""
        if type(group) is str:
            try:
                group = self.re.groupindex[group]
            except KeyError:
                raise IndexError("no such group") from None
        found: tuple[int, int] = self._spans[group]
        return found

    def start(self, group: int | str = 0) -> int:
        """Where a group begins."""
        return self.span(group)[0]

    def end(self, group: int | str = 0) -> int:
        """Where it ends."""
        return self.span(group)[1]


class Linear:
    """A pattern, as `re.Pattern`."""

    __slots__ = ("_run", "_slow", "groupindex", "pattern")

    def __init__(self, pattern: str, options: Any = None) -> None:
        """Raises re2.error for what RE2 cannot compile."""
        self._slow: Any = re2.compile(pattern, options)  # type: ignore[no-untyped-call]
        self._run = self._slow._regexp.Match  # noqa: SLF001
        self.pattern, self.groupindex = pattern, dict(self._slow.groupindex)

    def search(self, text: str, pos: int = 0, endpos: int | None = None) -> Found | None:
        """The first match anywhere."""
        return self._one(_SEARCH, text, pos, endpos)

    def match(self, text: str, pos: int = 0, endpos: int | None = None) -> Found | None:
        """A match at the beginning."""
        return self._one(_MATCH, text, pos, endpos)

    def fullmatch(self, text: str, pos: int = 0, endpos: int | None = None) -> Found | None:
        """A match of the whole."""
        return self._one(_FULL, text, pos, endpos)

    def _one(self, anchor: Any, text: str, pos: int, endpos: int | None) -> Found | None:
        if text.isascii():
            pos, end = _within(text, pos, endpos)
            spans = self._run(anchor, text.encode(), pos, end) if pos <= end else None
            return Found(self, text, spans) if spans and spans[0] != _NONE else None
        found = next(self._slow._match(anchor, _readable(text), pos, endpos), None)  # noqa: SLF001
        return None if found is None else Found(self, text, found._spans)  # noqa: SLF001

    def finditer(self, text: str, pos: int = 0, endpos: int | None = None) -> Iterator[Found]:
        """All matches, none within another."""
        if not text.isascii():
            for found in self._slow.finditer(_readable(text), pos, endpos):
                yield Found(self, text, found._spans)  # noqa: SLF001
            return
        at, end = _within(text, pos, endpos)
        encoded = text.encode()
        while at <= end:
            spans = self._run(_SEARCH, encoded, at, end)
            if spans[0] == _NONE:
                return
            yield Found(self, text, spans)
            at = spans[0][1] if spans[0][1] > at else at + 1  # as the library goes on behind an empty match


_ALONE: Final = re.compile("[\ud800-\udfff]")
"""Halves of a character, as bytes that are none become: no encoding has them."""


def _readable(text: str) -> str:
    """The text with a sign of the same length for each of them, so that a match stands where it stood."""
    return _ALONE.sub("\ufffd", text)


def _within(text: str, pos: int, endpos: int | None) -> tuple[int, int]:
    length = len(text)
    return max(0, min(pos, length)), length if endpos is None else max(0, min(endpos, length))
