"""Marks of our own pages: a page's key and a keyed digest of key and text stand at the end of its title, so that what PagerDuty sends back
about it is known as our own, and nothing else can pass for it: a mark that is appended to another title is none.

PagerDuty's webhook names neither the dedup key nor the integration's key of an event, but always the title. Pure.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable

from app.domain.change import DigestKey

_TAIL = re.compile(r"\[((?:inc|dig)_[A-Za-z0-9_~-]{1,80}) ([0-9a-f]{16})\]\s*$", re.ASCII)


def maker(key: DigestKey) -> Callable[[str, str], str]:
    """Makes the mark of a page's key and of the text before it, however that is spaced: 16 hex digits."""
    return lambda page, text: key.digest(["page", page, " ".join(text.split())])[:16]


def is_marked(title: str) -> bool:
    """Whether a title ends like one of ours; whether it is one, `reader` tells."""
    return _TAIL.search(title) is not None


def reader(key: DigestKey) -> Callable[[str], str]:
    """Reads a title: the key of our page whose title it is, empty for anything else."""
    mark = maker(key)

    def read(title: str) -> str:
        found = _TAIL.search(title)
        if found is None or not hmac.compare_digest(found[2], mark(found[1], title[: found.start()])):
            return ""
        return found[1]

    return read
