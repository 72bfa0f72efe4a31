"""Text of strangers: cut before anything searches it, and without characters that control a terminal or a layout.

Used by logs, evidence and messages. Pure; knows nothing of secrets or markup.
"""

from __future__ import annotations

import re

CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 (but tab and line feed), DEL, C1
    r"\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # zero width, line separators, bidi overrides and isolates
    r"\ud800-\udfff]"  # lone surrogates
)
"""Characters that nobody sees and that move, hide or reorder what is seen."""

_LONGEST_WORD = 200


def visible(text: str) -> str:
    r"""`text` with every control character as an escape such as `\x1b`; tabs and line feeds stay."""
    return CONTROL.sub(lambda m: m[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def bounded(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, ending before the word or URL that the cut would split.

    A secret of which the second half is gone may have lost the form by which it is recognised, so it goes as a whole.
    """
    if len(text) <= limit:
        return text
    head = text[:limit]
    stem, blank, last = head.rpartition(" ")
    if blank and len(last) <= _LONGEST_WORD:
        return f"{stem} …"
    at = last.rfind("://")
    return f"{head[: len(head) - len(last) + at + 3]}…" if at >= 0 else f"{head}…"
