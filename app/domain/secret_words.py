"""Words that are rather a secret than said about one, by how their signs are mixed.

Used by `app.domain.redact`. Looks at one word at a time. Pure.
"""

from __future__ import annotations

import re
from itertools import pairwise

_ID = re.compile(
    r"(?:pi|ch|py|evt|cus|sub|si|sub_sched|in|ii|il|pm|card|ba|src|txn|po|re|seti|setatt|prod|price|acct|req|dp|du|fee|fr|file|link|plan|cn|qt|tr|trr|promo|ca|cs|we"
    r"|mandate|iss|ich|ic|ipi|ta|topup|tax|txr|vs|vr)_(?:(?:live|test)_)?(?:[a-z]{2}_)?[A-Za-z0-9]{14,34}"
    r"|JID-[0-9a-f]{12,32}|(?:SM|MM|CA|PN|CF|RE|MG|IS|WS|FX|QU|ME|AP|NO|ZS|TR|VA|VE|CH|IM|MS)[0-9a-f]{32}"
)
"""Ids that Stripe, Twilio and Sidekiq give to what people have to look up."""
_DIGIT_WITHIN = re.compile(r"[A-Za-z][0-9]+[A-Za-z]")


def random_looking(word: str) -> bool:
    """Whether a user name in a URL is rather a token: long, with digits between letters."""
    has = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    return len(word) >= 24 or (len(word) >= 12 and has)


def is_id(word: str) -> bool:
    """Whether a word is the id of an object, by how those who give it write theirs: it names and lets nobody in."""
    return _ID.fullmatch(word.rstrip(".,;:")) is not None


def made_up(word: str) -> bool:
    """Whether a word is rather a secret than said about one: digits between letters, or with letters of both cases."""
    digits = any(c.isdigit() for c in word)
    mixed = of_both_cases(word) or _DIGIT_WITHIN.search(word) is not None
    return digits and len(word) >= 8 and "://" not in word and mixed and not is_id(word)


def of_both_cases(word: str) -> bool:
    """Whether it has capitals and small letters."""
    return any(c.islower() for c in word) and any(c.isupper() for c in word)


def well_mixed(word: str) -> bool:
    """Whether a long word was made by chance: capitals, small letters and digits that change from sign to sign, which
    neither names of classes nor digests, ids and paths do."""
    letters = [c for c in word if c.isascii() and c.isalnum()]
    if len(letters) < 24 or is_id(word):
        return False
    kinds = [0 if c.isdigit() else 1 if c.islower() else 2 for c in letters]
    if min(kinds.count(kind) for kind in (0, 1, 2)) < 2:
        return False
    changes = sum(a != b for a, b in pairwise(kinds))
    return changes >= 0.42 * len(letters)
