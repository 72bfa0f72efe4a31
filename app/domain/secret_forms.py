"""More ways in which secrets are written: beside another value, in code, in differences, sentences, mail and lines of tools.

Used by `app.domain.secret_classes`; each form is a name, an expression for RE2 and what tells where the secret stands. Every reader walks forward. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from app.domain import secret_places as places
from app.domain import secret_statements as statements
from app.domain.secret_names import harmless_word, is_secret_name, says_state
from app.domain.secret_quotes import end_of_line
from app.domain.secret_refusals import A_TYPE, REFUSED_VALUE, refused
from app.domain.secret_statements import TOLD_OF, beside_path, given, told_of, unless_said
from app.domain.secret_values import read_in_quote, read_line, read_quoted, read_value, read_word
from app.domain.secret_words import ALGORITHM, CHANGED, THING, is_id, made_up, no_object

Span = tuple[int, int]
Form = tuple[str, str, Callable[[Any, str], Span | list[Span] | None]]

_Q = r"""(?:\\{0,16}["'])"""
_NAME = r"(?P<name>[A-Za-z_.][\w.-]*)"
_THING = THING
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


def _named_strange_or_phrase(match: Any, text: str) -> Span | None:
    """What a function with the name of a secret gave back, unless that is a type or a word about the state."""
    found = _named_quote(match, text)
    said = text[found[0] : found[1]] if found else ""
    return None if A_TYPE.fullmatch(said) or harmless_word(said) or says_state("", said) else found


def _beside(match: Any, text: str) -> Span | None:
    """What a value is exchanged for; none behind the last argument of a function, where the arrow tells what it returns."""
    before = match[0][len(match["name"]) :].rstrip("-=> \t")
    return None if before.endswith(")") and "(" not in before else places.named_value(match, text)


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
    if whole := _ONE_WORD.match(text, match.end()):
        start, end = whole.span()
        behind = end
    word = text[start:end].rstrip(".,;:!")
    if not word or harmless_word(word) or says_state("", text[start : end_of_line(text, start)]):
        return None
    last = not text[behind : end_of_line(text, behind)].strip(" \t\r.,;'\"}])")
    below = "\n" in text[match.start() : start]
    return (start, end) if made_up(word) or (last and len(word) >= (6 if below else 4)) else None


def _named_set(match: Any, text: str) -> Span | None:
    """What a line of a file sets the variable of a secret to; none where that is another variable."""
    if not is_secret_name(match["name"]) or text.startswith("$", match.end()):
        return None
    start, end, _ = read_word(text, match.end())
    end = start + len(text[start:end].rstrip(";"))
    return (start, end) if end > start else None


def _named_beside(match: Any, text: str) -> Span | None:
    """What is quoted right behind the quoted name of a secret, as EDN and lists of Go write them; a plain word is another name."""
    mark = match["spaced"].split()[0]
    if not is_secret_name(match["name"]) or not match["spaced"].endswith(mark):
        return None
    start, end = read_in_quote(text, match.end(), mark)
    word = text[start:end]
    return (
        None if not word or is_secret_name(word) or (match[0][0] != "{" and word.isalpha()) else (start, end)
    )


def _lettered(match: Any, text: str) -> Span | None:
    """A word of letters and digits behind a noun that only a value follows; no length, and no way of keeping one."""
    start, end, _ = read_word(text, match.end())
    word = text[start:end].rstrip(".,;:!?)")
    mixed = len(word) >= 6 and any(c.isdigit() for c in word) and any(c.isalpha() for c in word)
    other = _A_VERSION.fullmatch(word) or ALGORITHM.search(word) or "=" in word or "/" in word
    return (start, start + len(word)) if mixed and not other and not is_id(word) else None


def _of_a_login(match: Any, text: str) -> Span | None:
    """What stands behind a user and a colon where a login is told of: letters with digits or signs, and no version."""
    start, end = places.place(match, "secret")
    word = text[start:end].rstrip(".:!?]}")
    mixed = any(c.isalpha() for c in word) and not word.isalpha() and not _A_VERSION.fullmatch(word)
    named = ":" not in word and match["user"].lower() not in _NO_USERS
    return (
        (start, start + len(word)) if mixed and named and len(word) >= 4 and not harmless_word(word) else None
    )


_NO_USERS = frozenset(
    {
        "user",
        "username",
        "account",
        "client",
        "tenant",
        "system",
        "host",
        "group",
        "role",
        "http",
        "https",
        "app",
        "service",
    }
)
_A_VERSION = re.compile(r"v?\d[\w.+-]*|[a-z]+(?:[_-][a-z]+)?|[A-Z_]+")
_ONE_WORD = re.compile(r"[^\s\"']{1,512}(?=[ \t\r]*(?:\n|$))")
"""A word that has the rest of its line for itself, with signs that end a word of a command."""


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


def _no_port_within(match: Any, text: str) -> Span | None:
    """A password with a blank in a URL that is quoted; no port with words behind it."""
    return None if match["secret"].partition(" ")[0].isdigit() else places.whole(match, text)


def _login(match: Any, text: str) -> Span | None:
    """The password of a LOGIN of IMAP: the last word of its line."""
    start, end, behind = read_word(text, match.end())
    word = text[start:end]
    ended = not text[behind : end_of_line(text, behind)].strip(" \t\r\"'\\rn")
    about = not word or harmless_word(word) or (word.isupper() and word.isalpha())
    return (start, end) if ended and not about else None


def _named_random(match: Any, text: str) -> Span | None:
    """What is quoted behind the quoted name of a secret in a list, when nobody would call a field so."""
    found = _named_quote(match, text)
    return found if found and made_up(text[found[0] : found[1]]) else None


def _named_made(match: Any, text: str) -> Span | None:
    """What a parser quotes before the name in brackets that it belongs to."""
    return places.named_group(match, text) if made_up(match["secret"]) else None


def _of_variable(match: Any, text: str) -> Span | None:
    """What a sentence says about a variable that bears a secret's name: in quotes, or a word that nobody would say of it."""
    name = match["name"]
    if not ("_" in name or "-" in name or name.isupper()) or not is_secret_name(name):
        return None  # a word of a language, as other forms know it
    if made_up(name) and not no_object(name):
        return None  # an object's
    if says_state(match["name"], text[match.end() : end_of_line(text, match.end())]):
        return None
    if found := read_quoted(text, match.end()):
        said = text[found[0] : found[1]]
        return (
            None
            if " " in said
            or harmless_word(said)
            or not match[0].endswith((" to ", " is ", " was ", "value ", "value: "))
            else found
        )
    start, end, _ = read_word(text, match.end())
    word = text[start:end].rstrip(".,;:!?)")
    if match[0].rstrip().endswith(name) and _NEXT_PAIR.match(word):
        return None  # a value of its own, and the next one's name
    return (start, start + len(word)) if made_up(word) or _UUID_OR_HEX.fullmatch(word) else None


_NEXT_PAIR = re.compile(r"[A-Za-z][\w.-]{0,63}=[^=]")
_UUID_OR_HEX = re.compile(
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?=\w*\d)(?=\w*[a-f])[0-9a-f]{24,128}"
)


def _from_and_to(match: Any, text: str) -> list[Span]:
    """The value before and the one after a change, where they are no words about the state. Where one is a secret, the other is one too."""
    given: list[tuple[int, int, bool]] = []
    at, line = match.end(), text[: end_of_line(text, match.end())]
    for _ in range(2):
        start, end, behind = read_word(line, at)
        word = line[start:end].rstrip(".,;:!?)")
        quoted = line[start - 1 : start] in ("'", '"')
        sure = (made_up(word) or (quoted and len(word) >= 6)) and not A_TYPE.fullmatch(word)
        if word and not harmless_word(word):
            given.append((start, start + len(word), sure))
        to = _TO.match(line, behind)
        if to is None:
            break
        at = to.end()
    return [(start, end) for start, end, _ in given] if any(sure for *_, sure in given) else []


_TO = re.compile(r"\s{0,8}(?:\bto\b|->|=>|\u2192)\s{0,8}")
_ARGUMENT = r"""(?:b?\\{0,16}["'][^"'\n]*\\{0,16}["']|[^"'(),\n]{1,80}(?:\([^()\n]*\))?)\s*,\s*"""
_FIRST = (
    r"\b(?:password_hash|password_verify|hash_equals|sodium_crypto_pwhash\w*|SecretKeySpec|AzureKeyCredential|Fernet|hmac\.new|generate_password_hash|make_password|check_password"
    r"|set_password|check_password_hash|pbkdf2_hmac|scrypt|argon2\.hash)|->(?:auth|check|setPassword|setSecret|setToken|make|needsRehash)|::(?:check|make)"
)
_SECOND = (
    r"\b(?:Twilio|Client|BasicAWSCredentials|BasicSessionCredentials|AwsBasicCredentials\.create|StaticCredentialsProvider|Credentials|NetworkCredential|UsernamePasswordCredentials"
    r"|UsernamePasswordAuthenticationToken|UsernamePasswordToken|PasswordAuthentication|PasswordCredential|PlainTextAuthProvider|StorageSharedKeyCredential|AzureNamedKeyCredential"
    r"|HTTPDigestAuth|HTTPProxyAuth|HttpNtlmAuth|BasicAuth(?:entication)?|Credentials\.basic|createHmac|createCipheriv|createDecipheriv|oci_p?connect|check_password_hash|setSaslAuthData|setAuth|setUserInfo"
    r"|setHttpAuth|withBasicAuth|basic_auth|set_basic_auth|SetBasicAuth|PlainAuth|setBasicAuth|hash_pbkdf2)"
)
_THIRD = (
    r"\b(?:PDO|mysqli|SoapClient)(?:(?:->|::)__construct|::connect)?|\b(?:mysqli?_p?connect|mysqli_real_connect|real_connect|odbc_p?connect|ldap_bind|imap_open|ftp_login|ssh2_auth_password"
    r"|mssql_p?connect|ibase_p?connect|db2_p?connect|cubrid_connect|createPdoConnection|hash_hmac|openssl_(?:en|de)crypt|ClientSecretCredential|UsernamePasswordCredential|ConfidentialClientApplication"
    r"|createUser|sybase_connect)"
)
"""Functions and constructors whose first, second or third argument is a secret."""


FORMS: tuple[Form, ...] = (
    # Beside a value that is hidden
    ("beside", rf"""{_NAME}["']?\]?[ \t]*[:=]+[ \t]*(?:"[^"\n]*"|'[^'\n]*'|\\+"[^"\n]*"|\\+'[^'\n]*'|[^\s"']+)[ \t]+[-=]>[ \t]*""", _beside),
    ("beside", rf"""{_NAME}{_Q}(?::[^\]\n]+)?\]\s*=>\s*string\(\d+\)\s*""", _named_quote),
    ("beside", r"(?i)\bConvertTo-SecureString[ \t]+(?:-\w+[ \t]+)*[\"'\w]", lambda match, text: read_word(text, match.end() - 1)[:2]),
    ("beside", r"\bconfig\s+set\s+(?:--\S+\s+)*--secret\s+(?:--\S+\s+)*[\w.:/-]+\s+(?P<secret>[^\s-]\S*)", places.whole),
    ("beside", r"--passphrase-fd[ =]\d\b[^\n|<]*<<<\s*", places.after_what),
    ("beside", r"-file[ =]<\(\s*(?:echo|printf)\s+(?P<secret>[^)\n]+)\)", places.whole),
    # Code
    ("code", rf"""\b(?:var|const|let|val|static)\s+{_NAME}\s+[\w.*&\[\]]+\s*=\s*""", _named_quote),
    ("code", rf"""#define\s+{_NAME}\s+""", _named_quote),
    ("code", r"""\b(?P<name>(?:[sS]et|[wW]ith|[uU]se|[cC]hange|[uU]pdate|[rR]eset|[hH]ash|[cC]heck|[vV]erify|[vV]alidate|[cC]ompare|[mM]atch|[eE]ncrypt|[dD]ecrypt|[sS]tore|[sS]ave|[sS]end)[A-Z_]\w*)\s*\(\s*""", _named_quote),
    ("code", r"""\b(?P<name>(?:Invalid|Wrong|Bad|Incorrect|Expired)[A-Z]\w*)\s*\(\s*""", _named_strange),
    ("code", rf"""\{{\s*{_NAME}\s*,\s*(?:<<)?""", _named_quote),
    ("code", r"""\bjwt\.(?:sign|verify|encode|decode)\s*\([^"'()\n]+,\s*""", _quote),
    ("code", r"""\bbcrypt\.\w+\s*\(\s*""", _quote),
    ("call", rf"""(?i)\b(?:getConnection|connect|create_?connection|create_?pool)\s*\(\s*{_ARGUMENT}{_ARGUMENT}""", _quote),
    ("call", rf"""(?i)\b(?:login|authenticate)\s*\(\s*{_ARGUMENT}""", _quote),
    ("code", r"""(?i)\b(?:getConnection|Sequelize|changeUserPassword)\s*\(\s*(?:\\{0,16}["'][^"'\n]*\\{0,16}["']\s*,\s*){1,2}""", _quote),
    # Calls with a password among their arguments, as traces of PHP and others print them
    ("call", rf"(?:{_FIRST})\s*\(\s*", _quote),
    ("call", rf"(?:{_SECOND})\s*\(\s*{_ARGUMENT}", _quote),
    ("call", rf"(?:{_THIRD})\s*\(\s*{_ARGUMENT}{_ARGUMENT}", _quote),
    # Differences, and what a field was refused for
    ("field", rf"""(?i){_Q}(?:name|key|field|path|property|attribute|column|param|parameter|variable){_Q}\s*:\s*{_Q}(?P<name>[\w./~:-]+){_Q}""", _arguments),
    ("field", rf"""{_NAME}\r?\n[ \t]+[^\n]*?\binput(?:_value)?=""", _named_quote),
    ("field", rf"""{_NAME}[ \t]+(?:String|Input|Value|Field|Assertion|Decimal|Number)\b[^\n]*?\binput(?:_value)?=""", _named_quote),
    ("field", r"""["'`](?P<secret>[^"'`\n]{4,200})["'`][^"'`()\n]{1,60}\((?P<name>[A-Za-z_][\w.-]*)\)""", _named_made),
    ("field", r"""cannot unmarshal \w+ (?P<secret>\S[^\n]*?) into Go struct field (?P<name>[\w.-]+)""", places.named_group),
    ("refused", REFUSED_VALUE, refused),
    ("refused", rf"""{_Q}(?:path|loc|location|instancePath|dataPath|field|property|param){_Q}\s*:\s*(?:[\[(](?P<names>[^\])]{{1,200}})[\])]|{_Q}(?P<name>[\w./~:-]+){_Q})""", beside_path),
    ("field", rf"""(?i)\b(?:property|setting|variable|field|option|param(?:eter)?|argument|attribute|config(?:uration)?(?: key)?|env(?:ironment variable)?|flag|key|name){_Q}?[ \t]*[:=][ \t]*{_Q}?-{{0,2}}{_NAME}{_Q}?[ \t]*,?(?:\r?\n[ \t]*[A-Z][\w ]{{0,20}}:[^\n]{{0,120}}){{0,2}}?(?:\r?\n[ \t]*|[ \t]+){_Q}?(?:(?:actual|given|provided|current|bad|invalid)[ _])?(?:value|input|content|given|got|received|actual|data){_Q}?[ \t]*[:=][ \t]*""", places.named_value),
    ("field", r"""\bcs\dLabel=(?P<name>\S+)\s+cs\d=""", places.named_value),
    ("field", rf"""form-data;[ \t]*name={_Q}{_NAME}{_Q}(?:;[^\r\n\\]*)?(?:\r?\n[A-Za-z-]+:[^\r\n]*)*(?:\r?\n|\\+r\\+n|\\+n){{2}}""", _named_line),
    ("field", rf"""(?m)^[ \t]*{_Q}?{_NAME}{_Q}?[,;][ \t]*""", _second_column),
    ("field", r"""\b(?P<name>[A-Za-z][\w-]*)\.{5,}[ \t]*""", places.assigned),
    ("field", rf"""{_Q}{_NAME}{_Q}[ \t]*[,;][ \t]*(?:b|u)?""", _named_random),
    # Arguments that the kernel wrote down
    ("argument", r"""\bEXECVE\b[^\n]*?\ba\d+="?-[pPa](?P<secret>[^"\s-][^"\s]{3,})""", _no_port),
    ("argument", r"""\ba\d+="--?(?P<name>[\w-]+)"\s+a\d+="(?P<secret>[^"\n]+)\"""", places.named_group),
    # Sentences
    ("sentence", rf"(?i)\b{_THING}s?(?: (?:is|was|has been) (?:generated|created|set))? for (?:[\w'\"-]+ ){{0,4}}[^\s:]+(?: is)?[ ]?:[ \t]+", _alone),
    ("sentence", rf"(?i)\b(?:following|generated|temporary|initial|new|admin)\s+(?:\w+\s+)?{_THING}\b[^\n:]*:{_ADVANCE}", _alone),
    ("sentence", rf"(?i)\b{_THING}\b[^\n]{{0,120}}\b(?:re)?(?:set|generated|changed|created|rotated|updated)\b[^\n]{{0,40}}{_ADVANCE}(?:the\s+)?(?:new|initial|temporary|generated|current)\s+(?:value|one|{_THING})(?: is)?[ \t]*[:=][ \t]*", _alone),
    ("sentence", r"\bPASSWORD\s+[\w.@-]+\s*=\s*(?P<secret>[^\s'\"]\S*)", places.whole),
    ("sentence", r"(?i)\b(?:otp|one-time|verification|2fa|mfa|security|confirmation)\s+(?:code|pass\w*|pin)\s+(?:is|was):?\s+", places.said_of),
    ("sentence", rf"(?i)\b(?:trying|tried|tries)\s+(?:the\s+)?{_THING}\s+", places.made_up_word),
    ("sentence", r"\b(?P<name>[\w-]*(?i:pass|pwd|secret|token|key|cred|auth|dsn|jwt)[\w-]*)['\"`]?\s+(?:(?:is|was|has been|now|to|=|with|has|had|got)\s+){0,2}(?:(?:re)?set\s+to\s+|changed\s+to\s+|the\s+)?(?:value:?\s+)?", _of_variable),
    ("sentence", rf"(?i)(?:\b|_){_THING}s?(?: (?:for|of|on) \S{{1,64}})?\s+(?:(?:is|was|has been|were|got)\s+)?{CHANGED}(?:\s+from\s+|:\s+)", _from_and_to),
    ("sentence", rf"(?i)\b{CHANGED}\s+(?:the\s+)?(?:[\w.-]{{1,32}}[\s_])?{_THING}s?(?: (?:for|of|on) \S{{1,64}})?(?:\s+from|:)?\s+", _from_and_to),
    ("sentence", TOLD_OF, told_of),
    ("call", r"\b(?P<name>[A-Za-z_]\w*)\(\)[ \t]*(?:returned|returns|gave|gives|yielded|was|is|->|=>|={1,3}|:)[ \t]*", _named_strange_or_phrase),
    ("sentence", r"(?i)\b(?:credentials?|creds|login|account|user(?:name)?|(?:fail\w*|invalid|bad|rejected|denied|refused)\s+(?:for|of|as|with))\b:?\s+(?:user\s+)?['\"(]?[\w.@+-]{1,64}[ ]?[:/][ ]?(?P<secret>[^\s\"',;)]{6,})", places.made_up_behind),
    ("sentence", rf"(?i)\b{_THING} value\s+", places.made_up_word),
    ("sentence", r"(?i)\b(?:token|(?:api|access|secret)[ _-]?key|pass(?:word|phrase|code))[ \t]+(?P<secret>[a-z]{4,32}[-_.]?\d{4,12})[ \t]+(?:(?:is|was|has been|could|does)[ \t]+)?(?:not[ \t]+(?:be[ \t]+)?(?:found|known|recogni[sz]ed|exist|match\w*|accepted)|unknown|rejected|revoked|expired)\b", places.whole),
    ("sentence", r"(?i)\b(?:the|this|that|my|our|your|its|whose|new|old) key (?:is|was|now)(?: now| set to)?:?\s+[\"'`(]?(?P<secret>[0-9a-f]{24,128})\b", places.whole),
    ("sentence", rf"(?i)\b(?:tried|tries|trying|used|uses|using|entered|sent|typed|gave|given|with)\s+[\"'`]?(?P<secret>[^\s\"'`]{{4,}})[\"'`]?\s+(?:as|for)\s+(?:(?:the|a|an|his|her|their|its)\s+)?{_THING}\b", places.made_up_behind),
    # Schemes, mail and links
    ("scheme", r"\b(?:GenieKey|Api-Token|ApiToken|SSWS)\s+(?P<secret>[\w.~+/=-]{8,})", places.whole),
    ("scheme", r"\b(?:Negotiate|NTLM|Kerberos)\s+(?P<secret>[\w.~+/=-]{8,})", _of_scheme),
    ("scheme", r"(?i)\bSec-WebSocket-Protocol:[^\n]*?\bbearer[\s,.]+(?P<secret>[\w.~+/=-]{8,})|\bbearer,\s+(?P<listed>[\w.~+/=-]{8,})", lambda match, _text: places.place(match, "secret") if match["secret"] else places.place(match, "listed") if made_up(match["listed"]) else None),
    ("mail", r"(?i)\bUSER\s+\S+\r?\n(?:[^\n]*\n)?[^\n]{0,16}\bPASS\s+(?P<secret>\S+)|\buser\s+\S+\s+pass\s+(?P<alone>[^\s:=]\S*)", lambda match, _text: places.place(match, "secret" if match["secret"] else "alone")),
    ("mail", r"(?m)(?:>>>?|->|\bC:|^>)[ \t]*PASS\s+(?P<secret>\S+)", places.whole),
    ("scheme", r"\bAUTH (?:PLAIN |LOGIN )?(?:(?P<who>[\w.@-]{1,64}) )?(?P<secret>[^\s\"',;]{6,128})", statements.of_auth),
    ("scheme", r"(?i)\bAWS_?Secret_?(?:Access_?)?Key\s+(?P<secret>[^\s\"',;]{8,128})", places.made_up_behind),
    ("mail", r"\bAUTH (?:PLAIN|LOGIN|XOAUTH2|CRAM-MD5|OAUTHBEARER|NTLM)[ ]+(?P<secret>[\w+/=-]{8,})", lambda match, _text: None if match["secret"].isupper() else places.place(match, "secret")),
    ("mail", r"(?m)(?:^|[>:]\s*)(?:[A-Za-z]{0,4}\d+ )?LOGIN[ ]+(?:\"[^\"\n]+\"|[^\s\"]+)[ ]+", _login),
    ("link", r"(?i)/(?:reset[-_]?password|password[-_]?reset|magic[-_]?link|invite|invitation|verify[-_]?email|unsubscribe)/(?P<secret>[\w.~-]{8,})", _made),
    ("link", r"(?i)/with/key/(?P<secret>[\w-]{8,})|api\.telegram\.org/bot\d+:(?P<bot>[^/\s]+)", lambda match, _text: places.place(match, "secret" if match["secret"] else "bot")),
    ("sentence", r"(?i)\b(?:log[- ]?ins?|log ?on|sign[- ]?in|auth\w*|credentials?|creds)\b[^\n:]{0,60}\b(?:for|as|of|with)\s+(?:user\s+)?['\"(]?(?P<user>[\w.@+-]{1,64}):(?P<secret>[^\s\"',;)/]{4,})", _of_a_login),
    # Words of tools and files
    ("word of a file", r"(?m)^[ \t]*set[ \t]+\$(?P<name>[A-Za-z_]\w*)[ \t]+", _named_set),
    ("word of a file", rf"""\b(?:variable|output|local)[ \t]+{_Q}{_NAME}{_Q}[ \t]*\{{[^{{}}]*?\b(?:default|value)[ \t]*=[ \t]*""", places.named_value),
    ("word of a file", rf"""[{{,\[("'][ \t]*{_Q}{_NAME}(?P<spaced>{_Q}[ \t]+{_Q})""", _named_beside),
    ("password in a URL", r"""(?i)["'`][a-z][a-z0-9+.-]{1,30}://[^\s:/"'`@]{0,64}:(?P<secret>[^\s"'`/@]{1,128}[ ][^"'`\n/@]{1,128})@[\w.\[]""", _no_port_within),
    ("assertion", r"(?i)(?:^|[\s\"'?&;{(])(?:saml_?)?assertion=(?P<secret>[^&\s\"'<>]{8,})", places.whole),
    ("password in a URL", r"(?i)\b(?:sips?|stuns?|turns?):[^\s:@/\"'<>;]{1,64}:(?P<secret>[^\s@\"'<>]+)@", places.whole),
    ("long word", r"(?:^|[^A-Za-z0-9+/=_.-])(?P<secret>[A-Za-z0-9+/]{40})(?:$|[^A-Za-z0-9+/=_.-])", statements.long_word),
    ("word of a tool", rf"(?m)^[ \t+$]*(?:ENV|ARG|setenv|setx|set[ \t]+-\w+)[ \t]+{_NAME}[ \t]+", _named_word),
    ("word of a file", r"(?m)(?:^|[ \t])(?:bindpw|rootpw|rootbindpw|olcRootPW|r[ow]community6?)[ \t]+", unless_said),
    ("word of a file", r"(?i)\bcommunity[ -]string:?[ \t]+(?:is[ \t]+)?", given),
    ("sentence", r"(?i)\b(?:totp|hotp|otp|mfa|2fa|authenticator|wallet) seed(?: is)?[ \t]*[:=]?[ \t]+", given),
    ("sentence", r"(?i)\b(?:unlock|unseal|recovery|activation|backup)[ -](?:key|code)(?: \d)?[ \t]+", _lettered),
    ("sentence", r"(?i)\b(?:passphrase|passcode)[ \t]+", _lettered),
    ("word of a tool", r"(?i)\b(?:cargo\s+login|nuget\s+setapikey)\s+(?:--\S+\s+)*", unless_said),
    ("word of a tool", r"(?i)\bnet\s+use\s+(?:[a-z*]:?\s+)?\\\\\S+\s+(?:/\S+\s+)*(?P<secret>[^\s/*]\S*)", places.whole),
    ("word of a tool", r"(?i)\bsecrets?\s+(?:set|put|import|create|add)\s+(?:--?\S+\s+)*[\w.-]+=", lambda match, text: read_value(text, match.end(), alone=True)),
    ("word of a tool", r"(?i)\bsecrets?\s+set\b[^\n]*?\s(?:--body|-b)[ =]+", places.after_what),
    ("SQL", r"\b(?:SECRET|SESSION_TOKEN|SECRET_KEY)\s+(?:E|U&)?'(?P<secret>[^'\n]{4,})'", places.whole),
    ("word of a tool", r"\baz\s+(?:sql|mysql|postgres|mariadb|synapse|vm)\b[^\n]*?\s-p[ =]+", places.after_what),
    ("word of a tool", r"\bput-parameter\b[^\n]*?\s--value[ =]+", places.after_what),
    ("word of a tool", r"\bpoetry\s+config\s+(?:--\S+\s+)*(?:pypi-token\.\S+|http-basic\.\S+\s+\S+)\s+(?P<secret>[^\s-]\S*)", places.whole),
    ("word of a tool", r"(?i)(?:\s-D[\w.]*\.|\bsonar\.)login=(?P<secret>[^\s\"']+)|\b[A-Z]+_USER=[\w.-]+:(?P<user>[^\s\"']+)", lambda match, _text: places.place(match, "secret" if match["secret"] else "user")),
    ("password of an Oracle DSN", r"(?i)\b(?:target|auxiliary|catalog|as)\s+[\w$#]+/(?P<secret>[^\s\"'/@]+)@", places.whole),
    # Functions of databases
    ("SQL", r"(?i)\bpgp_sym_(?:en|de)crypt\w*\s*\(\s*'[^']*'\s*,\s*'(?P<secret>[^']+)'", places.whole),
    ("SQL", r"(?i)\bsp_(?:addlogin|password)\s+N?'[^'\n]*'\s*,\s*N?", _quote),
    ("SQL", r"(?i)\b(?:mysql|postgresql|mongodb|remote(?:Secure)?)\s*\((?:[^(),\n]+,){4}\s*", _quote),
    ("SQL", r"(?i)\bs3(?:Cluster)?\s*\([^(),\n]+,\s*'\w{12,}'\s*,\s*", _quote),
)  # fmt: skip
