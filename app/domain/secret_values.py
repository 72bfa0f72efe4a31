"""Where a value begins and ends in a line that no parser knows: quoted at any depth, in brackets, a block of YAML, a header, a word of a
command, or bare.

Used by `app.domain.redact`. Every reader walks forward once from where it is told to begin. Where it cannot be told whether a
quote ends the value, the rest of the line belongs to it. Pure.
"""

from __future__ import annotations

import re

from app.domain.secret_names import harmless_word
from app.domain.secret_quotes import (
    LOOK_AHEAD,
    backslashes,
    bare,
    closing,
    closing_quote,
    end_of_line,
    goes_on,
    is_open,
    joined,
    line_end,
    through_templates,
)
from app.domain.secret_types import ACROSS, ALONE, ANNOTATED, SLICE, TYPED
from app.domain.secret_words import made_up

_OPEN = re.compile(r"(?:[bBuUrRfFeEnN$@]|[rR][bB]|[bB][rR])?(\\{0,31})([\"'])")
_TRIPLE = re.compile(r"[bBuUrRfF]{0,2}((\\{0,31}[\"'])\2\2)")
_TYPOGRAPHIC = {
    "\u201c": "\u201d",
    "\u201e": "\u201c\u201d",
    "\u2018": "\u2019",
    "\u201a": "\u2018\u2019",
    "\u00ab": "\u00bb",
    "`": "`",
}
_BEHIND = r"(?=$|[\s)\]}>]|\|(?:\s|$)|\\+[nrt\"']|</|[\"'](?!\w)|[,;&](?:$|[\s\"'\\{\[(]|\d{1,9}\b|[\w.-]{1,64}\\{0,31}[\"']?\s?[=:]))"
"""What may stand behind a value that is whole: the end, a blank, a closing sign, or a separator and what no value goes on with."""
_EMPTY = re.compile(
    rf"(?:null|none|nil|<(?:nil|none|unset|empty|missing|omitted|hidden|redacted|not set)>|<set to the key '[^'>\n]{{1,253}}' (?:in|of) [^>\n]{{1,300}}>|true|false|undefined|\*{{3,}}|\[[ ]?\]|\{{[ ]?\}}|\([ ]?\)|{ALONE}){_BEHIND}",
    re.IGNORECASE,
)
_REFERS = re.compile(
    rf"(?P<quote>\\{{0,16}}[\"'])?(?:\$\{{(?:[A-Z_][A-Z0-9_]{{0,80}}|[a-z]{{1,24}}(?:[._][a-z]{{1,24}}){{0,8}})\}}|\$\([A-Z_][A-Z0-9_]{{0,80}}\)|\{{\{{-? ?(?!(?:if|unless|with|range)\b)[A-Za-z_.$][A-Za-z_. |]{{0,80}}-?\}}\}}"
    rf"|(?:get|read|load|fetch|find|create|generate|new|make|build|issue|sign|parse|resolve|lookup)(?:[A-Z]|_[a-z])[A-Za-z_]{{0,40}}\((?:[a-z][A-Za-z_.]{{0,40}}(?:, ?[a-z][A-Za-z_.]{{0,40}}){{0,3}})?\))(?(quote)(?P=quote)){_BEHIND}"
)
"""What stands for a value that is elsewhere: a template's or a shell's name for it, a call of a function with names alone."""
_COUNT = re.compile(rf"(?P<quote>[\"'])?\d{{1,9}}(?:\.\d{{1,9}})?(?(quote)(?P=quote)){_BEHIND}")
_SMALL = re.compile(rf"(?P<quote>[\"'])?\d{{1,5}}(?(quote)(?P=quote)){_BEHIND}")
_AFTER_EMPTY = re.compile(r"[\w<>*]+[,;&]\s*(?P<word>[^\s,;&\"']+)")
_TAG = re.compile(r"(?:![\w!:/.%<>,-]*|&[\w.-]+)(?:[ \t]+(?=\S)|[ \t]*(?=\r?\n))")
_CONTINUED = re.compile(r"\\[ \t]*\r?\n[ \t]*(?=\S)")
"""A value on the next line, as a backslash at the end of this one says."""
_COMMENT = re.compile(r"#(?:[ \t][^\n]*)?(?=\n)")
_CALLED = re.compile(r"[A-Za-z_][\w.:]*(?=[(\[{])")
_CHOICE = re.compile(r"if\b[^\n]{1,300}\belse\b[ \t]{0,8}[{(]?[ \t]{0,8}(?=\S)")
_APPLIED = re.compile(r"[A-Z][A-Za-z]{1,30}[ \t](?=\\{0,31}[\"'])")
"""A constructor before what it holds: `Just "S"`."""
_BLOCK = re.compile(r"[|>][+-]?\d?[+-]?[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*\r?\n)*(?P<indent>[ \t]+)")
_BELOW = re.compile(r"\s*\n(?P<indent>[ \t]{0,64})(?P<item>(?:-[ \t]+){1,8})?(?=[^\s-])")
_HERE = re.compile(r"<<[-~]?\\?[\"']?(?P<word>\w++)[\"']?[^\n]*\n")
_MAPPING = re.compile(r"[\"']?[\w.$/-]+[\"']?\s*[:=](?:\s|$)")
_REFERENCE = re.compile(
    r"\{\s*\\{0,31}[\"']?(?:secretName|path\\{0,31}[\"']?\s*:\s*\\{0,31}[\"']?token|expirationSeconds|defaultMode|audience)\b[^{}]*\}"
)
"""A volume that names a Secret or asks for a token."""
_NAME_ALONE = re.compile(r"\s{0,64}(?:- )?[\"']?[\w.-]{1,128}[\"']?\s{0,16}[:=]{1,3}\s{0,16}")
_WORD_ALONE = re.compile(r"(?!---|\.\.\.|[-=*_#~+|]+\Z)[^\s:=]{4,512}[:=]{0,2}")
_DEEPEST = 64

