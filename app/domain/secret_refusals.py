"""What a program says of a value that it refuses: in one sentence the name of a secret and a value, whatever the verb and in either order.

A sentence is a line, with the lines beside it that say whose value it is. Used by `app.domain.secret_classes`. Every reader walks forward,
and looks a bounded way back. Pure.
"""

from __future__ import annotations

import re
import string
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.domain.gated import Gated
from app.domain.linear import Linear
from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_quotes import end_of_line
from app.domain.secret_values import read_quoted, read_value
from app.domain.secret_words import made_up

Span = tuple[int, int]

QUOTES = "\"'`\u201c\u2018\u00ab"
_CLOSING = f"{QUOTES}\u201d\u2019\u00bb"
_VALUE = (
    r"(?:converting|parsing|convert|coerce|cast|decode|decoding|deserialize|interpret|parse|from (?:string|text|number)(?: value)?|(?:literal for \w{1,16}\(\)|base) (?:with base )?\d{1,2}:"
    r"|input string:|unmarshal !{0,2}\w{1,16}|to unmarshal|integer\(\):|float\(\):|(?:value|argument|input|choice|number|integer|int|boolean|bool|string|str|float|double|duration|url|uuid|date|representation of an? \w{1,16}|syntax for type [\w ]{1,32})(?: (?:was|of|is))?"
    r"|value:[ \t]*\\{0,16}[\"'](?:integer|number|string|boolean)\\{0,16}[\"']|received|got|given|found|actual|provided|rejected|(?:but|it) (?:was|is|got|found)|(?:,|\() ?(?:was|not(?: the \w{1,16})?)|whatever)"
)
_TOLD = rf"(?:(?:\b|(?=[,(])){_VALUE}(?:[ \t]*[:=,][ \t]*|[ \t]+)|\b(?:input|value|input_value|received|got|given)=)"
_REFUSING = (
    r"invalid|illegal|malformed|incorrect|incompatible|insufficient|unsupported|unrecogni[sz]ed|unsuitable|unexpected|unknown|unset|wrong|bad|weak|reject\w*|refus\w*|fail\w*"
    r"|errors?|fatal|must|should|expect\w*|cannot|can't|could\s?n[o']t|couldn't|can not|unable|not|too (?:short|long|weak)|out of range|deprecated|\w{1,8}n't"
    r"|convert\w*|cast|coerc\w*|deserializ\w*|(?:un)?marshal\w*|pars(?:e|ing)|decod\w+|interpret\w*|got|given|received|values?|requires?|needs?|mismatch\w*|violat\w+|contains?|wants?|warning|accessing|options?|propert(?:y|ies)|settings?|parameters?|arguments?|variables?|configuration"
)
REFUSED_VALUE = rf"(?i)\b(?:{_REFUSING})\b|(?-i:(?:Error|Exception|Invalid|Failure)\b)|\binput(?:_value)?=|[{QUOTES}] (?:is|was|are|has|does) "
"""A word by which a program refuses, or says what it was given."""
_MAY_NAME: Any = Linear(
    r"(?i)pass?w|pass\b|_pass|pass_|pwd|psw|psk|secret|to?ke?n|[_.-]?key|cred|auth|cookie|signature|\bpin\b|code|jwt|otp|\bpat\b|dsn|sid\b"
    r"|sess|phrase|mnemonic|kennwort|contrase|senha|wachtwoord|pepper|env\[|conninfo|jaas"
)
"""What is in every text with the name of a secret."""
_BEHIND_WORD = Gated(
    rf"{_TOLD}(?=\\{{0,16}}[{QUOTES}]|\[(?!(?:redacted|filtered|hidden|masked)\])[^\s\[\]\"'][^\[\]\n]{{0,400}}\])|\binput(?:_value)?="
)
_SAID_OF = re.compile(
    rf"(?P<mark>[{QUOTES}])(?P<value>[^{QUOTES}\n]{{1,400}})[{_CLOSING}] (?:is|was|are|cannot|could not|can't|should|must|does|doesn't|isn't|fails|violates|exceeds) "
)
_BARE_BEHIND = Gated(
    rf"(?:{_TOLD}|\b(?:(?:not|non-?) ?(?:an? )?(?:valid )?(?:boolean|bool|integer|int|number|float|url|uuid|json))(?:[ \t]*:)?[ \t]+|\b(?:format|prefix|padding|length|choice|policy)[ \t]*:[ \t]+|\bfrom[ \t]+)"
    rf"(?P<value>(?![{QUOTES}\[({{<$%/])[^\s{QUOTES}]{{1,400}})"
)
_OF_A_NAME = re.compile(
    rf"\bvalue[ \t]+(?P<value>(?![{QUOTES}\[({{<$%/])[^\s{QUOTES}]{{1,400}})[ \t]+(?:for|of|in|at)[ \t]+(?:[a-z]{{2,16}}[ \t]+){{0,2}}[{QUOTES}]?(?P<name>-{{0,2}}[A-Za-z_][\w.-]{{1,127}})",
    re.IGNORECASE,
)
_BEHIND_THING = Gated(
    rf"\b(?:api|access|secret|private|encryption|signing) key[ \t]+(?P<value>[^\s{QUOTES}\[({{<$%/][^\s{QUOTES}]{{0,400}})"
)
_IN_BRACKETS = re.compile(
    rf"(?<!\w)(?P<open>[\[(])(?P<value>[^\s\[\](){{}}{QUOTES}]{{4,400}})(?P<close>[\])])"
)
_BEHIND_NAME = Gated(
    rf"(?<![\w.-])(?P<name>-{{0,2}}[A-Za-z_][\w.-]{{1,127}})\]?[ \t]+(?P<value>(?![{QUOTES}\[({{<$%/])[^\s{QUOTES}]{{4,400}})(?=[ \t]+(?:(?:is|was)[ \t]+(?:not|in)|invalid|malformed|must|rejected|refused|does not))"
)
_OPENING = re.compile(rf"(?<![\w\\])\\{{0,16}}[{QUOTES}]|(?<=[\s(\[,])[bu]['\"]")
A_TYPE = re.compile(
    r"(?:u?int(?:eger)?\d*|number|numeric|str(?:ing)?|bool(?:ean)?|float\d*|double|decimal|object|array|list|dict|map|null|none|nil|undefined|nan|bytes?|date|datetime"
    r"|duration|bigint|symbol|function|unknown|any|yes|no|true|false|(?:java|system)\.[\w.]+|(?-i:[a-z_][\w.]*\.[A-Z]\w*|[A-Z][a-z]+(?:Type|Error|Exception|Config)))",
    re.IGNORECASE,
)
_A_WORD = re.compile(r"(?:(?<![\w.-])|(?<=\$\.))-{0,2}[A-Za-z_][\w.:-]{0,127}")
_KIND = re.compile(
    r"\b(?:fields?|arguments?|property|key|option|variable|setting|parameter|param|flag|column|attribute|env|\w*_key|assigning|configuration|config|trait|members?|element|accessing|for|at|of|in|into)[ \t:]+\Z",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"\s{0,4}(?::\s|(?:must|should|has|had|is|was|does|did|cannot|could|may|option|trait|param\w*|setting|field|to be|too|type|expect\w*|got|rejected|refused|invalid|value)\b|->)"
)
_OBJECTS = frozenset({
    "pod", "container", "secret", "configmap", "deployment", "statefulset", "daemonset", "job", "service", "serviceaccount", "namespace", "node", "volume", "image", "registry", "ingress",
    "class", "classe", "type", "kind", "object", "interface", "module", "package", "method", "function", "call", "procedure", "file", "path", "directory", "directorie", "dir", "folder",
    "user", "role", "group", "account", "host", "hostname", "server", "client", "upstream", "database", "db", "schema", "table", "relation", "index", "constraint", "column", "field", "key",
    "property", "propertie", "parameter", "option", "variable", "setting", "flag", "attribute", "argument", "member", "trait", "section", "resource", "endpoint", "url", "uri", "request",
    "response", "referrer", "reference", "command", "executable", "binary", "topic", "route", "pair", "policy", "principal", "sa", "id", "kid", "queue", "bucket", "stream", "cluster", "region", "zone",
    "realm", "issuer", "audience", "scope", "algorithm", "mode", "level", "logger", "thread", "plugin", "extension", "provider", "driver", "middleware", "profile", "environment", "label",
    "annotation", "code", "status", "state", "reason", "message", "msg", "event", "caller", "component", "operation", "action", "verb", "line", "named", "called", "by", "directive",
    "pattern", "regex", "bean", "task", "step", "stage", "workflow", "pipeline", "branch", "tag", "version", "release", "chart", "template", "element", "rule", "check", "test", "feature",
    "locale", "language", "unit", "expected", "as", "like",
    "backend", "lease", "lock", "store", "keystore", "truststore", "vault", "proxy", "agent", "controller", "listener", "broker", "partition", "consumer", "project", "tenant", "org", "organization", "team",
    "repo", "repository", "device", "disk", "mount", "header", "query", "session", "subject", "address", "port", "connection",
})  # fmt: skip
"""Behind these words, or several of them, something else is named."""
_OF_MORE = ("back to", "connection to", "connect to", "choose from", "one of", "type of", "instance of")
_SIGNS = string.ascii_letters + string.digits + "_.-"
_PAIRED = re.compile(r"(?:\w\\{0,16}[\"'][ \t]*:|=>?|[\"']/|[\"'`][ \t]*,)[ \t]*\\{0,16}\Z")
_FILE = r"\S+\.(?:ya?ml|json|toml|ini|conf|cnf|cfg|properties|env|xml|py|go|js|ts|rb|java|sh|pem|crt|key|jks|p12|txt|log|tf|hcl|php|rs)"
_PLACE = re.compile(
    r"[./~][\w.$/{}-]*|[\w-]+(?:\.[\w-]+)*:\d{2,5}\S*|\d{1,3}(?:\.\d{1,3}){3}\S*|HTTP/\S*|[A-Za-z]:\\.*|[a-z][a-z0-9+.-]*://.*|[$%#]?[{(<%].*|"
    + _FILE
)
_PLAIN = re.compile(
    r"[A-Za-z]+|[A-Z][A-Z0-9_]*|\d{1,6}(?:\.\d{1,6})?[A-Za-z%]{0,4}|[a-z]+(?:[_.][a-z]+)+|[\w.$:]+\(.*\)?|[^A-Za-z0-9]+|[a-z0-9.-]+/[a-z0-9./-]+"
)
_A_QUALITY = Gated(
    r"\b(?:too (?:short|long|weak)|at least|at most|characters?|bytes|bits|base64|base32|hex\w*|format|length|padding|prefix|pattern|policy|hash|decod\w*|malformed|weak|fernet|does not (?:look|match|meet|satisfy)|is not allowed|is malformed)\b"
)
"""What is said of a value alone, and not of an object that is called a secret or a token."""
_THING = re.compile(
    r"\b(?:password|passwd|passphrase|passcode|secret(?: key)?|(?:api|access|private|encryption|signing) ?key|token)\b(?!['\"`]?\s+(?:not found|already))",
    re.IGNORECASE,
)
_THING_BEFORE = re.compile(rf"(?:{_THING.pattern})[ \t]*\Z", re.IGNORECASE)
_OF_AN_OBJECT = re.compile(
    r"\b(?:secrets?|configmaps?|volumes?|pods?|containers?|deployments?|services?)(?: name)?:? ?\\{0,16}[\"'`]?\Z",
    re.IGNORECASE,
)
_OF_ENV = re.compile(r"\benv\[\d{1,4}\]\.value\b")
_BOUND = re.compile(
    r"(?m)^[ \t]*(?:(?:full_)?key|path|name|loc(?:ation)?|at): [\"'`]?(?P<full>[A-Za-z_][\w.-]{0,127})|reference chain: [^\n]{0,200}?\[\\{0,16}[\"'](?P<in>[A-Za-z_][\w.-]{0,127})\\{0,16}[\"']\]|\b(?:under|(?i:property|field|column|key|setting|variable|option|parameter)):? [\"'`]?(?P<of>[A-Za-z_][\w.:-]{0,127})|^[ \t]*(?P<alone>[A-Za-z_][\w.-]{0,127})[ \t]*$"
    r"|^[ \t>]*(?:\d{1,5}[ \t]*\|[ \t]*)?[\"']?(?P<key>[A-Za-z_][\w.-]{0,127})[\"']?(?::|[ \t]*=>)|\[\\{0,16}[\"'](?P<at>[A-Za-z_][\w.-]{0,127})\\{0,16}[\"']\](?=:?[ \t]*$)"
)
_LEAD, _REST, _AROUND, _FAR = 400, 1_000, 400, 240


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A line of a text, or as much of a long one as is looked at in one go."""

    text: str
    begin: int
    end: int
    line: str
    of_quality: bool


def _sentence(text: str, begin: int, end: int) -> _Sentence:
    line = text[begin:end]
    return _Sentence(text, begin, end, line, _A_QUALITY.search(line) is not None)


def refused(match: Any, text: str) -> list[Span]:
    """All values of a sentence that refuses one and bears the name of a secret, or stands right by one. The last span is empty and tells
    how far was read, so that each line is read once."""
    begin = max(text.rfind("\n", max(0, match.start() - _LEAD), match.start()) + 1, match.start() - _LEAD, 0)
    end = min(end_of_line(text, match.end()), match.end() + _REST)
    values: list[Span] = []
    if _MAY_NAME.search(text[max(0, begin - _AROUND) : end + _AROUND]):
        values = _values(_sentence(text, begin, end))
    elif "unmarshal !!" in text[begin:end]:
        values = [(s, e) for s, e in _quoted_in(text, begin, end) if made_up(text[s:e])]
    return [*values, (end, end)] if end > match.start() else values


def _values(told: _Sentence) -> list[Span]:
    text, begin, end = told.text, told.begin, told.end
    sure = _quoted_in(text, begin, end)
    more = [each for each in _loose(told) if not _overlaps(sure, each)]
    if not sure and not more:
        return []
    names = sorted(_names(told, sorted([*sure, *more])))
    if not names and not _by_a_name(text, begin, end):
        if "unmarshal !!" in told.line:
            return [(s, e) for s, e in sure if made_up(text[s:e])]
        return []
    near = [each for each in more if not names or _is_near(each, names)]
    return sorted([*sure, *near])


def _overlaps(spans: list[Span], other: Span) -> bool:
    """Whether one of these spans, in their order, has a part in common with another."""
    at = bisect_left(spans, other)
    return any(start < other[1] and other[0] < end for start, end in spans[max(0, at - 1) : at + 1])


def _is_near(value: Span, names: list[Span]) -> bool:
    """Whether one of the names, in their order, stands so near that it can be the value's."""
    at = bisect_left(names, value)
    return any(
        start - value[1] <= _FAR and value[0] - end <= _FAR for start, end in names[max(0, at - 1) : at + 1]
    )


