"""Names under which secrets are kept, and words that say something about a secret without being one.

Used by `app.domain.redact`. Pure; looks at one name or word at a time, and at what stands right around it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from app.domain.secret_words import made_up

_WORDS = re.compile(
    r"pass?w(?:or[dt]|0rd|rd)?s?(?![a-z])|pass?w(?:or[dt]|0rd)|passwd|pass[_.-]?phrase|pass[_.-]?code|pswd|kennwort|mot_de_passe|contrasen[ay]|senha|wachtwoord"
    r"|mnemonic|^(?:cvv2?|cvc2?)$|^bearer$|secret|token|credential|authorization|cookie|signature|\bpins?\b|accesscode"
    r"|(?:api|access|private|priv|signing|routing|encryption|decryption|master|fernet|account|shared|session|service|storage"
    r"|license|licence|app|application|client|webhook|hmac|aes|rsa|ssh|tls|ssl|root|admin|cipher|data|functions|host|deploy|auth"
    r"|cert|certificate|server|unseal|unlock|wrapping|recovery|consumer|instrumentation|write|ingest|publishable"
    r"|sharedaccess|integration|subscription|ca)[_.-]?key(?:[_.-]?data)?(?!s?[_.-]?(?:name|ref|file|path|id)\b)|session[_.-]?id|sessid|\bsid\b"
    r"|(?:device|user|authorization|auth|recovery|backup|activation|mfa|2fa|totp|otp|verification)[_.-]?codes?$|code[_.-]?verifier|oauth[_.-]?verifier|client[_.-]?assertion|id[_.-]?token[_.-]?hint"
    r"|(?:totp|hotp|otp|mfa|2fa|wallet)[_.-]?seed|saml[_.-]?(?:response|request|assertion)|dockerconfigjson|dockercfg|id_(?:rsa|dsa|ecdsa|ed25519)$|client-principal$|webhook[_.-]?url$|remember[_.-]?me$|(?:^|[_.-])pepper$"
    r"|^stringData$|\.(?:jks|p12|pfx)$|(?:^|[_.-])(?:nt[_.-]?hash|ntlm|netrc|pgpass|htpasswd)$",
    re.IGNORECASE,
)
TONGUES = (
    "contrase\u00f1a", "\u043f\u0430\u0440\u043e\u043b\u044c", "\u5bc6\u7801", "\u5bc6\u78bc", "\u53e3\u4ee4", "\u30d1\u30b9\u30ef\u30fc\u30c9",
    "\ube44\ubc00\ubc88\ud638", "has\u0142o", "l\u00f6senord", "\u015fifre", "mot de passe", "palavra-passe", "clave secreta",
)  # fmt: skip
"""What a password is called in languages that do without ASCII, or in two words."""
_TONGUE = re.compile(
    r"adgangskode|salasana|(?<![a-z])(?:passord|heslo|haslo|losenord|sifre)(?![a-z])|clave[_.-]secreta|palavra[_.-]passe|mot[.-]de[.-]passe|"
    + "|".join(TONGUES),
    re.IGNORECASE,
)
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SINGLE = ("pw", "pwd", "psw", "pswd", "psk", "otp", "jwt", "pat", "auth", "dsn", "cred", "tok", "tkn")
_SECRET_PARTS = frozenset(("pass", *_SINGLE, *(f"{part}s" for part in _SINGLE)))
_NO_PASS = re.compile(
    r"(?:com|by|tres|over|under|sur|encom|high|low|band|all|multi|single|first|second|one|two)pass"
)
_STRONG = frozenset(
    {
        "db",
        "user",
        "admin",
        "root",
        "my",
        "old",
        "new",
        "redis",
        "mysql",
        "ssh",
        "smtp",
        "mail",
        "ftp",
        "proxy",
        "u",
        "ad",
        "bind",
        "ldap",
        "key",
        "store",
    }
)
"""What stands before `pass`, `pwd` or `pw` in one word; any other word before `pass` counts as well."""
_ENVIRONMENT_KEY = re.compile(r"[A-Z0-9_]+_KEY")
_HARMLESS = re.compile(
    r"existing[_.-]?secret(?:[_.-]?\w{0,24}key)?$|secret[_.-]?(?:key[_.-]?)?(?:names?|refs?|class|type|version|count|namespace)$|(?:^|[./:-])secrets$"
    r"|(?:pull|registry|image|k8s|kube\w*|external|sealed|docker|config|watch\w*|list\w*|sync\w*|managed?|get|all|no|missing|num|number|of|mount\w*|projected|tls)[_.-]?secrets$"
    r"|token[_.-]?(?:review|izer|ize|ization|type|count|limit|bucket|s?[_.-]?(?:used|left|per))"
    r"|(?:password|passwd|pass|secret|token|credentials?|key|auth|authorization|cookie|signature|session|jwt|dsn|otp|pin)[_.-]?(?:file|path|dir|policy|length|min|max|(?:min|max)(?:imum)?[_.-]?(?:len(?:gth)?|age|size)|age|ttl|expiry|expires\w*|url|uri"
    r"|endpoint|hint|type|mode|method|mechanism|methods|mechanisms|encryption|algorithm|enabled|disabled|required|provider|plugin|realm|issuer|audience|host|port|domain|region|lifetime|validity|leeway|version|database|db|source|format|rotation|reset|duration|timeout|header|backend|server|stdin)$"
    r"|(?:^|[_.-])(?:pad|bos|eos|unk|mask|sep|cls|stop|special|next|prev|page|next[_.-]?page|continue|continuation)[_.-]?token(?:[_.-]?id)?s?$"
    r"|(?:failed|failure|error|exception|denied|mismatch|expired|rejected|revoked|missing|required)$"
    r"|(?:^|_)(?:PUBLIC|PRIMARY|FOREIGN|PARTITION|SORT|CACHE|GROUP|IDEMPOTENCY|DEDUP|UNIQUE|SHARD|INDEX|LOOKUP|TRANSLATION|OBJECT|MESSAGE|I18N|LOCK|METRIC|ISSUE|ROW)_KEY$"
    r"|(?:changed|created|updated|modified|rotated|reset|expires|expired|issued|valid|last|used)[_.-]?(?:at|since|until|on)$|[_.-](?:count|total)$|(?:Key|Token|Secret|Password|Session)Count$"
    r"|^\w+\.(?:go|py|rb|rs|js|mjs|ts|tsx|java|kt|c|cc|cpp|cs|php|exs?|scala|swift)$"
    r"|does(?:not|nt)match$|not[_.-]?found$|^secretsmanager$|^x509_check_private_?key$|^secretar(?:y|ies)$|^\.?(?:[\w-]+\.)+(?:com|net|org|io|dev|svc|local|internal|cloud)$"
    r"|^pass(?:ed|es|ing|ive|enger\w*|age\w*|port\w*|through)$|passfile$|pgsysconfdir$|(?:^|[_.-])rate[_.-]?limit",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"(?:required|invalid|wrong|incorrect|correct|missing|not|empty|too|being|set|unset|valid|null|none|unknown|bad|weak"
    r"|strong|long|short|still|already|in|for|from|of|the|a|an|your|you|no|only|never|always|about|ok|okay|fine|old|new"
    r"|different|same|equal|null|nil|true|false|absent|unavailable|out|on|by|at|as|and|or|but|now|also|when|if|safe"
    r"|be|kubernetes\S*|stale|here|there|good|one|all|used|text|read|sent|kept|built|lost|found|connect|log|use|access"
    r"|make|get|authenticate|request|continue|mounted|forbidden|redacted|\[redacted\]?)"
    r"|[a-z]+(?:ed|ing|able|ible|ly|ent|ory|less|ful)",
)
STATES = (
    r"(?:YES|NO|yes|no|required|invalid|missing|unset|empty|expired|revoked|rejected|denied|forbidden|malformed|mismatch|mismatched|unavailable|failed"
    r"|verified|disabled|enabled|unknown|unauthorized|unauthenticated|none|ok|OK|Ok|absent|redacted|undefined|unsupported|changed|unchanged|created"
    r"|configured|deleted|updated|rotated|renewed|refreshed|loaded|found|valid|set|ready|NotReady|pending|timeout"
    r"|(?:[A-Z][a-z0-9]+){0,4}(?:OOMKilled|Killed|BackOff|Completed|Running|Pending|Terminating|Evicted|Unhealthy|Succeeded|Mismatch|NotFound|SlowDown|Throttl(?:ed|ing)|Expired|Denied|Invalid|Exceeded|Unavailable|Forbidden|Unauthorized|Timeout|TimedOut|Error|Exception|Failure|Failed|Missing|Required|Revoked|DoesNotMatch|NotMatch)|(?:Expired|Invalid|Missing|Malformed|Unrecognized|Unsupported|Unknown)(?:[A-Z][a-z]{1,12}){1,4})"
)
_SAID = re.compile(STATES + r"[.,;:!)]{0,2}")
"""What is said of a secret behind `name: ` by one word alone."""
_SENTENCE = re.compile(
    r"(?i:bad|unbound|parameter|denied|must|should|could|couldn't|cannot|can't|can|may|is|are|was|were|has|have|had|does|did|doesn't|will|would|needs|not|no|none|unable|failed|failure|error|all"
    r"|invalid|missing|expired|expires|required|expected|unexpected|unset|wrong|empty|unknown|malformed|mismatch|rejected|denied|unsupported"
    r"|timeout|timed|connection|request|permission|server|header|authorization|authentication|context|identity|projected|secret|secrets|token|key|value|field|signature|certificate|configmap|pod|volume"
    r"|algorithm|access|too|environment|variable|check|see|please|contact|verify|run|waiting|retrying|using|trying|skipping|reading|loading|refreshing|renewing|rotating|exit|exited|references|object|serviceaccounts?|pods|configmaps|nodes|resource|user)"
    r"[,:;]?\s+(?P<next>[\"'`(]?[a-z]{1,14}[\"'`.,:;)]{0,3}(?=\s|$)|[\"'`(<][^\s]*|[a-z]{1,14}[/(=][^\s]*|[\dT:.Z/+-]{1,32}(?=[\s.,;)]|$)|[a-z][a-z'-]{1,24}[.,:;)]{0,2}(?=\s|$))"
)
"""How a sentence goes on behind `name: `."""
_NEXT = re.compile(
    r"OK\b|[\"'`(]?[a-z]{1,14}[\"'`.,:;)]{0,3}(?:\s|$)|[\dT:.Z/+-]{1,32}(?:[\s.,;)]|$)|[a-z]{1,14}[(=]|[(\[{]"
)
_OF_A_CASE = re.compile(
    r"(?:\w+[.])*(?:Expired|Invalid|Missing|Unknown|Bad|Wrong|Malformed|Incorrect|Unrecognized|Unsupported|Unauthorized|Revoked|Rejected|No|Create|Add|Remove|Drop|Rename|Change|Update|Backfill|Migrate|Rotate)[A-Z]"
)
"""How codes of errors and names of migrations begin: what stands behind their colon is told for people."""
_WORDS_ALONE = re.compile(
    r"(?:(?:[A-Z]?[a-z]{1,24}|[A-Z]{1,8})(?:[.,;:]|'[a-z]{1,2})?(?:\s+|$|=+$)){2,60}(?:[.(\"'=]|$)|(?:migrat|revert)(?:ing|ed)\b"
)
_OUTCOME = re.compile(
    r"(?:[a-z]{2,16} ){1,3}(?:timeout|timed out|fail(?:ed|ure)|errors?|expired|rejected|denied|required|refused|cancell?ed|aborted|exceeded|unavailable|reset|closed|mismatch|missing|invalid|disabled|enabled|succeeded|ok)(?=$|[\s.,;:)])"
)
_REQUEST = re.compile(
    r"(?:Get|Head|Post|Put|Patch|Delete) \\{0,8}\"https?://|(?:dial|read|write) (?:tcp|udp|unix)\b"
)
"""How Go's programs begin what they say of a request that failed."""
_OF_ANOTHER = re.compile(
    r"[A-Z]?[a-z]{2,16} (?:has|have|had|is|was|are|were|could|cannot|did|does|will|must|should) (?:not |been |no )?[a-z]{2,16}(?=$|[\s.,;:)\"'])"
)
"""A sentence about something else: `Session has expired`."""
_A_PHRASE = re.compile(r"pass|pwd|phrase|secret|mnemonic|seed", re.IGNORECASE)
"""Names of what may be a sentence itself."""
_SIZE = re.compile(r"\d{1,9} (?:bytes|characters|chars|bits)\b")
_PIN = re.compile(r"(?:GPIO|gpio|IO|[A-D])\d{1,3}\b")
_COUNTED = re.compile(r"\d{1,5}(?:/\d{1,5}| of \d{1,5})(?:\s+[a-z]|$)|\d{1,4},?\s+[a-z]{1,14}(?:[\s:=,;.]|$)")
_OF_A_FIELD = re.compile(
    r"(?:Forbidden|Required value|(?:Duplicate|Unsupported|Invalid) value|Not found|Invalid type|Too (?:long|many|few|short)|Internal error)(?=[:.,;]?(?:\s|$)|[\"'\\])"
)
"""How Kubernetes refuses a field; a value is told behind that, and found as a refused one."""
_COUNTED_NAMES = frozenset({"auth", "pass", "creds", "credentials", "sessions", "tokens"})
_TEST = re.compile(r"(?:Test|test_)\w*")


