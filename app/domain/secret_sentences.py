"""Secrets in sentences and calls without quotes: the old and the new one, a login, an argument of a function, a code; what a wrapper holds;
and what stands right beside the noun for a secret in a sentence that refuses it.

Used by `app.domain.secret_classes`; the forms are as in `secret_forms`. Only words that somebody made up count, digits among letters, and numbers
where the sentence says that they are a code; what a type with the name of a secret holds in quotes counts whatever it is. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from app.domain import secret_places as places
from app.domain.linear import Linear
from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_quotes import READ
from app.domain.secret_refusals import is_name, is_no_value, is_of_another
from app.domain.secret_values import read_quoted
from app.domain.secret_words import ALGORITHM, CHANGED, THING, is_address, made_up

Span = tuple[int, int]
_WORD = r"""[^\s,;()\[\]"'`]"""
_BEFORE = r"(?:[\w.@/-]{1,64}\s*,\s*)"
_LOGINS = r"log_?in|log_?on|sign_?in|authenticate|auth|connect|bind|simple_?bind|kinit|open_?session"
_GIVEN = r"(?:set|change|check|verify|validate|reset|update|compare|encode|hash|rotate|refresh|revoke|decode|parse|introspect)_?"
_NOUNS = r"(?:password|passwd|pwd|pass|token|jwt|api_?key|secret|passphrase|pin|otp|credentials?)"


def _old_and_new(match: Any, _text: str) -> list[Span]:
    """Both values of an exchange; where one was made up the other is one too."""
    found = [places.place(match, name) for name in ("old", "new") if match[name]]
    words = [match[name].rstrip(".:!?") for name in ("old", "new") if match[name]]
    spans = [(start, start + len(word)) for (start, _), word in zip(found, words, strict=True)]
    return spans if any(made_up(word) and not ALGORITHM.search(word) for word in words) else []


_FRAME = re.compile(r"[\w$-]+\.[A-Za-z]{1,5}:\d+")


def _argument(match: Any, text: str) -> Span | None:
    """An argument that somebody made up; in a trace the file and the line stand there."""
    return None if _FRAME.fullmatch(match["secret"]) else places.made_up_behind(match, text)


def _mixed(match: Any, text: str) -> Span | None:
    """A word of letters and digits where the sentence leaves no doubt what it is."""
    word = match["secret"].rstrip(".,;:!?")
    start, _ = places.place(match, "secret")
    mixed = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    if not mixed or ALGORITHM.search(word) or harmless_word(word):
        return None
    behind = text[start + len(word) : start + len(word) + 2]
    return None if behind.startswith("(") else (start, start + len(word))


def _held(match: Any, text: str) -> Span | None:
    """What is quoted in a wrapper with the name of a secret."""
    found = read_quoted(text, match.end()) if is_secret_name(match["name"]) else None
    return None if found is None or " " in text[found[0] : found[1]] else found


NOUN = r"(?i)(?:pass|pwd|secret|token|key|cred|otp\b|\bpin\b|jwt)"
"""What is in each noun of a sentence that `refused_beside` reads."""
_REFUSES: Any = Linear(
    r"(?i)\b(?:in(?:valid|correct|compatible|sufficient)|illegal|mal?formed|wrong|bad|weak|un(?:expected|known|recogni[sz]ed|supported|acceptable|authori[sz]ed|able)|reject\w*|refus\w*|decline\w*|den(?:y|ied|ies)"
    r"|(?:dis|not )allow\w*|forbid\w*|prohibit\w*|fail\w*|expire\w*|revoked?|leaked|compromised|breach\w*|blocked|banned|disabled|forbidden|unauthorized|mis?match\w*|match\w*|differ\w*|not|no such|cannot|can't|could\s?n[o']t|\w{1,8}n't|pars(?:e|ed|ing)|decod\w+|verif\w+|validat\w+"
    r"|accept\w*|expect\w*|receiv\w*|got|given|provided|supplied|must|should|too (?:short|long|weak)|violat\w*|already|duplicate)\b"
)
"""A verb or a word by which a sentence refuses."""
_WORD_OF_A_NAME = re.compile(r"(?<![\w./-])-{0,2}[A-Za-z_][\w.-]{1,127}")
_NOUN_ALONE = re.compile(
    r"(?:password|passwd|passphrase|passcode|pwd|otp|totp|token|secret|pin|credential|apikey|jwt)s?",
    re.IGNORECASE,
)
_PASS = re.compile(r"pass|pwd|\bpin\b|otp", re.IGNORECASE)
_KIND_BEFORE = re.compile(
    r"\b(?:api|access|secret|private|signing|encryption|decryption|master|account|license|unseal|root|shared|storage|unlock|recovery|activation|backup|client|webhook|hmac|app|consumer|bearer"
    r"|refresh|session|admin|service|id|auth|bot|user|deploy|join|registration|bootstrap|jwt|csrf|reset|oauth2?|identity)[ ]\Z",
    re.IGNORECASE,
)
"""What makes of `key`, `secret` or `token` the noun for a value, and not for an object or a word of a program."""
_OF_DATA = frozenset({"user", "service", "session", "app", "storage", "id", "bot", "root", "shared"})
"""A key of these finds data as often as it opens something."""
_FILL = (
    r"value|string|text|provided|supplied|given|received|presented|used|sent|entered|got|found|actual|was|is|of|format|length|header|parameter|argument|field|rejected|refused|in(?:valid|correct)|illegal|wrong|bad|expired|revoked|mismatch|denied"
    r"|not|valid|accepted|allowed|recogni[sz]ed|unauthorized|verification|validation|check|failed|must|be|cannot|does|match(?:es)?|too|short|long|weak|contains?|characters?|you|it|but|which|that|has|been|an?|the"
)
_LEADS = re.compile(
    rf"['\"`\])]{{0,2}}(?P<words>(?:[ \t:,;(]{{1,3}}(?:{_FILL})(?=[ \t:,(])){{0,8}})(?P<mark>[ \t]*(?:[:=,]|(?:[!.;][ \t]*)?\(|[-=]>)[ \t]*|[ \t]+[-\u2013\u2014][ \t]+|[ \t]+)",
    re.IGNORECASE,
)
"""What stands between a noun and a value in a sentence: words that name nothing else."""
_SURELY = re.compile(
    r"\b(?:value|provided|supplied|given|received|presented|entered|got|actual)\b", re.IGNORECASE
)
_HELD_IN = re.compile(r"[\[(<{](?P<value>[^\s\[\](){}<>\"'`]{4,200})[\])>}]")
_ALONE = re.compile(r"[^\s\"'`,;()\[\]{}<>\\]{4,200}")
_OF_ANOTHER_KIND = re.compile(
    r"v?\d+\.\d[\w.+-]*|\d+(?:\.\d+)?[A-Za-z%]{1,5}|\w[\w.-]*=.*|[^@]+@[\w-]+\.[\w.-]+|[^/]*/.*|[\w.-]+:\d{1,5}|[\dT:.Z+-]+|(?:[\w-]+\.)+[a-z]{2,12}|(?>.*?\*{3}).*"
)
"""What stands there without quotes and is rather a version, a measure, an address, a path, a time or a name."""
_NUMBERED = re.compile(r"[a-z]+\d")
"""As hosts and users are called."""
_OF_AN_OBJECT = re.compile(r"[a-z0-9](?:[a-z0-9./-]*[a-z0-9])?")
_VERDICT = re.compile(
    r"[\"'`\])>}\\]{0,3}(?:[:,]|,? which)?[ \t]+(?:(?:is|was|has|does|are|were)[ \t]+)?(?:(?:not?|an?|been|too|already)[ \t]+){0,2}(?:(?:in)?(?:valid|correct)|rejected|refused|expired|revoked|match\w*|mismatch\w*|accepted|allowed|recogni[sz]ed"
    r"|weak|short|long|wrong|malformed|denied|unauthorized|leaked|compromised|blocked|banned|disabled|failed(?=[.,;:)]?(?:$|[ \t]?\n))|isn't|doesn't match|but (?:it )?(?:expected|wanted|needs?|was expected|expects)|instead of)\b",
    re.IGNORECASE,
)
_REFUSED_AS = re.compile(
    r"\b(?:invalid|incorrect|wrong|bad|expired|illegal|weak|rejected|refused)[ \t]+(?:the[ \t]+)?\Z",
    re.IGNORECASE,
)
_OF_A_PARSER = re.compile(
    r"\b(?:unexpected|illegal|lexer|parser|grammar|syntax ?error|line \d+|position \d+|column \d+|offset \d+|col \d+|near|in JSON)\b",
    re.IGNORECASE,
)
_LINKS = frozenset({
    "a", "acceptable", "accepted", "allowed", "an", "are", "as", "bad", "be", "because", "cannot", "configured", "correct", "could", "current", "denied", "does", "doesn't", "env", "expected", "expired", "field", "for", "illegal", "incorrect", "invalid", "is", "isn't", "known", "malformed", "match", "must", "new", "no", "not", "of", "old", "option", "parameter", "property", "refused", "rejected", "revoked", "right", "setting", "stale", "stored", "supported", "the", "this", "unknown", "used", "valid", "variable", "was", "wasn't", "weak", "were", "wrong", "your",
})  # fmt: skip
"""Between a value and the noun behind it."""
_COPULA = frozenset({"is", "was", "are", "isn't", "wasn't", "as"})
_WITH_MORE = {
    "rejected": ("as",),
    "refused": ("as",),
    "used": ("as",),
    **dict.fromkeys(("does", "doesn't", "cannot", "could", "must"), ("match", "be")),
}
"""Words behind a value of which others say that it is meant, and not who did something."""
_BEFORE_NOUN, _BEHIND_NOUN, _OPEN_END = 200, 400, 120


def refused_beside(match: Any, text: str) -> list[Span]:
    """What stands right beside the noun for a secret in a sentence that refuses it, in quotes, in brackets or bare. The last span is empty and
    tells how far was read: to the last noun, when the line goes on behind what is looked at in one go."""
    begin = max(
        text.rfind("\n", max(0, match.start() - _BEFORE_NOUN), match.start()) + 1,
        match.start() - _BEFORE_NOUN,
        0,
    )
    end = match.end() + _BEHIND_NOUN
    last = text.find("\n", match.end(), end)
    end = last if last >= 0 else min(end, len(text))
    line, read = text[begin:end], end
    READ.work += len(line) // _READ_AT_ONCE
    if last < 0 and end < len(text):
        read = max(match.end(), end - _OPEN_END)
    if _REFUSES.search(line) is None:
        return [(read, read)]
    found: list[Span] = []
    nouns: list[int] = []
    for word in _WORD_OF_A_NAME.finditer(line):
        if begin + word.start() >= read:
            break
        if begin + word.end() <= match.start() or not _may_be_noun(word[0]):
            continue
        if _is_sure(line, word):
            nouns.append(word.end())
        found += ((begin + start, begin + stop) for start, stop in _beside(line, word))
    found += ((begin + start, begin + stop) for start, stop in _told(line, nouns))
    found.sort()
    return [*found, (max(read, found[-1][1]) if found else read,) * 2]


def _is_sure(line: str, word: re.Match[str]) -> bool:
    """Whether a noun can be nothing but a secret's."""
    name = word[0].strip("-.:").lower()
    return name not in _OFTEN_ELSE or (
        _KIND_BEFORE.search(line, max(0, word.start() - 16), word.start()) is not None
    )


_OFTEN_ELSE = frozenset({"key", "keys", "token", "tokens", "secret", "secrets", "credential", "credentials"})


def _told(line: str, nouns: list[int]) -> Iterator[Span]:
    """What is told as the value further away from a noun in the same sentence: `wrong password for bob: "V"`, `value "V": not the password`."""
    for led in _TOLD.finditer(line) if nouns else ():
        held = _held_at(line, led.end())
        if held is None:
            continue
        start, stop, quoted = held
        word = line[start:stop]
        near = any(stop < noun < start + _BEFORE_IT or start - _OPEN_END < noun < start for noun in nouns)
        mixed = any(c.isdigit() for c in word) and any(c.isalpha() for c in word) and " " not in word
        if not near or not mixed or len(word) < _SHORT or not (quoted or led["word"]):
            continue
        other = _OF_ANOTHER_KIND.fullmatch(word) or _NUMBERED.fullmatch(word) if not quoted else None
        ended = quoted or _ENDED.match(line, stop) is not None
        if (
            ended
            and not other
            and not (is_no_value(line, (start, stop)) or is_of_another(line, 0, led.end()))
        ) and (made_up(word) or not _is_a_way(word)):
            yield start, stop


_TOLD = re.compile(
    r"\b(?P<word>value|got|received|given|provided|supplied|refused|rejected)\b(?:[ \t]*[:=,][ \t]*|[ \t]+)|(?:(?<![\"'`\\])[:;]|[ \t][-\u2013\u2014])[ \t]+(?=[\"'`\\\u201c\u2018\u00ab])",
    re.IGNORECASE,
)
_ENDED = re.compile(r"[.:!?]?(?:$|[,;)\]}\"'\\])|:[ \t]|[ \t]+(?:rejected|refused|is|was|instead|but)\b")
_BEFORE_IT = 80


def _beside(line: str, word: re.Match[str]) -> Iterator[Span]:
    """The value before a noun and the one behind it."""
    name = word[0].strip("-.:")
    before = _KIND_BEFORE.search(line, max(0, word.start() - 16), word.start())
    kind, begin = (before[0], before.start()) if before else ("", word.start())
    if name.lower() in _KEYS and (not kind or kind.split(maxsplit=1)[0].lower() in _OF_DATA):
        return
    sure = bool(kind) or (name.lower().rstrip("s") not in ("secret", "token", "credential"))
    another = _OF_ANOTHER.match(line, word.end()) is not None
    alone = not another and (sure or name.lower().startswith("token"))
    if value := _value_before(line, begin, bare=alone):
        yield value
    leads = _LEADS.match(line, word.start() + len(word[0].rstrip(".-:")))
    if leads is None or not _leads_on(line, leads, alone=not kind):
        return
    held = _held_at(line, leads.end())
    if held is None:
        return
    start, stop, quoted = held
    told = bool(_SURELY.search(leads["words"])) or ":" in leads["mark"]
    if _is_a_value(line, (start, stop), quoted=quoted, told=told, noun=(word.end(), begin, name, sure)):
        yield start, stop


def _leads_on(line: str, leads: re.Match[str], *, alone: bool) -> bool:
    """Whether what stands between a noun and a value is a sentence's: an assignment and a list are other classes'."""
    mark = leads["mark"].strip()
    if mark == ",":
        return bool(leads["words"]) or _VERDICT.search(line, leads.end(), leads.end() + _OPEN_END) is not None
    return (
        not mark
        or mark.endswith("(")
        or bool(leads["words"])
        or not alone
        or _UNEXPECTED.search(line, 0, leads.start()) is not None
    )


_UNEXPECTED = re.compile(r"\bunexpected token\Z", re.IGNORECASE)


@lru_cache(maxsize=1_024)
def _may_be_noun(word: str) -> bool:
    """Whether a word is the noun for a secret, alone or behind another."""
    name = word.strip("-.:")
    if name.lower() in _KEYS or _NOUN_ALONE.fullmatch(name):
        return True
    several = "_" in name or "." in name or "-" in name or name[1:].lower() != name[1:]
    return several and is_name(name)


_KEYS = ("key", "keys")


def _held_at(line: str, at: int) -> tuple[int, int, bool] | None:
    """What the quote or the bracket at `at` holds, or the word there, and whether it has such a mark."""
    if quoted := read_quoted(line, at):
        said = line[slice(*quoted)]
        return quoted[0], quoted[0] + len(said.rstrip()), True
    if held := _HELD_IN.match(line, at):
        return (*held.span("value"), False)
    word = _ALONE.match(line, at)
    if word is None or line[word.end() : word.end() + 1] in ("(", "["):
        return None
    return at, at + len(word[0].rstrip(".:!?")), False


def _is_a_value(
    line: str, value: Span, *, quoted: bool, told: bool, noun: tuple[int, int, str, bool]
) -> bool:
    """Whether a word beside a noun is the value; `told`: a word such as `got` or a colon says so."""
    ended, at, name, sure = noun
    word = line[slice(*value)]
    if not 4 <= len(word) <= _LONGEST or len(word.split()) > _FEW or is_no_value(line, value):
        return False
    behind = line[value[1] : value[1] + _OPEN_END]
    refused = _VERDICT.match(behind) is not None or _REFUSED_AS.search(line, max(0, at - 24), at) is not None
    if word.isdigit():
        return len(word) >= _CODE and (refused or (quoted and told))
    refused = refused or _REFUSES.search(line[ended : value[0]]) is not None
    if not sure and not _of_no_object(line, word, told=told, refused=refused, name=name):
        return False
    if quoted and _PASS.search(name):
        return not says_state("", word)
    if not (any(c.isdigit() for c in word) and any(c.isalpha() for c in word)):
        spoken = told and not behind.strip("\"'`.,;:!?)]} \\") and not harmless_word(word)
        return spoken and _SURELY.search(line[at : value[0]]) is not None and _PASS.search(name) is not None
    if not quoted:
        plain = _OF_ANOTHER_KIND.fullmatch(word) or (_NUMBERED.fullmatch(word) and not (refused or told))
        if plain or not (refused or told or _refuses_near(line, at)):
            return False
    return made_up(word) or (len(word) >= _SHORT and not _is_a_way(word) and not is_address(word))


def _is_a_way(word: str) -> bool:
    """Whether it says how a key is made."""
    return ALGORITHM.search(word) is not None or _OF_A_KEY.fullmatch(word) is not None


_OF_A_KEY = re.compile(r"(?:aes|rsa|dsa|ec|ed|hs|rs|es|ps|p|secp|curve)-?\d{2,5}[\w-]{0,8}", re.IGNORECASE)


def _refuses_near(line: str, at: int) -> bool:
    """Whether the words right before a noun refuse it."""
    return _REFUSES.search(line[max(0, at - _NEAR) : at]) is not None


def _of_no_object(line: str, word: str, *, told: bool, refused: bool, name: str) -> bool:
    """Whether a word beside `secret` or `token` alone is a value, and neither the name of an object nor a word of a program."""
    if name.lower().startswith("token"):
        parsed = _OF_A_PARSER.search(line) is not None
        return not parsed or (told and not word.isidentifier() and line.rstrip(" .\r\n\"'}").endswith(word))
    return _OF_AN_OBJECT.fullmatch(word) is None or told or (refused and not name[0].isupper())


_OF_ANOTHER = re.compile(
    r"[ \t]+(?!(?:for|because|in|at|on|and|any|of|by|to|here|from|since|as|with|but|is|was|are|were|has|does|must|cannot|will|or)\b)[a-z]"
)
"""A noun behind which goes on what it belongs to: `token client`."""


def _value_before(line: str, at: int, *, bare: bool) -> Span | None:
    """`"V" is not a valid password`, `V was rejected as token`."""
    words = list(_SPACED.finditer(line, max(0, at - _BEFORE_LINKS), at))
    links: list[str] = []
    while words and words[-1][0].lower() in _LINKS and len(links) < _MAX_LINKS:
        links.insert(0, words.pop()[0].lower())
    if not links or not words or not _is_said_of_it(links, words):
        return None
    written = words[-1][0]
    word = written.strip(_MARKS)
    start = words[-1].start() + written.find(word)
    marked = written[:1] in tuple(_MARKS)
    value = (start, start + len(word))
    if len(word) < _SHORT or is_no_value(line, value) or (_OF_ANOTHER_KIND.fullmatch(word) and not marked):
        return None
    mixed = any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    shown = not bare and not marked and _OF_AN_OBJECT.fullmatch(word) is not None
    return value if mixed and not shown and not _is_a_way(word) else None


def _is_said_of_it(links: list[str], words: list[re.Match[str]]) -> bool:
    """Whether the words between speak of what stands before them: `"V" is no valid …`, `value "V" for …`."""
    first = links[0]
    if first == "for":
        return len(words) > 1 and words[-2][0].lower() in ("value", "string", "text", "input", "got")
    return first in _COPULA or any(each in links for each in _WITH_MORE.get(first, ()))


_MARKS = "\"'`[](){}<>\\\u201c\u201d"
_SPACED = re.compile(r"\S+")
_LONGEST, _FEW, _CODE, _SHORT, _BEFORE_LINKS, _MAX_LINKS, _READ_AT_ONCE, _NEAR = 200, 4, 6, 6, 160, 8, 32, 32


Sentence = tuple[str, str, Callable[[Any, str], Span | list[Span] | None]]
SENTENCES: tuple[Sentence, ...] = (
    ("sentence", NOUN, refused_beside),
    ("sentence", rf"(?i)\b{THING}s?\b[^\n\"'=:]{{0,60}}\b{CHANGED}\s+from\s+(?P<old>{_WORD}+)\s+(?:to|into)\s+(?P<new>{_WORD}+)", _old_and_new),
    ("sentence", rf"(?i)\b{THING}s?\b[^\n\"']{{0,60}}\b(?:old|previous|before)(?:_?value)?[=:]\s?(?P<old>{_WORD}+)[,;]?\s+(?:new|current|now|after)(?:_?value)?[=:]\s?(?P<new>{_WORD}+)", _old_and_new),
    ("sentence", rf"(?i)\bbasic[ _-]?auth\w*\b[^\n:=]{{0,24}}\s\(?[\w.@+-]{{1,64}}:(?P<secret>{_WORD}{{4,}})", places.made_up_behind),
    ("sentence", rf"(?i)\b(?:credentials?|creds|login)\s*\(\s*{_BEFORE}(?P<secret>{_WORD}{{4,}})\s*\)", places.made_up_behind),
    ("sentence", rf"(?i)\b{THING}s?\s+[\[(<](?P<secret>{_WORD}{{4,}})[\])>]", places.made_up_behind),
    ("sentence", r"(?i)\b(?:otp|2fa|mfa|totp|one[- ]time|verification|security|confirmation|recovery)\s*(?:code|pass\w*|pin)?\s+(?:for|of|to)\s+[\w.@+-]{1,64}\s+(?:is|was|=|:)\s*(?P<secret>\d{4,10})\b", places.whole),
    ("sentence", rf"\b(?:[A-Z][A-Z0-9]*_)+(?:PASSWORD|PASSWD|PASS|PWD|PASSPHRASE|SECRET|TOKEN|KEY)\b['\"`]?\s+(?:is|was|now|=>|->)\s+(?:now\s+|set to\s+)?(?P<secret>{_WORD}{{6,}})", _mixed),
    ("sentence", rf"(?i)(?:^|[\s(=])[\w.@+-]{{1,64}}:(?P<secret>{_WORD}{{6,}})\s+(?:(?:as|by|for|in|using|via|with)\s+)?(?:the\s+)?basic[ _-]?auth", _mixed),
    ("sentence", rf"(?i)\bbasic[ _-]?auth\w*\s+(?:as|for|of|with)?\s*[\w@+-]{{1,64}}:(?P<secret>{_WORD}{{6,}})", _mixed),
    ("sentence", rf"(?i)[\"'`](?P<secret>{_WORD}{{6,}})[\"'`]\s+(?:is|was|are)\s+(?:(?:not|no|an?|the)\s+){{0,2}}(?:\w+\s+)?{THING}\b", _mixed),
    ("sentence", rf"(?i)\b(?:log[- ]?in|log[- ]?on|sign[- ]?in)\s+(?:with|using|as)\s+[\w.@+-]{{1,64}}/(?P<secret>{_WORD}{{6,}})", places.made_up_behind),
    ("code", r"""\b(?P<name>[A-Z]\w*)\s*\(\s*(?:(?:Some|Just|Ok|Right|Value|String|Secret)\s*\(\s*){1,2}""", _held),
    ("code", r"""\b(?P<name>[A-Z]\w*)\s*\{\s*(?:(?:pub\s+)?(?:key|value|val|v|inner|raw|data|text|plain|bytes|content|0)\s*[:=]\s*)?(?:(?:Some|Just)\s*\(\s*)?""", _held),
    ("call", rf"(?i)\b(?:\w*[._])?(?:{_LOGINS})\s*\(\s*{_BEFORE}{{1,3}}(?P<secret>{_WORD}{{4,}})\s*[,)]", _argument),
    ("call", rf"(?i)\b\w*{_GIVEN}{_NOUNS}\s*\(\s*{_BEFORE}{{0,3}}(?P<secret>{_WORD}{{4,}})\s*[,)]", _argument),
    ("Redis", r"(?i)\bconfig[\"',\s\\]{1,12}set[\"',\s\\]{1,12}(?:requirepass|masterauth|masteruser)[\"',\s\\]{1,12}(?P<secret>[^\s\"',\\\])}]+)", places.whole),
)  # fmt: skip