def _quoted_in(text: str, begin: int, end: int) -> list[Span]:
    """What is quoted behind a word for a value, or before what is said of it."""
    found: list[Span] = []
    for word in _found(_BEHIND_WORD, text, begin, end):
        if word.start() < (found[-1][1] if found else 0):
            continue
        bare = word[0].lower().startswith("input") and word[0].endswith("=")
        value = read_value(text, word.end()) if bare else _held(text, word.end())
        if value and value[1] > value[0] and not A_TYPE.fullmatch(text[slice(*value)]):
            found.append(value)
    told = len(found)
    for said in _SAID_OF.finditer(text, begin, end):
        other = is_name(said["value"]) or is_of_another(text, begin, said.start())
        if not other and not _overlaps(found[:told], (said.start("value"), said.start("value") + 1)):
            found.append(said.span("value"))
    return sorted(
        each for each in found if not _names_alone(text, each) and not _LOOKED_UP.match(text, *each)
    )


def _found(pattern: Gated, text: str, begin: int, end: int) -> Iterator[re.Match[str]]:
    """All matches of a pattern in a part of a text."""
    return pattern.regex.finditer(text, begin, end) if pattern.search(text[begin:end]) else iter(())


def _held(text: str, at: int) -> Span | None:
    """What the quote or the bracket at `at` holds."""
    return (at + 1, text.index("]", at)) if text.startswith("[", at) else read_quoted(text, at)