@lru_cache(maxsize=4_096)
def is_secret_name(name: str) -> bool:
    """Whether a value under this name is to be taken for a secret: `DB_PASSWORD`, `apiKey`, `x-api-key`, `MASTER_KEY`."""
    if len(name) > 256 or _HARMLESS.search(name):
        return bool(len(name) > 256)
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    return bool(
        _WORDS.search(name)
        or _TONGUE.search(name)
        or _ENVIRONMENT_KEY.fullmatch(name)
        or _has_secret_part(name)
    )


def holds_names(name: str) -> bool:
    """Whether what stands under it are names of Secrets above all, as under `secrets` and `tls_secrets`; what is none of a name there is a secret."""
    return name[-7:].lower() == "secrets" and not is_secret_name(name)


def name_of_member(members: Mapping[Any, Any], key: Any, around: str) -> str:
    """Under which name a member of an object stands: its own, the one that a member beside `value` gives (`name: DB_PASSWORD`), or that
    of the names which it is among."""
    beside = (members.get(of) for of in _NAMING) if key in _NAMED else ()
    given = next((name for name in beside if isinstance(name, str) and _speaks(name)), "")
    own = str(key)
    return given or (around if around and not is_secret_name(own) else own)


def name_of_argument(before: Any, value: Any) -> str:
    """The name of the option that stands before its value in a list of arguments; none before another option."""
    flag = _OPTION.fullmatch(before) if isinstance(before, str) and isinstance(value, str) else None
    return flag["name"] if flag and _OPTION.fullmatch(value) is None else ""


