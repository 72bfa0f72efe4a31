"""Secrets that are none: nothing in them that anybody could see, too little, or a text that a template left in their place.

Asked by the settings at the start and by the authentication for each token. Says what is wrong in words that show nothing of the
value. Pure.
"""

from __future__ import annotations

import re

from app.domain.text import CONTROL

LEAST = 8
"""Visible characters of a secret that somebody else made; the shortest that Slack and PagerDuty give have 20."""

_TEMPLATE = re.compile(
    r"\$\{.*\}|\$\(.*\)|\$[A-Z_][A-Z0-9_]*|\{\{.*\}\}|<.*>|%[A-Z_]+%|@@?[A-Z_]+@@?|\[\]|\{\}|null|nil|none|undefined|no value",
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(
    r"(?:unset|empty|false|true|todo|fixme|tbd|dummy|example|placeholder|redacted)"
    r"|(?:your|my|the|some|a)?[-_ .]?(?:secret|password|token|key|credential)s?(?:[-_ .]?here)?"
    r"|(?:change|replace|fill|insert|set|put)[-_ .]?(?:me|this|it|in|your)?(?:[-_ .](?:in|please|now|here|secret|token|password|key))*"
    r"|[x*._#?-]+",
    re.IGNORECASE,
)


def visible_characters(text: str) -> str:
    """Those characters of `text` that somebody could see."""
    return "".join(c for c in CONTROL.sub("", text) if not c.isspace() and c.isprintable())


def is_left(text: str) -> bool:
    """Whether nothing is in `text`, or what a template leaves where a secret belongs; with its quotes or without."""
    bare = _bare(text)
    return not bare or _TEMPLATE.fullmatch(bare) is not None


def _bare(text: str) -> str:
    return " ".join(text.split()).strip("\"'` ")


def fault_in_secret(text: str, least: int = LEAST) -> str:
    """What is wrong with a secret, as one clause; empty when nothing is."""
    seen = visible_characters(text)
    if not seen.strip(","):
        return "is empty; give it a value or unset it"
    if is_left(text) or _WORD.fullmatch(_bare(text)):
        return "is a placeholder; give it a value or unset it"
    if CONTROL.search(text):
        return "has characters that nobody sees"
    if len(seen) < least:
        return f"must have {least} visible characters or more"
    return ""
