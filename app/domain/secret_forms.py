"""More ways in which secrets are written: beside another value, in code, in differences, sentences, mail and lines of tools.

Used by `app.domain.secret_classes`; each form is a name, an expression for RE2 and what tells where the secret stands. Every reader walks forward. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from app.domain import secret_places as places
from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_quotes import end_of_line
from app.domain.secret_statements import unless_said
from app.domain.secret_values import read_line, read_quoted, read_value, read_word
from app.domain.secret_words import made_up

Span = tuple[int, int]
Form = tuple[str, str, Callable[[Any, str], Span | list[Span] | None]]

_Q = r"""(?:\\{0,16}["'])"""
_NAME = r"(?P<name>[A-Za-z_.][\w.-]*)"
_THING = r"(?:password|passphrase|passcode|otp|token|secret|pin|(?:api|access|secret|private) key)"
_ADVANCE = r"(?:\s|\\+r|\\+n)*"


def _named_quote(match: Any, text: str) -> Span | None:
    """What is quoted behind a name that speaks of a secret."""
    return read_quoted(text, match.end()) if is_secret_name(match["name"]) else None


def _named_strange(match: Any, text: str) -> Span | None:
    """The same, unless it says what is wrong: a word about the state, or several."""
    found = _named_quote(match, text)
    said = text[found[0] : found[1]] if found else ""
    plain = said.isalpha() and said.islower() and "pass" not in match["name"].lower()
    return None if " " in said or plain or harmless_word(said) or says_state("", said) else found


def _quote(match: Any, text: str) -> Span | None:
    return read_quoted(text, match.end())


def _named_line(match: Any, text: str) -> Span | None:
    """The line behind a name that speaks of a secret."""
    return read_line(text, match.end()) if is_secret_name(match["name"]) else None


def _named_word(match: Any, text: str) -> Span | None:
    """The next word of a command behind such a name, unless it is about the state."""
    return unless_said(match, text) if is_secret_name(match["name"]) else None


def _alone(match: Any, text: str) -> Span | None:
    """A word behind a sentence and a colon that has the rest of its line for itself, or that was made up."""
    start, end, behind = read_word(text, match.end())
    word = text[start:end].rstrip(".,;:!")
    if not word or harmless_word(word) or says_state("", text[start : end_of_line(text, start)]):
        return None
    last = not text[behind : end_of_line(text, behind)].strip(" \t\r.,;'\"}])")
    below = "\n" in text[match.start() : start]
    return (start, end) if made_up(word) or (last and len(word) >= (6 if below else 4)) else None


def _arguments(match: Any, text: str) -> list[Span]:
    """Values that an object has beside the name of what they belong to: `"field":"password","old":…,"new":…`."""
    name, end = match["name"].rpartition("/")[2], match.end()
    if not is_secret_name(name):
        return [(end, end)]
    found: list[Span] = []
    limit = min(len(text), end + _FAR)
    while value := _BESIDE.search(text, end, limit):
        if "}" in text[end : value.start()]:
            break
        span = read_value(text, value.end())
        end = max(value.end(), span[1] if span else 0)
        found += [span] if span else []
    return found


_FAR = 600
_BESIDE = re.compile(
    r"\\{0,16}[\"'](?:(?:old|new|prev|previous|current|before|after|from|to)(?:_?value)?|value|val)\\{0,16}[\"']\s*:\s*",
    re.IGNORECASE,
)


def _second_column(match: Any, text: str) -> Span | None:
    """The second of two columns of a table with commas or semicolons; no heading of another column."""
    start = match.end()
    end = end_of_line(text, start)
    line = text[start:end].strip().strip("\"'")
    if not is_secret_name(match["name"]) or harmless_word(line) or re.search(r"[,;\s:=()]", line):
        return None
    heading = line.isidentifier() and line.lower() == line and not any(c.isdigit() for c in line)
    below = text[end + 1 : end_of_line(text, end + 1)]
    alone = "," not in below and ";" not in below and len(line) >= 4 and not says_state("", line)
    return None if heading and not alone and (len(line) < 12 or "_" in line) else (start, end)


def _of_scheme(match: Any, _text: str) -> Span | None:
    word = match["secret"]
    plain = word.isalpha() and (word.islower() or word.istitle())
    return None if plain or word.isupper() else places.place(match, "secret")


def _made(match: Any, _text: str) -> Span | None:
    return places.place(match, "secret") if made_up(match["secret"]) else None


def _no_port(match: Any, _text: str) -> Span | None:
    secret = match["secret"]
    return None if secret.isdigit() and len(secret) < 6 else places.place(match, "secret")


def _login(match: Any, text: str) -> Span | None:
    """The password of a LOGIN of IMAP: the last word of its line."""
    start, end, behind = read_word(text, match.end())
    word = text[start:end]
    ended = not text[behind : end_of_line(text, behind)].strip(" \t\r\"'\\rn")
    about = not word or harmless_word(word) or (word.isupper() and word.isalpha())
    return (start, end) if ended and not about else None


FORMS: tuple[Form, ...] = (
    # Beside a value that is hidden
    ("beside", rf"""{_NAME}["']?\]?[ \t]*[:=]+[ \t]*(?:"[^"\n]*"|'[^'\n]*'|[^\s"']+)[ \t]+[-=]>[ \t]*""", places.named_value),
    ("beside", rf"""{_NAME}{_Q}(?::[^\]\n]+)?\]\s*=>\s*string\(\d+\)\s*""", _named_quote),
    ("beside", r"(?i)\bConvertTo-SecureString[ \t]+(?:-\w+[ \t]+)*[\"'\w]", lambda match, text: read_word(text, match.end() - 1)[:2]),
    ("beside", r"\bconfig\s+set\s+(?:--\S+\s+)*--secret\s+(?:--\S+\s+)*[\w.:/-]+\s+(?P<secret>[^\s-]\S*)", places.whole),
    ("beside", r"--passphrase-fd[ =]\d\b[^\n|<]*<<<\s*", places.after_what),
    ("beside", r"-file[ =]<\(\s*(?:echo|printf)\s+(?P<secret>[^)\n]+)\)", places.whole),
    # Code
    ("code", rf"""\b(?:var|const|let|val|static)\s+{_NAME}\s+[\w.*&\[\]]+\s*=\s*""", _named_quote),
    ("code", rf"""#define\s+{_NAME}\s+""", _named_quote),
    ("code", r"""\b(?P<name>(?:[sS]et|[wW]ith|[uU]se|[cC]hange|[uU]pdate|[rR]eset|[hH]ash)[A-Z_]\w*)\s*\(\s*""", _named_quote),
    ("code", r"""\b(?P<name>(?:Invalid|Wrong|Bad|Incorrect|Expired)[A-Z]\w*)\s*\(\s*""", _named_strange),
    ("code", rf"""\{{\s*{_NAME}\s*,\s*(?:<<)?""", _named_quote),
    ("code", r"""\bjwt\.(?:sign|verify|encode|decode)\s*\([^"'()\n]+,\s*""", _quote),
    ("code", r"""\bbcrypt\.\w+\s*\(\s*""", _quote),
    ("code", r"""(?i)\b(?:getConnection|Sequelize|changeUserPassword)\s*\(\s*(?:\\{0,16}["'][^"'\n]*\\{0,16}["']\s*,\s*){1,2}""", _quote),
    # Differences, and what a field was refused for
    ("field", rf"""(?i){_Q}(?:name|key|field|path|property|attribute|column|param|parameter|variable){_Q}\s*:\s*{_Q}(?P<name>[\w./~:-]+){_Q}""", _arguments),
    ("field", rf"""{_NAME}\r?\n[ \t]+[^\n]*?\binput(?:_value)?=""", _named_quote),
    ("field", r"""cannot unmarshal \w+ (?P<secret>\S[^\n]*?) into Go struct field (?P<name>[\w.-]+)""", places.named_group),
    ("field", r"""\bcs\dLabel=(?P<name>\S+)\s+cs\d=""", places.named_value),
    ("field", rf"""form-data;[ \t]*name={_Q}{_NAME}{_Q}(?:;[^\r\n\\]*)?(?:\r?\n[A-Za-z-]+:[^\r\n]*)*(?:\r?\n|\\+r\\+n|\\+n){{2}}""", _named_line),
    ("field", rf"""(?m)^[ \t]*{_Q}?{_NAME}{_Q}?[,;][ \t]*""", _second_column),
    ("field", r"""\b(?P<name>[A-Za-z][\w-]*)\.{5,}[ \t]*""", places.assigned),
    # Arguments that the kernel wrote down
    ("argument", r"""\bEXECVE\b[^\n]*?\ba\d+="?-[pPa](?P<secret>[^"\s-][^"\s]{3,})""", _no_port),
    ("argument", r"""\ba\d+="--?(?P<name>[\w-]+)"\s+a\d+="(?P<secret>[^"\n]+)\"""", places.named_group),
    # Sentences
    ("sentence", rf"(?i)\b{_THING}s?(?: (?:is|was|has been) (?:generated|created|set))? for (?:[\w'\"-]+ ){{0,4}}[^\s:]+(?: is)?[ ]?:[ \t]+", _alone),
    ("sentence", rf"(?i)\b(?:following|generated|temporary|initial|new|admin)\s+(?:\w+\s+)?{_THING}\b[^\n:]*:{_ADVANCE}", _alone),
    ("sentence", r"\bPASSWORD\s+[\w.@-]+\s*=\s*(?P<secret>[^\s'\"]\S*)", places.whole),
    ("sentence", r"(?i)\b(?:otp|one-time|verification|2fa|mfa|security|confirmation)\s+(?:code|pass\w*|pin)\s+(?:is|was):?\s+", places.said_of),
    ("sentence", rf"(?i)\b(?:trying|tried|tries)\s+(?:the\s+)?{_THING}\s+", places.made_up_word),
    # Schemes, mail and links
    ("scheme", r"\b(?:GenieKey|Api-Token|ApiToken|SSWS)\s+(?P<secret>[\w.~+/=-]{8,})", places.whole),
    ("scheme", r"\b(?:Negotiate|NTLM|Kerberos)\s+(?P<secret>[\w.~+/=-]{8,})", _of_scheme),
    ("scheme", r"(?i)\bSec-WebSocket-Protocol:[^\n]*?\bbearer[\s,.]+(?P<secret>[\w.~+/=-]{8,})|\bbearer,\s+(?P<listed>[\w.~+/=-]{8,})", lambda match, _text: places.place(match, "secret") if match["secret"] else places.place(match, "listed") if made_up(match["listed"]) else None),
    ("mail", r"(?i)\bUSER\s+\S+\r?\n(?:[^\n]*\n)?[^\n]{0,16}\bPASS\s+(?P<secret>\S+)|\buser\s+\S+\s+pass\s+(?P<alone>[^\s:=]\S*)", lambda match, _text: places.place(match, "secret" if match["secret"] else "alone")),
    ("mail", r"(?m)(?:>>>?|->|\bC:|^>)[ \t]*PASS\s+(?P<secret>\S+)", places.whole),
    ("mail", r"\bAUTH (?:PLAIN|LOGIN|XOAUTH2|CRAM-MD5|OAUTHBEARER|NTLM)[ ]+(?P<secret>[\w+/=-]{8,})", lambda match, _text: None if match["secret"].isupper() else places.place(match, "secret")),
    ("mail", r"(?m)(?:^|[>:]\s*)(?:[A-Za-z]{0,4}\d+ )?LOGIN[ ]+(?:\"[^\"\n]+\"|[^\s\"]+)[ ]+", _login),
    ("link", r"(?i)/(?:reset[-_]?password|password[-_]?reset|magic[-_]?link|invite|invitation|verify[-_]?email|unsubscribe)/(?P<secret>[\w.~-]{8,})", _made),
    ("link", r"(?i)/with/key/(?P<secret>[\w-]{8,})|api\.telegram\.org/bot\d+:(?P<bot>[^/\s]+)", lambda match, _text: places.place(match, "secret" if match["secret"] else "bot")),
    # Words of tools and files
    ("word of a tool", rf"(?m)^[ \t+$]*(?:ENV|ARG|setenv|setx|set[ \t]+-\w+)[ \t]+{_NAME}[ \t]+", _named_word),
    ("word of a file", r"(?m)^[ \t]*(?:bindpw|rootpw|rootbindpw|olcRootPW|r[ow]community6?)[ \t]+", unless_said),
    ("word of a tool", r"(?i)\b(?:cargo\s+login|nuget\s+setapikey)\s+(?:--\S+\s+)*", unless_said),
    ("word of a tool", r"(?i)\bnet\s+use\s+(?:[a-z*]:?\s+)?\\\\\S+\s+(?P<secret>[^\s/*]\S*)", places.whole),
    ("word of a tool", r"\baz\s+(?:sql|mysql|postgres|mariadb|synapse|vm)\b[^\n]*?\s-p[ =]+", places.after_what),
    ("word of a tool", r"\bput-parameter\b[^\n]*?\s--value[ =]+", places.after_what),
    ("word of a tool", r"\bpoetry\s+config\s+(?:--\S+\s+)*(?:pypi-token\.\S+|http-basic\.\S+\s+\S+)\s+(?P<secret>[^\s-]\S*)", places.whole),
    ("word of a tool", r"(?i)\s-D[\w.]*\.login=(?P<secret>[^\s\"']+)|\b[A-Z]+_USER=[\w.-]+:(?P<user>[^\s\"']+)", lambda match, _text: places.place(match, "secret" if match["secret"] else "user")),
    ("password of an Oracle DSN", r"(?i)\b(?:target|auxiliary|catalog)\s+[\w$#]+/(?P<secret>[^\s\"'/@]+)@", places.whole),
    # Functions of databases
    ("SQL", r"(?i)\bpgp_sym_(?:en|de)crypt\w*\s*\(\s*'[^']*'\s*,\s*'(?P<secret>[^']+)'", places.whole),
    ("SQL", r"(?i)\bsp_(?:addlogin|password)\s+N?'[^'\n]*'\s*,\s*N?", _quote),
    ("SQL", r"(?i)\b(?:mysql|postgresql|mongodb|remote(?:Secure)?)\s*\((?:[^(),\n]+,){4}\s*", _quote),
    ("SQL", r"(?i)\bs3(?:Cluster)?\s*\([^(),\n]+,\s*'\w{12,}'\s*,\s*", _quote),
)  # fmt: skip