Span = tuple[int, int]


def read_value(text: str, at: int, *, counts: str = "", alone: bool = False) -> Span | None:
    """The span of the value that begins at `at`, without its quotes; None when it is empty, refers to something, or is a
    number and `counts` says that numbers are counts: `any` of them, or `small` ones of up to five digits. What is `alone` is a
    word of a command line, in which no `,name=` begins another value."""
    if typed := TYPED.match(text, at):
        return read_value(text, typed.end(), counts=counts, alone=alone)
    if annotated := ANNOTATED.match(text, at):
        found = read_value(text, annotated.end(), alone=alone)
        return (at, found[1]) if found else None
    if counts and (_COUNT if counts == "any" else _SMALL).match(text, at):
        return None
    if _EMPTY.match(text, at):
        behind = _AFTER_EMPTY.match(text, at)
        return None if behind is None or not made_up(behind["word"]) else (at, behind.end())
    if _REFERS.match(text, at):
        return None
    if continued := _CONTINUED.match(text, at):
        at = continued.end()
    start = at
    while (tag := _TAG.match(text, at)) and at - start < _DEEPEST:
        at = tag.end()
    if comment := _COMMENT.match(text, at):
        below = _below(text, comment.end())
        return below if below is None else (below[0], below[1])
    found = _chosen(text, at) or _value(text, at, alone=alone)
    if found is None:
        return None
    return found[0] if at == start else start, through_templates(text, *found)


def _chosen(text: str, at: int) -> Span | None:
    """A choice, up to the value that is its last."""
    choice = _CHOICE.match(text, at)
    last = _value(text, choice.end()) if choice else None
    return (at, last[1]) if last else None


def _value(text: str, at: int, *, alone: bool = False) -> Span | None:
    first = text[at : at + 1]
    if triple := _TRIPLE.match(text, at):
        end = text.find(triple[1], triple.end())
        if end < 0:
            return triple.end(), len(text)
        behind = end + len(triple[1])
        if end > triple.end():
            last = (
                end_of_line(text, behind)
                if goes_on(text, behind) or text[behind : behind + 1] in ("'", '"')
                else end
            )
            return triple.end(), line_end(text, at, last)
    if (opened := _OPEN.match(text, at)) and ((found := _quoted(text, opened)) or opened.start(1) == at):
        return found
    if first in _TYPOGRAPHIC and first and (end := _typographic(text, at)):
        return at + 1, end
    if first in "\r\n \t" and (_BELOW.match(text, at) or not first):
        return _below(text, at)
    if text.startswith("$(", at):
        return at, line_end(text, at, bare(text, closing(text, at + 1)))
    if block := _BLOCK.match(text, at):
        return block.end(), _end_of_block(text, block.end(), block["indent"])
    if here := _HERE.match(text, at):
        end = text.find(f"\n{here['word']}", here.end() - 1)
        return here.end(), end if end >= 0 else len(text)
    if sliced := SLICE.match(text, at):
        return at, line_end(text, at, bare(text, closing(text, sliced.end())))
    if first and first in "[{(<":
        return _in_brackets(text, at)
    if (applied := _APPLIED.match(text, at)) and (held := read_quoted(text, applied.end())):
        return at, held[1]
    if (across := ACROSS.match(text, at)) and "\n" in across[0]:
        return read_quoted(text, across.end())
    if called := _CALLED.match(text, at):
        within = text[called.end() : min(called.end() + LOOK_AHEAD, end_of_line(text, at))]
        if (end := closing(within, 0)) < len(within) or within[-1:] in ")]}":
            return at, bare(text, called.end() + end, alone=alone)
    end = bare(text, at, alone=alone)
    return (at, end) if end > at else None