_LOOKED_UP = re.compile(rf"\$[{{(]|\{{\{{|{_FILE}\Z")
"""What is no value itself: a template, a file."""


def is_of_another(text: str, begin: int, at: int) -> bool:
    """Whether what is quoted at `at` is the name of something else."""
    before = text[max(begin, at - _BEFORE) : at].rstrip("\\")
    words = before.rstrip(" \t:=").removesuffix(" is")
    word = words[len(words.rstrip(string.ascii_letters)) :].lower()
    if word == "policy" and ":" in before[len(words) :]:
        return False
    return word in _OBJECTS or word.removesuffix("s") in _OBJECTS or words.endswith(_OF_MORE)


_BEFORE = 48


def _loose(told: _Sentence) -> Iterator[Span]:
    """What else is quoted, bracketed or given in the sentence and may be the value: no type, no name, no place and no words of a sentence."""
    text, begin, end = told.text, told.begin, told.end
    line, at = told.line, 0
    while opened := _OPENING.search(line, at):
        held = read_quoted(line, opened.start())  # never beyond the line, so that the cost has a bound
        at = opened.end()
        if held is None or line[held[1] : held[1] + 1] not in tuple(f"\\{_CLOSING}"):
            continue
        if len(line[slice(*held)].split()) > _FEW:
            continue  # a message, with quotes in it
        at, value = held[1] + 1, (held[0] + begin, held[1] + begin)
        if _may_be(told, value, opened.start() + begin):
            yield value
    for stated in _OF_A_NAME.finditer(text, begin, end):
        value = stated.span("value")
        if is_name(stated["name"].strip("-.:")) and not is_no_value(text, value):
            yield value
    for bracket in _IN_BRACKETS.finditer(text, begin, end):
        if _is_right_behind_a_name(told, bracket.start()) and _may_be(
            told, bracket.span("value"), bracket.start()
        ):
            yield bracket.span("value")
    for pattern in (_BARE_BEHIND, _BEHIND_NAME, *((_BEHIND_THING,) if told.of_quality else ())):
        yield from _bare(told, pattern)


