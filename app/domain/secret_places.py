"""Where in a match of a class the secret stands, and whether it is one.

Used by `app.domain.secret_classes`; each function takes a match and its text. Every reader walks forward. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from app.domain.linear import Linear
from app.domain.secret_names import (
    harmless_word,
    holds_names,
    is_secret_name,
    is_usage,
    says_state,
)
from app.domain.secret_plain import tells_no_secret
from app.domain.secret_quotes import end_of_line
from app.domain.secret_said import is_said_of, is_unexpected
from app.domain.secret_values import (
    more_of_a_line,
    read_header,
    read_in_quote,
    read_item,
    read_line,
    read_quoted,
    read_value,
    read_word,
)
from app.domain.secret_words import (
    ALGORITHM,
    any_no_object,
    made_up,
    of_both_cases,
    random_looking,
)

Span = tuple[int, int]


def place(match: Any, group: str) -> Span:
    """Where a group of a match stands."""
    start, end = match.span(match.re.groupindex[group])  # RE2's match takes numbers alone
    return start, end


def whole(match: Any, _text: str) -> Span:
    """The group `secret`, or all of the match."""
    start, end = match.span()
    return place(match, "secret") if "secret" in match.re.groupindex else (start, end)


def named_group(match: Any, text: str) -> Span | None:
    """The group `secret` behind or before a name that speaks of one."""
    start, end = place(match, "secret")
    named = is_secret_name(match["name"]) and start < end
    return (start, end) if named and text[start:end].strip() else None


def counts_of(name: str) -> str:
    """Which numbers under a secret's name are counts."""
    name = name.lower()
    return "" if "token" not in name else "any" if "tokens" in name else "small"


def named_value(match: Any, text: str) -> Span | None:
    """The value behind a name that speaks of a secret; a count such as `max_tokens=4096` and an empty value stay."""
    name = match["name"]
    if holds_names(name):
        found = read_value(text, match.end())
        return found if found and any_no_object(text[found[0] : found[1]]) else None
    if not is_secret_name(name) or is_unexpected(name, text, match.start()):
        return None
    return read_value(text, match.end(), counts=counts_of(name))


def assigned(match: Any, text: str) -> Span | None:
    """Also `fields[password]=…`, and `password[0]=…`; behind a colon or an arrow no word about its state."""
    start, end = match.span(1)
    name, behind, after = text[start:end], text[end : match.end()], match.end()
    if "[" in behind:
        inner = behind.partition("[")[2].partition("]")[0]
        name = inner if is_secret_name(inner) else name
    if not is_secret_name(name) or is_unexpected(name, text, start):
        return None
    told = "=" not in behind and behind[-1:] in " \t"
    if is_said_of(name, text, (start, after), behind):
        return None
    found = read_value(
        text, after, counts=counts_of(name), alone=(flag := text.startswith("--", max(0, start - 2)))
    )
    if '"' in behind or "'" in behind:
        return found
    before = text[max(0, start - 32) : start].rstrip("-")
    if before[-1:] in ("'", '"'):
        return _in_quote_with_name(text, before, (after, found), told=told or flag)
    plain = found is not None and found[0] == after and text[after] not in _OPENERS
    led = _LED.search(before) if told and plain else None
    if found is None or led is None or (start > 32 and "\n" not in before):
        return found
    return found[0], more_of_a_line(text, found[1], len(led["indent"]))


def _in_quote_with_name(text: str, before: str, value: tuple[int, Span | None], *, told: bool) -> Span | None:
    """A value that ends where the quote closes that opens right before its name, as a header on a command line does."""
    after, found = value
    mark = before[len(before[:-1].rstrip("\\")) :]
    end = read_in_quote(text, after, mark)[1]
    if end - after > _LINE or (found is None and not _NOT_EMPTY.match(text, after)):
        return found
    rest = text[found[1] : end] if found else ""
    if found is not None and not told and (found[0] != after or _PAIR_WITHIN.search(rest)):
        return found
    if found is not None and found[0] != after and not rest.strip("\"'\\ "):
        return found
    return (after, end) if end > after and (found is None or end > found[1]) else found


_LINE = 400
_OPENERS = "\"'\\[{($<|>`\u201c\u2018\u00ab\n\r"
_PAIR_WITHIN = re.compile(r"[\w.-]\s?[=:]")
_NOT_EMPTY = re.compile(r"[$@]?[\"']{2}[^\s\"']|[,;&]\S|\\+[nrt][^\s\"']")
_LED = re.compile(r"(?:^|\n)(?P<indent>[ \t]*)(?:[-<>*|] )?\Z")


def header_of(match: Any, text: str) -> Span | None:
    """The value of a header, unless that says that there is none."""
    line = text[match.end() : match.end() + _LINE].partition("\n")[0]
    return None if _NO_HEADER.fullmatch(line) else read_header(text, match.end())