def _typographic(text: str, at: int) -> int:
    """Where the quote closes on its line; 0 when it does not."""
    closers = _TYPOGRAPHIC[text[at]]
    for end in range(at + 1, min(len(text), at + LOOK_AHEAD)):
        if text[end] in closers:
            return end
        if text[end] == "\n":
            break
    return 0


def _in_brackets(text: str, at: int) -> Span | None:
    if _REFERENCE.match(text, at):
        return None
    if text[at] == "<":
        end = text.find(">", at, at + LOOK_AHEAD)
        end = end + 1 if end >= 0 and "\n" not in text[at:end] else at
        return at, bare(text, end)
    return at, line_end(text, at, bare(text, closing(text, at)))


def _below(text: str, at: int) -> Span | None:
    """A value that begins on a line below: quoted, a text further in, or a list; None for a mapping and for a word that
    says something of the secret, as a sentence that goes on there does."""
    below = _BELOW.match(text, at)
    if below is None:
        return None
    start, item, indent = below.end(), below["item"], below["indent"]
    first = text[start : end_of_line(text, start)].strip()
    quoted = first[:1] in "\"'" or first.startswith("\\")
    if not first or not (indent or item or quoted or _one_below(text, at, first)):
        return None
    if _MAPPING.match(first) or (not item and harmless_word(first.partition(" ")[0].rstrip(".,:;"))):
        return None
    if item:
        return start, _end_of_block(text, start, f"{indent}- ", f"{indent}  ")
    found = _value(text, start)
    if found is None or quoted or not indent:
        return found
    return found[0], max(found[1], _end_of_block(text, start, indent))


def _one_below(text: str, at: int, first: str) -> bool:
    """Whether a word that is no further in is the value all the same: a name has its line for itself, and the word has it too."""
    name = text[text.rfind("\n", max(0, at - LOOK_AHEAD), at) + 1 : at]
    return _NAME_ALONE.fullmatch(name) is not None and _WORD_ALONE.fullmatch(first) is not None


def read_line(text: str, at: int) -> Span | None:
    """The rest of the line."""
    end = end_of_line(text, at)
    return (at, end) if text[at:end].strip() else None


def read_quoted(text: str, at: int) -> Span | None:
    """What the quote at `at` holds, as `read_value` does; None where no quote stands."""
    if opened := _OPEN.match(text, at):
        return _quoted(text, opened)
    if text[at : at + 1] in _TYPOGRAPHIC and (end := _typographic(text, at)):
        return at + 1, end
    return None


def _behind_empty(text: str, at: int, mark: str) -> int:
    """Where a value ends that begins right behind two quotes: before two more, as in a table with commas, or as a bare word."""
    end = text.find(mark * 2, at, end_of_line(text, at))
    return end if end >= 0 else bare(text, at)


def read_in_quote(text: str, at: int, mark: str) -> Span:
    """From `at` to where the quote closes in which it stands; `mark` is that quote with the backslashes before it."""
    closed = closing_quote(text, at, len(mark) - 1, mark[-1])
    last = closed[0] if closed else len(text)
    newline = text.find("\n", at, last)
    return at, newline if newline >= 0 else last


def _quoted(text: str, opened: re.Match[str]) -> Span | None:
    """Up to the same quote; one that is escaped or doubled belongs to the value, and so does what a shell would join to it.
    Unclosed it ends with the text. When it closes on another line, the rest of that line and the opening quote belong to it
    too: perhaps nobody closed it, and the quote was the first of a pair that holds another secret."""
    at, (escape, quote) = opened.end(), opened.groups()
    depth, end = len(escape), at
    while True:
        closed = closing_quote(text, end, depth, quote)
        if closed is None:
            return (at, len(text)) if at < len(text) else None
        end, behind = closed
        following = text[behind : behind + 1]
        if (
            behind > end
            and text.startswith(escape + quote, behind)
            and (end > at or quote in text[behind + depth + 1 : end_of_line(text, behind)])
        ):
            end = behind + depth + 1  # doubled
            continue
        break
    if following.isalnum() and behind > end:
        last = end_of_line(text, behind) if end > at else _behind_empty(text, behind, escape + quote)
        return (opened.start() if "\n" in text[at:last] else at), last
    more = joined(text, behind, depth) if behind > end else end
    end = more if more > behind else end
    if (last := line_end(text, at, end)) != end:
        return opened.start(), last
    return (at, end) if end > at else None


def _end_of_block(text: str, at: int, *indents: str) -> int:
    end = at
    while True:
        newline = text.find("\n", end)
        if newline < 0:
            return len(text)
        following = text[newline + 1 : end_of_line(text, newline + 1)]
        if following.strip() and not following.startswith(indents):
            return newline
        end = newline + 1