def _bare(told: _Sentence, pattern: Gated) -> Iterator[Span]:
    """What stands there without quotes."""
    at = told.begin if pattern.search(told.line) else told.end
    while given := pattern.regex.search(told.text, at, told.end):
        start, stop = given.span("value")
        at = given.start() + 1
        stop = start + len(told.text[start:stop].rstrip(".,;:!?)]}"))
        named = pattern is not _BEHIND_NAME or is_name(given["name"].strip("-.:"))
        if named and stop > start and _may_be(told, (start, stop), -1):
            yield start, stop
            at = stop


_FEW = 4


def _may_be(told: _Sentence, value: Span, opened: int) -> bool:
    """Whether what stands there may be a value; `opened` is where its quote or bracket does, -1 where it has none."""
    text = told.text
    word = text[slice(*value)]
    if is_no_value(text, value):
        return False
    if opened >= 0 and _is_right_behind_a_name(told, opened):
        return True
    if opened >= 0 and told.of_quality and _is_told_alone(told, value, opened):
        return True
    if all(_PLAIN.fullmatch(part.strip(".,;:!?")) for part in word.split()):
        return False
    if opened < 0:
        return not word.startswith("-")
    before = text[max(told.begin, opened - _BEFORE) : opened]
    return not is_of_another(text, told.begin, opened) and _PAIRED.search(before) is None


