"""Cookies at the door: of all that a request brings, the few of our own pages are left, before anything else reads one.

Frameworks parse the cookies of every request, also where nobody has proved anything and nothing wants one, and Python before 3.11.10 and
3.12.6 takes off quotes in quadratic time (CVE-2024-7592): a head of 28 KB held the process for 10 seconds. Ours have no quotes. The API
and the webhooks take no cookie at all: what a browser sends along by itself proves nothing there.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, Final

SESSION: Final = "remediator_session"
VISIT: Final = "remediator_visit"
TIMES: Final = "remediator_times"
ATTEMPT: Final = "remediator_login"
OURS: Final = frozenset(name.encode() for name in (SESSION, VISIT, TIMES, ATTEMPT))
MAX_COOKIE: Final = 2_048
"""Bytes of a value; a longer one is none of ours."""
_VALUE: Final = re.compile(rb"[A-Za-z0-9_.~=-]*")
_WITHOUT: Final = ("/api/", "/webhooks/")


def keep_own_cookies(scope: MutableMapping[str, Any]) -> None:
    """Leave of the cookies in a request's scope those of our pages, each once, the last of a name; none for the API and the webhooks."""
    headers = scope["headers"]
    given = [value for name, value in headers if name == b"cookie"]
    if not given:
        return
    rest = [header for header in headers if header[0] != b"cookie"]
    ours = {} if scope["path"].startswith(_WITHOUT) else _ours(given)
    if ours:
        rest.append((b"cookie", b"; ".join(b"%b=%b" % pair for pair in ours.items())))
    scope["headers"] = rest


def _ours(given: list[bytes]) -> dict[bytes, bytes]:
    found = {}
    for pair in b";".join(given).split(b";"):
        name, _, value = pair.partition(b"=")
        name, value = name.strip(b" \t"), value.strip(b" \t")
        if name in OURS and len(value) <= MAX_COOKIE and _VALUE.fullmatch(value):
            found[name] = value
    return found
