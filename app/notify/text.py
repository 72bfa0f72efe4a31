"""Lines of a message as spans, and their two written forms: Slack's mrkdwn and plain text.

Foreign text (labels, log lines, names) only ever enters as a span's content and is escaped where it is written, so a
label such as `<!channel>` or `*FIXED* in 3m` can neither ping, nor format, nor break the layout. Pure; used by the builders and the clients.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from app.domain.free_text import OF_PAGERDUTY
from app.domain.text import CONTROL
from app.domain.units import utc
from app.notify.limits import length


class Style(StrEnum):
    """How a span looks."""

    PLAIN = "plain"
    BOLD = "bold"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Span:
    """Text of one style."""

    text: str
    style: Style = Style.PLAIN


@dataclass(frozen=True, slots=True)
class When:
    """A moment, shown in the reader's own time zone by Slack and in UTC elsewhere."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Ref:
    """A link to show. Anything but http and https is shown as text."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Who:
    """A person by the name that the audit trail has: a Slack user (`slack:U…`) is shown by Slack under the present name, and a user
    group that a policy names (`slack-group:S…`) is mentioned. A name of PagerDuty's is shown as it is there: the words beside it say whose it is."""

    name: str


Piece: TypeAlias = Span | When | Ref | Who
Line: TypeAlias = tuple[Piece, ...]

_SLACK_USER = re.compile(r"slack:([UW][A-Z0-9]{2,30})", re.ASCII)
_SLACK_GROUP = re.compile(r"slack-group:(S[A-Z0-9]{2,30})", re.ASCII)
_URL = re.compile(r"https?://[^\s<>|\"\x00-\x1f]+")


def is_url(url: str) -> bool:
    """Whether this can be shown as a link: http or https, without blanks, quotes and angle brackets."""
    return _URL.fullmatch(url) is not None


def line(*pieces: Piece | str) -> Line:
    """A line; bare strings are plain spans."""
    return tuple(Span(p) if isinstance(p, str) else p for p in pieces)


def bold(text: str) -> Span:
    """A bold span."""
    return Span(text, Style.BOLD)


def code(text: str) -> Span:
    """A span to be copied into a terminal."""
    return Span(text, Style.CODE)


def escape(text: str) -> str:
    """Slack's three escapes; with them no text of ours is read as a mention, link or date."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clean(text: str) -> str:
    """One line without control, bidi or zero-width characters and lone surrogates, which neither Slack nor a terminal should get."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r", "\n").replace("\n", " "))


def mrkdwn(content: Line) -> str:
    """The line in Slack's mrkdwn."""
    return "".join(_mrkdwn(p) for p in content)


def _mrkdwn(piece: Piece) -> str:
    match piece:
        case When(at):
            shown = "{date_short_pretty} {time}"
            return f"<!date^{int(at.timestamp())}^{shown}|{utc(at)}>"
        case Ref(label, url):
            if is_url(url) and CONTROL.search(url) is None:
                return f"<{escape(url)}|{neutral(escape(clean(label))).replace('|', '/')}>"
            return neutral(escape(f"{clean(label)} {clean(url)}"))
        case Who(name):
            found = _SLACK_USER.fullmatch(name)
            group = _SLACK_GROUP.fullmatch(name)
            if group:
                return f"<!subteam^{group[1]}>"
            return f"<@{found[1]}>" if found else neutral(escape(clean(name.removeprefix(OF_PAGERDUTY))))
        case Span(text, style):
            return _styled(escape(clean(text)), style)


def _styled(text: str, style: Style) -> str:
    if not text.strip():
        return text
    match style:
        case Style.BOLD:
            return f"*{neutral(text).strip()}*"
        case Style.CODE:
            # Slack formats nothing inside code but its end.
            return f"`{text.replace('`', chr(39)).strip()}`"
        case Style.PLAIN:
            return neutral(text)


_MARKS = str.maketrans({"*": "\N{ASTERISK OPERATOR}", "`": "'"})
_EDGE_MARKS = re.compile(r"[_~]+")
_SEVERAL_MARKS = re.compile(r"[_~]{2,}")
_NEUTRAL_EDGE = str.maketrans({"_": "\N{MODIFIER LETTER LOW MACRON}", "~": "\N{TILDE OPERATOR}"})
_EMOJI = re.compile(r":(?=(?:[\d'+-]*+[^\W\d][\w'+-]*|[+-]1|100|1234)(?:::skin-tone-\d)?:)")
_CROWD = re.compile(r"@(?=(?:channel|here|everyone|group)\b)", re.IGNORECASE)
_QUOTE = re.compile(r"^(\s*)&gt;")


def _edge(marks: re.Match[str]) -> str:
    """Marks inside of a word are none to Slack; where several stand together twice, the inner ones may be a pair."""
    text = marks.string
    within = (
        (len(marks[0]) == 1 or len(_SEVERAL_MARKS.findall(text)) == 1)
        and text[marks.start() - 1 : marks.start()].isalnum()
        and text[marks.end() : marks.end() + 1].isalnum()
    )
    return marks[0] if within else marks[0].translate(_NEUTRAL_EDGE)


def neutral(escaped: str) -> str:
    """Escaped text whose marks Slack would format, each as a character that looks alike and formats nothing.

    Slack has no escape for its marks. `_` and `~` within a word, as in `max_tokens`, are no marks and stay, so that names
    can be copied. An emoji's first colon, the @ of a whole channel and the `>` that quotes a line are replaced as well.
    """
    text = _EDGE_MARKS.sub(_edge, escaped.translate(_MARKS))
    text = _CROWD.sub("\N{FULLWIDTH COMMERCIAL AT}", _EMOJI.sub("\N{RATIO}", text))
    return _QUOTE.sub("\\1\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}", text)


def plain(content: Line) -> str:
    """The line without any markup, as golden files and terminals show it."""
    return "".join(_plain(p) for p in content)


def _plain(piece: Piece) -> str:
    match piece:
        case When(at):
            return utc(at)
        case Ref(label, url):
            return f"{clean(label)} {clean(url)}"
        case Who(name):
            return clean(name.removeprefix(OF_PAGERDUTY))
        case Span(text, _):
            return clean(text)


def cut(content: Line, limit: int) -> Line:
    """The line, shortened with an ellipsis so that its mrkdwn has at most `limit` characters (at least 1)."""
    if length(mrkdwn(content)) <= limit:
        return content
    kept: list[Piece] = list(content)
    while kept and length(mrkdwn(tuple(kept))) > limit - 1:
        last = kept.pop()
        if isinstance(last, Span):
            room = limit - 1 - length(mrkdwn(tuple(kept)))
            if short := _shorten(last, room):
                kept.append(short)
                break
    return (*kept, Span("…"))


def _shorten(span: Span, room: int) -> Span | None:
    """The longest beginning of the span that fits; None when nothing does."""
    low, high = 0, len(span.text)
    while low < high:
        middle = (low + high + 1) // 2
        if length(mrkdwn((replace(span, text=span.text[:middle]),))) <= room:
            low = middle
        else:
            high = middle - 1
    return replace(span, text=span.text[:low]) if low else None


def joined(lines: Sequence[str], last: str = " and ") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(lines) < 2:
        return "".join(lines)
    return ", ".join(lines[:-1]) + last + lines[-1]