def _speaks(name: str) -> bool:
    return is_secret_name(name) or holds_names(name)


_NAMING, _NAMED = ("name", "Name", "key", "Key"), ("value", "Value")
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w.-]{0,255})")


def _has_secret_part(name: str) -> bool:
    parts = [part.lower() for part in PARTS.findall(name)]
    return any(part in _SECRET_PARTS or _ends_like_one(part) for part in parts)


def _ends_like_one(part: str) -> bool:
    if part.endswith(("pwd", "pwds")):
        return True
    if part.endswith("pass"):
        return _NO_PASS.fullmatch(part) is None
    return part.endswith("pw") and part[:-2] in _STRONG


def is_plain_name(name: str) -> bool:
    """Whether a stranger's name for something hides nothing itself: a plain word, and no known token is as short."""
    return len(name) < 16 and name.isascii() and name.isidentifier()


def harmless_word(word: str) -> bool:
    """Whether `word`, said of a password ("the password is …"), tells its state and not the password."""
    return _STATE.fullmatch(word) is not None


_END_OF_TEXT = re.compile(r"\\{0,8}\"(?=[,}\]])")


def says_state(name: str, line: str) -> bool:
    """Whether the rest of a line behind `name: ` speaks of the state of what is called so, and does not tell it."""
    if ended := _END_OF_TEXT.search(line):  # of a text in JSON, where the sentence is a member's whole value
        line = line[: ended.start()]
    line = line.lstrip("(<")
    if _OF_A_CASE.match(name) and _WORDS_ALONE.match(line) and not made_up(line):
        return True
    if name.lower() in _COUNTED_NAMES and _OUTCOME.match(line):
        return True
    if _OF_A_FIELD.match(line):
        return True
    first, _, rest = line.partition(" ")
    if _SAID.fullmatch(first.rstrip("\"'}])>")):
        return not rest.strip() or _NEXT.match(rest.lstrip()) is not None
    if sentence := _SENTENCE.match(line):
        return not made_up(sentence["next"])
    if _OF_ANOTHER.match(line) and _A_PHRASE.search(name) is None:
        return True
    if _SIZE.match(line) or _REQUEST.match(line) or (name.lower() == "pin" and _PIN.match(line)):
        return True
    if name == "PASS" and _TEST.match(line):
        return True
    return name.lower() in _COUNTED_NAMES and _COUNTED.match(line) is not None