_NONE_SAID = r"(?:denied|rejected|failed|expired|header|server message|authorization failed|insufficient_scope|missing|none|required|absent|unset|invalid|not|no|must|cannot|malformed)(?: [a-z][a-z_-]{0,24}(?:-v?\d{1,4})?){0,12}"
_NO_HEADER = re.compile(rf"{_NONE_SAID}(?:: {_NONE_SAID}){{0,3}}[\s.,;:)\"'}}\]]{{0,4}}")


_ANOTHER_FLAG = re.compile(r"--?[A-Za-z][A-Za-z-]*(?:[=\s,\]]|$)|--?(?:\s|$)")


def flag_of(match: Any, text: str) -> Span | None:
    """The word behind a flag whose name speaks of a secret."""
    if not is_secret_name(match["name"]) or _ANOTHER_FLAG.match(text, match.end()):
        return None
    if spaced := match["spaced"]:
        mark = spaced[: spaced.index(" ") if " " in spaced else spaced.index("\t")]
        return read_in_quote(text, match.end(), mark) if spaced.endswith(mark) else None
    if match[0][-1] in " \t" and (
        _REQUIRES.match(text, match.end()) or is_usage(match["name"], text, match.end())
    ):
        return None
    if tells_no_secret(match["name"], text[match.end() : match.end() + _LINE].partition("\n")[0]):
        return None
    flow = match["flow"]
    before = text[max(0, match.start() - _LINE) : match.start()] if flow else ""
    listed = before.rfind("[") > before.rfind("]")
    if flow and not listed and "\n" not in flow:
        return None  # a sentence
    below = match["below"] or (flow and not listed)
    if below and not _ARGUMENT_BELOW.match(text, match.end()):
        return None
    found = read_item(text, match.end()) if listed else read_value(text, match.end())
    nul = text.find("\\0", *found) if found and match[0].endswith("\\0") else -1
    return (found[0], nul) if found and nul > found[0] else found


_REQUIRES = re.compile(
    r"(?:is|was|are|must|cannot|can't|should|needs|requires?|and|or|not|has|flag|option|argument)(?:[.,;:]?$|\s+(?:[\"'`-]|[a-z-]{1,24}[.,;:)]?(?:\s|$)))"
)
"""What a sentence says of a flag."""
_ARGUMENT_BELOW = re.compile(r"(?:[^\s:=]+|(?P<mark>[\"'])[^\"'\n]{1,512}(?P=mark))[ \t]*(?:\r?\n|\Z)")
"""An argument that has its line for itself, as `kubectl describe` writes them."""


def _quoted_or_word(text: str, at: int) -> Span | None:
    """What a sentence says in quotes, else its next word without what ends the sentence."""
    if quoted := read_quoted(text, at):
        return quoted if quoted[1] - quoted[0] < _LINE else (quoted[0], quoted[0] + _LINE)
    word = _SPOKEN.match(text, at)
    return None if word is None or not (said := word[0].rstrip(".,;:!?)'\"")) else (at, at + len(said))


_SPOKEN = re.compile(r"[^\s\"'`]+")


def lone_userinfo(match: Any, _text: str) -> Span | None:
    """The user of a URL that is rather a token; of brokers that know tokens a shorter one too."""
    token = random_looking(match["secret"]) or (
        match[0].startswith(("nats:", "tls:")) and made_up(match["secret"])
    )
    return (
        place(match, "secret")
        if token or (match[0].startswith("nats:") and any(c.isdigit() for c in match["secret"]))
        else None
    )


def parameter(match: Any, _text: str) -> Span | None:
    """The value of a parameter of a URL."""
    # A status such as `?code=404` and a plain word such as `?key=name` are no secrets.
    secret = match["secret"]
    sure = _SURE_PARAMETER.match(match[0][1:].removeprefix("amp;"))
    plain = (secret.isdigit() and len(secret) < 5) or (not sure and _PLAIN_PARAMETER.fullmatch(secret))
    return None if plain else place(match, "secret")


_SURE_PARAMETER = re.compile(r"(?:pw|hmac|sig|signature|sas|jwt|creds?|saml\w+)=", re.IGNORECASE)
_PLAIN_PARAMETER = re.compile(
    r"[a-z_]{1,8}|v\d|[A-Z]_[A-Z_]{1,24}|(?:[A-Z][a-z]{2,12}){2,4}|[A-Z]{2,6}-\d{1,6}"
)


def _is_another_sentence(text: str, start: int, value: Span) -> bool:
    """Whether what stands on a line below the words that speak of a secret is another sentence, as a value has its line for itself."""
    return (
        "\n" in text[start : value[0]]
        and text[value[1] : end_of_line(text, value[1])].strip(" \t\r.,;\"'`)]}") != ""
    )


def said_of(match: Any, text: str) -> Span | None:
    """What a sentence says the secret is."""
    found = _quoted_or_word(text, match.end())
    if found is None or _is_another_sentence(text, match.start(), found):
        return None
    word = text[found[0] : found[1]]
    if _WHOSE.search(match[0]) and not made_up(word) and (word.isdigit() or _GOING_ON.match(text, found[1])):
        return None
    what_for = _TO.search(match[0]) and word.isalpha() and word.islower() and not made_up(word)
    before = text[max(0, match.start() - _BEFORE) : match.start()]
    return None if harmless_word(word) or (what_for and not _CHANGES.search(before)) else found