def is_no_value(text: str, value: Span) -> bool:
    """Whether it is a type, a flag, a name, a place or a word about the state."""
    word = text[slice(*value)]
    about = says_state("", word) or harmless_word(word) or _A_FLAG.match(word) or _PLACE.fullmatch(word)
    return bool(about or A_TYPE.fullmatch(word)) or _names_alone(text, value)


def _is_told_alone(told: _Sentence, value: Span, opened: int) -> bool:
    """Whether a quote stands right behind the word for a secret, or ends the sentence behind a colon: `invalid token format: "S"`."""
    before = told.text[max(told.begin, opened - _BEFORE) : opened]
    last = not told.text[value[1] : told.end].strip("\\.,;:!?)]} \r" + _CLOSING)
    return _THING_BEFORE.search(before) is not None or (
        last and before.endswith(": ") and not is_of_another(told.text, told.begin, opened)
    )


def _is_right_behind_a_name(told: _Sentence, at: int) -> bool:
    """Whether the name of a secret of several words stands right before a quote or a bracket."""
    before = told.text[max(told.begin, at - _LONGEST) : at].rstrip("\\")
    bare = before.rstrip(" \t:=")
    bare = bare[: len(bare) - (bare[-1:] in tuple("])\"'`"))]
    name = bare[len(bare.rstrip(_SIGNS)) :].strip("-.:")
    return len(before) - len(bare) <= _APART and _SEVERAL.search(name) is not None and is_name(name)