_TAG = re.compile(
    r"(?:v?\d{1,5}(?:\.\d{1,6}){1,3}(?:[-+_][\w.+-]{0,40})?|v\d{1,4}|(?:sha|git|build|rc|pr)-[0-9a-f]{1,40}|latest|stable|edge|nightly)(?=$|[\s\"'`,;:)\]}>@?#\\]|\.(?:\s|$))"
)
"""A version, a commit or a number of a build, as tags of images are."""
_TAG_OF_PATH = re.compile(
    r"(?:[0-9a-f]{7,12}|[0-9a-f]{40}|\d{1,8}|[a-z]{2,12}(?:-[a-z]{2,12}){0,3}(?:-\d{1,8})?)(?=$|[\s\"'`,;:)\]}>@?#\\])"
)
"""What else is a tag behind a name with a host or a path before it."""
_NETWORK = re.compile(
    r"(?:://|@|\b(?:tcp[46]?|udp[46]?|lookup|host|hosts|upstream|upstream:|connect|connecting|connection|connected|to|address|endpoint|backend|server|dial)[\s\"'=(]{1,3})\Z",
    re.IGNORECASE,
)
_LOOK_BACK = 32


def is_place(name: str, text: str, start: int, after: int) -> bool:
    """Whether `name:` and what stands right behind it are a host with its port, or an image with its tag. A word such as `token` alone is
    neither, as `token:8443` may be a secret; `token-service` is, and so is what has a host or a path before it."""
    if "." in name and _PORT_ALONE.match(text, after):
        return True
    before = text[max(0, start - _LOOK_BACK) : start]
    path = before.endswith("/") and not before.endswith("://")
    compound = "-" in name.strip("-") and not before.endswith("--")
    if (compound or path) and _TAG.match(text, after):
        return True
    if path and (compound or _IMAGE.search(before)) and _TAG_OF_PATH.match(text, after):
        return True
    of_another = compound and not is_secret_name(name.rpartition("-")[2])
    there = of_another or path or _NETWORK.search(before) is not None
    return there and _PORT_OR_NUMBER.match(text, after) is not None


