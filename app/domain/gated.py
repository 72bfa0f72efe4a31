"""Patterns that are long tables of words, behind a linear gate: most lines of most programs match none of them.

Python's own engine tries every alternative at every place of a text and holds up all threads meanwhile. RE2 says at a fiftieth of that
cost whether a wider form of the pattern matches anywhere; only then the pattern itself is tried, so that what is found is the same.
Owns how a pattern is made wider. Never decides what a match means.
"""

from __future__ import annotations

import re
from typing import Any, Final

import re2

from app.domain.linear import Linear

_PLAIN: Final = re.compile(r"[\t\n\r -~]*")
"""Texts for which both engines mean the same by their classes of characters."""
_TOKEN: Final = re.compile(
    r"\\(?P<edge>[bBAZ])|(?P<escaped>\\.)|(?P<look>\(\?<?[=!])|(?P<named>\(\?P<\w+>)|(?P<end>[\^$])|(?P<class>\[\^?\]?(?:[^\]\\]|\\.)*\])"
    r"|\{(?P<least>\d+),(?P<most>\d*)\}|(?P<open>\()|(?P<close>\))|(?P<other>.)",
    re.DOTALL,
)
_COUNTED = 4
"""Repetitions above this one are not counted by the gate: counting is what makes an automaton large."""


class Gated:
    """A pattern of `re`, whatever the case of letters, that is only tried on texts in which its wider form occurs. Without back references."""

    __slots__ = ("_gate", "pattern", "regex")

    def __init__(self, pattern: str) -> None:
        """Raises re.error for what `re` or RE2 cannot compile."""
        self.pattern = pattern
        self.regex = re.compile(pattern, re.IGNORECASE)
        self._gate = gate(pattern)

    def search(self, text: str) -> re.Match[str] | None:
        """As `re.Pattern.search`."""
        if _PLAIN.fullmatch(text) is not None and self._gate.search(text) is None:
            return None
        return self.regex.search(text)


def gate(pattern: str) -> Any:
    """RE2's form of what is wider than `pattern`: finds something in every plain text in which the pattern does."""
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.max_mem = 64 << 20
    return Linear(wider(pattern), options)


def wider(pattern: str) -> str:
    """`pattern` without what it asks of the surroundings of a match, without names, and with long repetitions of any length."""
    kept: list[str] = []
    depth = 0  # in groups that only look around, counted from the outermost
    for token in _TOKEN.finditer(pattern):
        if depth:
            opens = token["open"] or token["look"] or token["named"]
            depth += 1 if opens else -1 if token["close"] else 0
        elif token["look"]:
            depth = 1
            kept.append("(?:)")
        elif token["edge"] or token["end"]:
            kept.append("(?:)")
        elif token["named"]:
            kept.append("(?:")
        elif token["least"]:
            long = not token["most"] or int(token["most"]) > _COUNTED
            kept.append(("+" if int(token["least"]) else "*") if long else token[0])
        else:
            kept.append(token[0])
    return "".join(kept)