_LONGEST, _APART = 160, 6
_SEVERAL = re.compile(r"\w[_.-]\w")
_A_FLAG = re.compile(r"--?[A-Za-z][\w-]*(?:$|[,=/ ])")


def _names_alone(text: str, value: Span) -> bool:
    """`cannot parse 'Password' as int`: what is quoted is the name."""
    word = text[slice(*value)].lstrip("-")
    return _NAME_ALONE.fullmatch(word) is not None and is_name(word) and not made_up(word)


_NAME_ALONE = re.compile(r"[A-Za-z_][\w.:/-]*(?:\[\w*\])?")


def _names(told: _Sentence, values: list[Span]) -> Iterator[Span]:
    """Where the name of a secret stands beside the values: of several words, in quotes or brackets, behind `field` and its like, or before
    what is said of a value."""
    line = told.line
    for found in _A_WORD.finditer(line):
        start, end = found.start() + told.begin, found.end() + told.begin
        name = found[0]
        if _overlaps(values, (start, start + 1)):
            continue
        word = name.strip("-.:")
        if not is_name(word):
            continue
        if _OF_AN_OBJECT.search(line, max(0, found.start() - 24), found.start()):
            continue
        before, after = line[max(0, found.start() - 24) : found.start()], line[found.end() : found.end() + 24]
        several = "_" in word or "." in word or name.startswith("-") or word[1:].lower() != word[1:]
        bound = (
            _KIND.search(before) is not None
            or before[-1:] in tuple("\"'`[(/:.")
            or after[:1] in tuple("\"'`])")
            or (word.lower() != "token" and (name.endswith(":") or _GOES_ON.match(after) is not None))
        )
        if several or bound:
            yield start, end
    yield from (found.span() for found in _OF_ENV.finditer(told.text, told.begin, told.end))
    if told.of_quality:
        for thing in _THING.finditer(line):
            yield thing.start() + told.begin, thing.end() + told.begin


def _by_a_name(text: str, begin: int, end: int) -> bool:
    """Whether the lines right before or behind say to whose value the line belongs."""
    before = text[max(0, begin - _AROUND) : begin].split("\n")[-9:]
    behind = text[end + 1 : end + 1 + _AROUND].lstrip("\r\n")
    behind = behind[: end_of_line(behind, 0)]
    near = [
        each
        for each in _BOUND.finditer("\n".join(before))
        if each["of"] or each["in"] or each.start() >= len("\n".join(before[:-3]))
    ]
    return any(is_name(_bound_name(each)) for each in (*near, *_BOUND.finditer(behind)))


def _bound_name(found: re.Match[str]) -> str:
    return next(word for word in found.groups() if word)


def is_name(word: str) -> bool:
    """Whether it names a secret itself, unlike `token-service` and `AuthFilter`, which name what deals with one."""
    if len(word) > 128 or "tokens" in word.lower() or not is_secret_name(word):
        return word in _OTHERS
    tail = _TAIL.search(word)
    return tail is None or is_secret_name(tail[0]) or tail[0].lower() in _TAILS


_OTHERS = frozenset({"sasl.jaas.config", "primary_conninfo"})
"""Settings that hold a password among other words."""
_TAIL = re.compile(r"(?<=[.:-])[\w]+\Z|(?<=[a-z])[A-Z]+[a-z]*\Z")
_TAILS = frozenset(
    {"key", "keys", "phrase", "word", "code", "hash", "value", "string", "url", "uri", "id", "salt"}
)