_IMAGE = re.compile(r"[\w-]+\.[\w.-]+(?::\d+)?/(?:[\w.-]+/)*\Z")
_PORT_ALONE = re.compile(r"\d{2,5}(?![\w.-])")
_PORT_OR_NUMBER = re.compile(r"\d{1,5}(?![\w.-])")


_OF_A_SYSTEM = re.compile(
    r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*-(?:service|svc|server|store|controller|manager|operator|provider|worker|api|app|gateway|proxy|webhook|syncer|rotator|exporter|agent|sidecar|job|pod|issuer"
    r"|broker|refresher|injector|client|backend|frontend|processor|scheduler|handler|validator|generator)"
)
_FIRST_WORD = re.compile(r"[A-Za-z]{2,24}[.,;:]?(?:\s|\Z)|\d{3}(?:\s|\Z)")


def is_part_of_a_system(name: str, line: str) -> bool:
    """Whether `name: ` begins what a service says or is said of, which is called after what it deals with: `token-service: connect timeout`."""
    return _OF_A_SYSTEM.fullmatch(name) is not None and _FIRST_WORD.match(line) is not None


def is_told_of_another(text: str, start: int, after: int, behind: str) -> bool:
    """Whether the name is a file's of which an error is told, a package's with its version, or a column's whose number is told."""
    name = text[start : after - len(behind)]
    if behind.strip("\"' \t") in (")=", "=", ":") and name.lower().endswith("_id"):
        return _NUMBER.match(text, after) is not None
    if behind.startswith(('": ', "': ")):
        return (
            text[max(0, start - 1) : start] == "/"
            and _OF_A_FILE.search(name) is not None
            and _SENTENCE_BEHIND.match(text, after) is not None
        )
    if behind == "==":
        return _A_PASSWORD.search(name) is None and _VERSIONS.match(text, after) is not None
    return False


_OF_A_FILE = re.compile(r"\.(?:key|pem|crt|p12|jks|pfx|token|secret|ya?ml|json|conf)\Z")
_SENTENCE_BEHIND = re.compile(r"\w+\(\) |[a-z]{2,16} [a-z]")
_A_PASSWORD = re.compile(r"pass|pwd|pin\b", re.IGNORECASE)
_VERSIONS = re.compile(r"\d{1,5}(?:\.\d{1,6})*(?=$|[\s;,)\"'])")
_NUMBER = re.compile(r"\(?\d{1,12}\)?(?=$|[\s.,;)])")


def is_usage(flag: str, text: str, at: int) -> bool:
    """Whether what stands behind a flag is a usage's word for its value: `[--db-password DB_PASSWORD]`, `--token string   the token`."""
    if _OF_HELP.match(text, at):
        return True
    word = _META.match(text, at)
    return word is not None and flag.upper().replace("-", "_").endswith(word[0].strip("<>").upper())


_OF_HELP = re.compile(r"(?:string|strings|stringArray|file)(?:\]|[ \t]{2,}\w)")
_META = re.compile(r"(?:[A-Z][A-Z_]{2,40}|<[a-z][a-z_-]{2,40}>)(?=[\s\],|)]|\Z)")