_WHOSE = re.compile(r" (?:of|on|at|for the|for a) ")
_GOING_ON = re.compile(r"[ \t]+[a-z]")
"""A sentence that goes on behind the word."""
_TO = Linear(r"(?i)(?:key|password|passwd|passphrase|passcode|pwd|pin|secret|token)s?\s+to:?\s+\z")
_CHANGES = Linear(r"(?i)\b(?:re)?(?:set|chang|updat|rotat)\w{0,4}\b[^\n]{0,40}\z")
_BEFORE = 64
"""`changed the password to …` tells it, and `a password to unlock …` what it is for."""


def made_up_behind(match: Any, text: str) -> Span | None:
    """A word behind the one for a secret that nobody would say of it."""
    span = place(match, "secret")
    word = match["secret"].rstrip(".,;:!?")
    if not made_up(word) or ALGORITHM.search(word) or _is_another_sentence(text, match.start(), span):
        return None
    return span


def made_up_word(match: Any, text: str) -> Span | None:
    """A word that nobody would say of a secret: letters with digits."""
    found = _quoted_or_word(text, match.end())
    if found is None:
        return None
    words = text[found[0] : found[1]].split()
    if _is_another_sentence(text, match.start(), found):
        return None
    return found if any(made_up(word) for word in words) else None


def cut_off(match: Any, _text: str) -> Span | None:
    """The password of a URL that its text ends in; digits alone are a port, also before parameters."""
    return None if _PORT.fullmatch(match["secret"]) else place(match, "secret")


_PORT = re.compile(r"\d+|\d{1,5};[A-Za-z]\w*=.*")


def quoted_phrase(match: Any, text: str) -> Span | None:
    """In quotes behind the word: one word that was made up; behind `password` several words too."""
    found = read_quoted(text, match.end())
    if found is None or found[1] - found[0] > _LINE:
        return None
    said = text[found[0] : found[1]]
    if _is_another_sentence(text, match.start(), found):
        return None
    several = match[0].lstrip().lower().startswith("pass") and (" " in said.strip() or "\\" in said)
    return found if several or any(made_up(word) for word in said.split()) else None


def mixed(match: Any, text: str) -> Span | None:
    """With letters of both cases and digits, unlike names of Secrets."""
    word = match["secret"].rstrip(".")
    if _is_another_sentence(text, match.start(), place(match, "secret")):
        return None
    return place(match, "secret") if any(c.isdigit() for c in word) and of_both_cases(word) else None


def told(match: Any, text: str) -> Span | None:
    """Behind words and a colon, unless that is about the state."""
    if _NO_SUCH.search(text[max(0, match.start() - 20) : match.start()]):
        return None  # a name, unless `refused_beside` says more
    line = text[match.end() : match.end() + _LINE].partition("\n")[0]
    first = line.partition(" ")[0].rstrip(".,;:!")
    if says_state("", line) or harmless_word(first) or tells_no_secret(match[0], line):
        return None
    if first.isalpha() and first.islower() and line[len(first) :].strip(" .,;:!\"'\r)}]"):
        return None  # a sentence
    return read_value(text, match.end(), counts=counts_of(match[0]))


_NO_SUCH = re.compile(r"(?:non-?existent|unknown|missing|no such|undefined) \Z")
"""Before the name of a secret that is not there."""


def of_a_user(match: Any, _text: str) -> Span | None:
    """`bob:S@host:5432` without a scheme: not an address of mail, a tag of an image or a plain word."""
    secret, host = match["secret"], match["host"].lower()
    strange = any(c.isdigit() for c in secret) and any(c.isalpha() for c in secret) and len(secret) >= 4
    strange = strange or (len(secret) >= 8 and not secret.isalpha()) or (len(secret) >= 4 and ":" in host)
    strange = strange and (":" not in secret or ":" in host)
    if not strange or host.startswith(("sha256", "sha512", "sha384")) or match["user"].lower() in _NO_USERS:
        return None
    return None if _VERSION.fullmatch(secret) else place(match, "secret")


_NO_USERS = frozenset(
    ("mailto", "oidc", "email", "mail", "from", "to", "cc", "bcc", "sip", "xmpp", "contact", "owner", "author", "assignee", "acct", "image", "reply-to", "sender")
)  # fmt: skip
_VERSION = re.compile(r"v?\d{1,4}(?:\.\d++)++[\w.+-]*+")


def after_what(match: Any, text: str) -> Span | None:
    """A long word that a command reads from another's output."""
    start, end, _ = read_word(text, match.end())
    return (start, end) if start < end else None


def rest_of(match: Any, text: str) -> Span | None:
    """The rest of the line."""
    return read_line(text, match.end())


def last_word(match: Any, _text: str) -> Span | None:
    """The word behind a name that speaks of a secret."""
    return place(match, "secret") if is_secret_name(match["name"]) else None
