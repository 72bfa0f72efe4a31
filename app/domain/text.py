"""Text of strangers: cut before anything searches it, and without characters that control a terminal or a layout.

Used by logs, evidence and messages. Pure; knows nothing of secrets or markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

from app.domain.lines import Beside

T = TypeVar("T")

LONG: Final = 16 * 1024
"""Characters from which on reading texts of strangers leaves the event loop."""

CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"  # C0 (but tab and line feed), DEL, C1, line separators
    r"\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # format
    r"\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # format
    r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0"  # joiners, fillers and blanks that take part in words
    r"\ufe00-\ufe0f\U000e0000-\U000e0fff"  # variation selectors, tags
    r"\ud800-\udfff]"  # lone surrogates
)
"""Characters that nobody sees and that move, hide, join or reorder what is seen: all of the categories Cc (but tab and line feed),
Cf, Zl, Zp and Cs, and what Unicode lists as ignorable by default. The emoji's own selectors and joiners are among them."""

HIDDEN: Final = re.compile(rf"[^\S ]|^ | $|(?<= ) |{CONTROL.pattern}")
"""What nobody sees, or sees otherwise once a text is on one line."""

_LONGEST_WORD = 200
_LONGEST_SECRET = 1_000
_SEPARATORS = "\"'`,;&=:()[]{}<>|/\n\t"


_READING: Final = Beside()


async def beside(size: int, work: Callable[[], T]) -> T:
    """What `work` gives, which reads `size` characters of strangers: beside the event loop when they are many, so that it holds nobody up."""
    return work() if size <= LONG else await _READING.do(work)


def visible(text: str) -> str:
    r"""`text` with every control character as an escape such as `\x1b`; tabs and line feeds stay."""
    return CONTROL.sub(lambda m: m[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def sql_name(name: str, hidden: re.Pattern[str] = HIDDEN) -> str:
    """A name as a statement needs it that people copy: always in quotes, what is `hidden` in the escapes of SQL."""
    return _quoted(name, '"', hidden)


def sql_value(value: str) -> str:
    """A text as a literal of such a statement."""
    return _quoted(value, "'", HIDDEN)


def _quoted(text: str, quote: str, hidden: re.Pattern[str]) -> str:
    doubled = text.replace(quote, quote * 2)
    if not hidden.search(text):
        return f"{quote}{doubled}{quote}"
    escaped = hidden.sub(lambda m: _escape(ord(m[0])), doubled.replace("\\", "\\\\"))
    return f"U&{quote}{escaped}{quote}"


def _escape(code: int) -> str:
    return f"\\{code:04X}" if code <= 0xFFFF else f"\\+{code:06X}"


def spelled(document: str) -> str:
    """A JSON document with every control character in JSON's own escape: read, it is the same, and it moves nothing where it is printed.
    Half a surrogate pair, which no encoding has, can be sent so."""
    return "".join(map(_spelled, (document[at : at + _AT_ONCE] for at in range(0, len(document), _AT_ONCE))))


def size_spelled(text: str) -> int:
    """Bytes that `text` takes in a JSON document that is spelled; a little more where it is JSON itself."""
    return len(spelled(text).encode()) + sum(map(text.count, _ESCAPED))


_AT_ONCE: Final = 64 * 1024
"""Characters that are looked at in one go: an expression gives no other thread its turn meanwhile."""
_ESCAPED: Final = '"\\\n\t'
"""What JSON puts a backslash before, besides what is spelled."""
_PARTED: Final = re.compile(f"({CONTROL.pattern})")


class _Spellings(dict[str, str]):
    """How a character is spelled, in units of UTF-16 as JSON counts; each that was met is remembered, and there are no more of them than `CONTROL` has."""

    def __missing__(self, character: str) -> str:
        units = character.encode("utf-16-be", "surrogatepass").hex()
        spelling = "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
        self[character] = spelling
        return spelling


_SPELLINGS: Final = _Spellings()


def _spelled(part: str) -> str:
    """A stranger may have nothing but such characters: none of them costs a call."""
    if part.isascii() and part.isprintable():
        return part
    parts = _PARTED.split(part)
    parts[1::2] = map(_SPELLINGS.__getitem__, parts[1::2])
    return "".join(parts)


def bounded(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, ending before the word or URL that the cut would split.

    A secret of which the second half is gone may have lost the form by which it is recognised, so it goes as a whole. Of a word
    beyond 200 characters stays what stands before its last quote, bracket or separator, unless more than 1,000 follow.
    """
    if len(text) <= limit:
        return text
    head = text[:limit]
    stem, blank, last = head.rpartition(" ")
    if text[limit : limit + 1].isspace():
        return f"{head} …"
    if blank and len(last) <= _LONGEST_WORD:
        return f"{stem} …"
    at = last.rfind("://")
    kept = last[: at + 3] if at >= 0 else last
    cut = max(map(kept.rfind, _SEPARATORS)) + 1
    if at < 0 and kept.isascii() and len(kept) - cut <= _LONGEST_SECRET:
        kept = kept[:cut]
    return f"{head[: len(head) - len(last)]}{kept}…"


def file_fault(error: OSError | UnicodeDecodeError) -> str:
    """Why a file could not be read, in words: the library's own text begins with a number, and repeats the path."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"
