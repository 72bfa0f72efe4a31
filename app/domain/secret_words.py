"""Words that are rather a secret than said about one, by how their signs are mixed.

Used by `app.domain.redact`. Looks at one word at a time. Pure.
"""

from __future__ import annotations

import re
from itertools import pairwise

THING = r"(?:password|passwd|passphrase|passcode|pwd|otp|token|secret|pin|credential|(?:api|access|secret|private|encryption|signing|license)[ _-]?key)"
"""The nouns by which a sentence speaks of a secret."""
CHANGED = r"(?:re)?(?:set|generat|chang|creat|rotat|updat|switch|mov|migrat|replac|renew)(?:ed|ing|e)?"
REFUSED = (
    r"mismatch\w*|match\w*|differ\w*|expect\w*|wrong|invalid|incorrect|illegal|malformed|bad|reject\w*|refus\w*|denied|denies|accept\w*|expired|revoked|fail\w*|unknown|"
    r"unauthori[sz]ed|verif\w*"
)
TAKEN = r"read|reading|load\w*|us(?:ed|ing)|fetch\w*|return\w*|took|taken|got"
"""The verbs of such a sentence: of what was exchanged, of what was refused, and of what was taken from somewhere."""

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


_ADDRESS = re.compile(r"[{(\[&*]{0,4}0x[0-9a-f]{1,16}[?})\]]{0,5}")


def is_address(word: str) -> bool:
    """Whether it is an address in the memory, as traces print them."""
    return _ADDRESS.fullmatch(word) is not None


def made_up(word: str) -> bool:
    """Whether a word is rather a secret than said about one: digits between letters, or with letters of both cases. Of a long one the
    beginning tells that, so that a word which is looked at and declined costs no more than a short one."""
    word = word[:_TELLING]
    if len(word) < 8 or _DIGIT.search(word) is None or "://" in word:
        return False
    return (of_both_cases(word) or _DIGIT_WITHIN.search(word) is not None) and not (
        is_id(word) or is_address(word)
    )


ALGORITHM = re.compile(
    r"sha\d|md5|hmac|pbkdf|crypt|argon|base64|utf|https?|oauth|x509|pkcs|\dbit", re.IGNORECASE
)
"""What is said of how a secret is kept."""
_TELLING = 512
_DIGIT = re.compile(r"\d")


def of_both_cases(word: str) -> bool:
    """Whether it has capitals and small letters."""
    if word.isascii():
        return not (word.lower() == word or word.upper() == word)
    return any(c.islower() for c in word) and any(c.isupper() for c in word)


_PART = r"(?:[a-z]{1,24}\d{0,6}|\d{1,10}|k[38]s|e2e|b2[bc]|p2p)"
_MADE = r"[bcdfghjklmnpqrstvwxz2456789]"
_OF_AN_OBJECT = re.compile(
    rf"(?:{_PART}(?:[-.]{_PART}){{0,8}}/)?(?:[a-z]{{2,24}}\d{{0,6}}|k[38]s|e2e)(?:[-.]{_PART}){{0,8}}(?:-{_MADE}{{8,10}})?(?:(?:-|-key){_MADE}{{5}})?"
)
"""A name that Kubernetes or a tool made for an object: words, and behind them letters and digits of those that it makes names of."""
_APART = re.compile(r"[\s\"'`,;=\[\]{}()<>]+|:(?=\s)")


def no_object(word: str) -> bool:
    """Whether a word among names of objects is rather a secret: `default-token-x7k2p` is a name."""
    word = word.rstrip(".:!?\\")
    return made_up(word) and _OF_AN_OBJECT.fullmatch(word[:_TELLING]) is None


def any_no_object(text: str) -> bool:
    """The same of any word of a text, or of all of it where that is one."""
    return (of_both_cases(text) and " " not in text and made_up(text)) or any(
        map(no_object, _APART.split(text))
    )


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


_FAULTS = re.compile(
    r"\[\s?(?P<all>(?:\\{0,4}\"(?:is|are|was|has|can't|can not|cannot|must|should|needs?|may|does|doesn't|only|this|the|please|invalid|too)\s[^\"\\\n]{2,120}\\{0,4}\"(?:,\s?)?){1,8})\s?\]",
    re.IGNORECASE,
)


def only_faults(text: str, at: int) -> bool:
    """A list of what is wrong with a field, as a form answers: sentences, and no word among them that somebody made up."""
    found = _FAULTS.match(text, at)
    return found is not None and not any(map(made_up, re.split(r"[\s\"'()\\,]+", found["all"])))