_HEADER_PART = re.compile(r"[^\"'\\\r\n]*")
_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9-]{2,20}[ \t]*")
_FOLD = re.compile(r"\r?\n[ \t]+(?=\S)")


def read_header(text: str, at: int) -> Span | None:
    """The value of a header: inside its quotes, else to the end of its line and of those that it was folded over, or up to the
    quote that closes what the header stands in."""
    if opened := _OPEN.match(text, at):
        return _quoted(text, opened)
    if text[at : at + 1] in ("[", "("):
        return at, line_end(text, at, closing(text, at))
    end = _header_line(text, at)
    while fold := _FOLD.match(text, end):
        line = text[fold.end() : end_of_line(text, fold.end())].strip()
        alone = _SCHEME.fullmatch(text, at, end) is not None or " " not in line or text[end - 1] in ",;"
        if _MAPPING.match(line) or not alone:
            break
        end = _header_line(text, fold.end())
    return (at, end) if end > at else None


def _header_line(text: str, at: int) -> int:
    """The end of a line of a header. A quote that is open before it ends it; one that opens in it belongs to it."""
    end, last = at, end_of_line(text, at)
    while found := _HEADER_PART.match(text, end, last):
        end = found.end()
        run = backslashes(text, end)
        sign = text[end + run : end + run + 1]
        if end >= last or not sign or sign in "\r\n" or (run and sign in "nr"):
            return end
        if sign not in "\"'":
            end += run + 1
            continue
        mark = "\\" * run + sign
        if is_open(text, at, mark) or _behind_quote(text, end + run + 1):
            return end
        closed = closing_quote(text, end + run + 1, run, sign)
        end = closed[1] if closed and closed[1] <= last else last
    return end


def _behind_quote(text: str, at: int) -> bool:
    return not text[at : at + 1].strip() or text[at] in ",)]}"


def read_word(text: str, at: int) -> tuple[int, int, int]:
    """One word of a command line: where it begins and ends without the quotes around it, and where it ends with them. Empty
    where the command does."""
    while at < len(text) and (text[at] in " \t" or text.startswith("\\\n", at)):
        at += 1 if text[at] in " \t" else 2
    if text[at : at + 1] in ("", "\n", "\r", "|", ";", "&", ")"):
        return at, at, at
    if (opened := _OPEN.match(text, at)) and not _closes(text, at, opened):
        escape, quote = opened.groups()
        closed = closing_quote(text, opened.end(), len(escape), quote)
        if closed is None:
            return opened.end(), len(text), len(text)
        behind = joined(text, closed[1], len(escape))
        return opened.end(), behind if behind > closed[1] else closed[0], behind
    end = bare(text, at, alone=True)
    for separator in "|;":
        if (found := text.find(separator, at, end)) >= 0 and not _quotes_in(text, at, found):
            end = found
    return at, end, end


def _closes(text: str, at: int, opened: re.Match[str]) -> bool:
    """Whether the quote at `at` is the one that closes what the command stands in."""
    ended = not text[opened.end() : opened.end() + 1].strip() or text[opened.end()] in ",]}"
    return ended and is_open(text, at, opened[1] + opened[2])


def _quotes_in(text: str, at: int, end: int) -> bool:
    return "'" in text[at:end] or '"' in text[at:end] or "\\" in text[at:end]


def more_of_a_line(text: str, at: int, indent: int) -> int:
    """Where a bare value ends that has its line for itself: with the line when no other name stands in it, and with the lines
    below that are further in than `indent` and are no values of their own."""
    end = end_of_line(text, at)
    rest = text[at:end]
    if len(rest) > LOOK_AHEAD or _ANOTHER.search(rest):
        return at
    while end < len(text):
        below = text[end + 1 : end_of_line(text, end + 1)]
        inner = below.strip()
        if (
            not inner
            or len(below) - len(below.lstrip()) <= indent
            or _MAPPING.match(inner)
            or inner.startswith(("- ", "at ", "File ", "#"))
        ):
            break
        end = end_of_line(text, end + 1)
    return end


_ANOTHER = re.compile(r"[\w.-]\\*[\"']?\s?[=:](?!\S*$)|[\"'}\]]")


def read_tuples(text: str, at: int) -> Span:
    """From the bracket at `at` to the one that closes it, and others behind commas."""
    start = at
    while at < len(text) and text[at] in "([{":
        at = closing(text, at)
        separator = _NEXT_TUPLE.match(text, at)
        if separator is None:
            break
        at = separator.end()
    return start, at


_NEXT_TUPLE = re.compile(r"\s*,\s*(?=\()")


def read_item(text: str, at: int) -> Span | None:
    """An item of a flow list of YAML, in quotes or bare."""
    item = _BARE_ITEM.match(text, at)
    return read_quoted(text, at) or (item.span() if item else None)


_BARE_ITEM = re.compile(r"[^\[\]{}\"'\s,][^,\]\n]*")
