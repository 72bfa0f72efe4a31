"""The classes of secrets: in which ways they are written, and where the value stands in each.

Used by `app.domain.redact`. Every expression runs on RE2 and every reader walks forward, so that a stranger's text costs time in
proportion to its length. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.domain import secret_names as names
from app.domain import secret_places as places
from app.domain import secret_statements as statements
from app.domain.linear import Linear
from app.domain.secret_commands import COMMANDS, secrets_of_command
from app.domain.secret_dumps import DUMPS
from app.domain.secret_forms import FORMS
from app.domain.secret_oracle import ORACLE
from app.domain.secret_pairs import PAIRS
from app.domain.secret_references import (
    Locate,
    Refers,
    is_filled_in,
    is_of_a_password,
    stands_for_another,
    unless_it_refers,
)
from app.domain.secret_refusals import refused
from app.domain.secret_sentences import SENTENCES, refused_beside
from app.domain.secret_tables import TABLES
from app.domain.secret_tokens import LONG_WORD, TOKENS
from app.domain.secret_tools import HERE, PIPED
from app.domain.secret_values import read_quoted, read_tuples, read_value

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SecretClass:
    """One way in which secrets are written."""

    name: str
    pattern: Any
    locate: Locate
    far: bool = False
    """Whether it may depend on what stands far behind the match that something is a secret."""


_Q = r"""(?:\\{0,16}["'])"""
_NAME = r"(?P<name>[A-Za-z_.][\w.-]*)"


_PARAMETERS = (
    r"key|code|sig|sign|signature|auth|token|jwt|sas|otp|assertion|ticket|pw|hmac|samlresponse|samlrequest|hash|h|k|mac|digest|checksum|nonce"
    r"|verify|verification|verifier|confirm|confirmation|activate|activation|invite|invitation|magic|reset|unlock|unsubscribe|access|grant|proof|login_?hash"
    r"|hdnts|hdnea|sess|session|sid|sso|challenge|response_code|cred|creds|x-hub-signature(?:-256)?"
    r"|x-(?:amz|goog)-(?:signature|security-token|credential)"
)
_SQL = r"(?i)\b(?:password|identified(?:\s+with\s+\S{1,64})?\s+(?:by|as)(?:\s+password)?|set\s+password\b[^\n;=']{0,80}?(?:\s+for\s+[^\n;=]{1,80})?=)(?:\s+|\s*[(]\s*)(?:password\s*\(\s*)?[EN]?"
_SAID = r"(?i)\b(?:password|passwd|passphrase|passcode|pwd|pin|secret|token|(?:api|access|secret|private|integration|routing|signing|encryption|license|storage|account)[ -]key)s?(?: (?:for|of|on|at) (?:(?:the|a|user|account|role|host|database|db) ){0,2}\S{1,64}(?: (?:account|user|role|host|database))?)?"
_KINDS = r"(?:api|access|secret|private|signing|encryption|decryption|master|account|license|unseal|root|initial root|shared|storage|unlock|recovery|activation|backup|client|webhook|hmac|app|consumer|bearer|refresh|session|admin|service)"
_TONGUES = f"(?:{'|'.join(names.TONGUES)})"
_PASSWORD_IN_URL = r"(?:[^\s\"'\\<>]|[\"'<>\\][A-Za-z0-9])*"


_FAR = frozenset({refused, refused_beside, statements.told_of, secrets_of_command})
"""Readers that bound what they read themselves."""


_REFERS: dict[str, Refers] = {
    **dict.fromkeys(("password in a URL", "password of a Go DSN", "password of an Oracle DSN", "password of a user", "token in a URL"), is_filled_in),
    **dict.fromkeys(("command", "word of a tool", "Redis", "said"), is_filled_in),
    **dict.fromkeys(("SQL", "refused", "sentence"), is_of_a_password),
}  # fmt: skip
"""What stands for a value that is elsewhere, where that is not whatever any language writes."""


def _class(name: str, pattern: str, locate: Locate = places.whole, *, far: bool = False) -> SecretClass:
    return SecretClass(
        name,
        Linear(pattern),
        unless_it_refers(locate, _REFERS.get(name, stands_for_another)),
        far or locate in _FAR,
    )


CLASSES: tuple[SecretClass, ...] = (
    _class(
        "armour",
        r"(?is)-{3,5} ?BEGIN [A-Z0-9 _]*(?:PRIVATE[ _]KEY|PGP|OPENVPN STATIC KEY)[A-Z0-9 _]*-{3,5}.*?(?:-{3,5} ?END [A-Z0-9 _]*(?:PRIVATE|PGP|STATIC)[A-Z0-9 _]*-{3,5}|\z)"
        r"|---- BEGIN SSH2 [A-Z ]*PRIVATE KEY ----.*?(?:---- END|\z)|PuTTY-User-Key-File-\d.*"
        r"|(?:[A-Za-z0-9+/=]{20,}(?:\s+|\\n))+-----END [A-Z ]*PRIVATE KEY-----",
    ),
    _class(
        "password in a URL",
        rf"""(?i)\b[a-z][a-z0-9+._-]*://[^\s:/"']*:(?P<secret>(?:[^\s"'\\<>@]|[\\<>][a-z0-9]){_PASSWORD_IN_URL})@""",
        statements.in_url,
    ),
    _class("password in a URL", rf"""(?:^|[\s"'=(\[`{{>a-z])//[^\s:/@"']+:(?P<secret>{_PASSWORD_IN_URL})@""", statements.in_url),
    _class("password in a URL", r"""(?i)\b[a-z][a-z0-9+._-]*://[^\s:/@"']*:(?P<secret>[^\s:/@"'\[\]]+?)(?:\x{2026}|\.\.\.)?\z""", places.cut_off),
    _class("password of a Go DSN", r"""\b[\w.-]+:(?P<secret>[^\s"']+)@(?:(?:tcp|udp)[46]?|unix|cloudsql|mysql)?\("""),
    _class("password of an Oracle DSN", r"""\b\w+/(?P<secret>[^\s"'@/]+)@//"""),
    *(_class("password of an Oracle DSN", form) for form in ORACLE),
    _class(
        "password of a user",
        r"""(?:^|[\s"'=(,\[`{>])(?P<user>[\w.+-]{1,64}):(?P<secret>[^\s"'/@:,;][^\s"'@]*)@(?P<host>[A-Za-z][\w-]*(?:\.[\w.-]+)?(?::\d{2,5})?)""",
        places.of_a_user,
    ),
    _class("token in a URL", r"""(?i)\b[a-z][a-z0-9+._-]*://(?P<secret>[^\s:/@"'\\<>?#]+)@""", places.lone_userinfo),
    _class(
        "webhook",
        r"(?i)hooks\.slack(?:-gov)?\.com/(?P<secret>(?:services|workflows|triggers|actions)/[\w/-]+)",
    ),
    _class("webhook", r"(?i)discord(?:app)?\.com/api/(?:v\d+/)?webhooks/(?P<secret>\d+/[\w-]+)"),
    _class("webhook", r"(?i)(?:webhook\.office|outlook\.office)\.com/(?P<secret>webhook\w*/[\w@/-]+)"),
    _class("webhook", r"(?i)events\.(?:eu\.)?pagerduty\.com/(?:x-ere|integration)/(?P<secret>[\w-]+)"),
    _class("webhook", r"(?i)(?:alert\.victorops\.com/integrations/generic/\d+/alert|hc-ping\.com|healthchecks\.io/ping|nosnch\.in|cronitor\.link/p|heartbeat\.uptimerobot\.com|/api/v\d/heartbeat|/api/push|/webhook(?:-test)?s?)/(?P<secret>[0-9a-f]{8}-[0-9a-f-]{27}|[\w-]{10,})", statements.of_a_webhook),
    _class("webhook", r"(?i)https?://[^\s/\"']+/(?:[\w-]+/){0,3}hooks?/(?:catch/)?(?P<secret>[A-Za-z0-9][\w/-]{11,})"),
    _class(
        "header",
        rf"""(?i)\b(?:(?:http_)?(?:proxy[-_])?authorization|(?:set-)?cookie2?){_Q}?(?:[ \t]*[=:]|[ \t]*,[ \t]*(?:\[[ \t]*)?b?["'])[ \t]*|\b[\w-]+-signature:[ \t]*""",
        places.header_of,
    ),
    _class(
        "scheme",
        r"(?:\b[Bb](?:earer|EARER)\s+|\bBasic\s+|\bToken\s+token=)(?P<secret>[\w.~+/=-]*[A-Z0-9=_.~+/-][\w.~+/=-]*)",
        statements.of_a_scheme,
    ),
    _class(
        "name and value",
        rf"(?i)\b(?:name|key|id|variable|k){_Q}?[ \t]*[:=][ \t]*{_Q}?{_NAME}{_Q}?(?:\s*[,;]?\s*(?:#[^\n]*\n\s*)?|[ \t]*[,;][^{{}}\[\]\n]{{0,80}}?[,;][ \t]*){_Q}?\b(?:value|val|v){_Q}?\s*[:=]\s*",
        places.named_value,
    ),
    _class("value and name", rf"(?i)\bvalue{_Q}?\s*[:=]\s*", statements.value_then_name),
    _class("tuple", rf"""[(\[]\s*[bu]?{_Q}{_NAME}{_Q}\s*,\s*""", places.named_value),
    _class(
        "XML element",
        r"<(?:[\w-]+:)?(?P<name>[\w.-]+)(?:\s[^<>]*)?>",
        statements.to_end_of_element,
    ),
    _class("XML attribute", r"<(?P<tag>[\w:.-]+)\s[^<>]*>", statements.attribute),
    _class(
        "XML entry",
        rf"""(?i)<[\w:.-]+\s[^<>]*?(?:name|key|id)\s*=\s*{_Q}(?P<name>[\w.-]+){_Q}[^<>]*>\s*(?:<\w+>\s*)?(?P<secret>[^<\s][^<]*)</""",
        places.named_group,
    ),
    _class(
        "XML entry",
        r"(?i)<(?:key|name)>\s*(?P<name>[\w.-]+)\s*</(?:key|name)>\s*<\w+>\s*(?P<secret>[^<\s][^<]*)</",
        places.named_group,
    ),
    _class("SQL", _SQL + r"""(?P<open>["'])""", statements.sql_literal),
    _class("SQL", r"(?i)\b(?:password|identified\s+by)\s+(?P<secret>\$\w*\$[^$]+\$(?:[^$]+\$)?(?:\w*\$)?|U&'[^']*')"),
    _class("SQL", r"(?i)\b(?:create|alter|grant)\b[^\n;]*?\bidentified\s+by\s+", statements.unless_said),
    _class("SQL", r"(?i)\bidentified\s+(?:via|with)\s+\S{1,64}\s+(?:using|as|by)\s+'(?P<secret>[^']+)'"),
    _class(
        "SQL",
        r"""(?i)\binsert\s+into\s+(?:"[^"\n]{1,100}"|\S{1,200}?)\s*\((?P<columns>[^()]*)\)\s*(?:values\s*\(|select\s)|\bcopy\s+\S{1,200}\s*\((?P<copied>[^()]*)\)\s+from\s+stdin[^\n]*\n""",
        statements.columns,
    ),
    _class("SQL", r"(?i)\b(?:pgp_sym_(?:en|de)crypt\w*|crypt)\s*\([^()',]*,\s*'(?P<secret>[^']+)'|\bcrypt\s*\(\s*'(?P<first>[^']+)'", statements.crypt),
    _class(
        "SQL",
        rf"""(?i){_NAME}["`]?\s*(?:\s(?:not\s+)?(?:in|i?like|between|similar\s+to|to|is\s+(?:not\s+)?distinct\s+from)\b|<>|!?~\*?|[<>]=?|@>)\s*(?P<open>\(|[EN]?')""",
        statements.compared,
    ),
    _class("SQL", r"(?i)\bparameters: \$1 = ", places.rest_of),
    _class("SQL", r"(?i)\bfailing row contains ", lambda match, text: read_tuples(text, match.end()) if text[match.end() : match.end() + 1] == "(" else None),
    _class("SQL", r"(?i)\bduplicate entry '(?P<secret>[^'\n]+)' for key '(?P<name>[\w.]+)'", places.named_group),
    _class(
        "assignment",
        rf"{_NAME}{_Q}{{0,2}}[\])]?(?:\[\w*\])?(?:[ \t]*(?:/\*[^*\n]{{0,40}}\*/)?[ \t]*(?:(?:\|\||&&|\?\?|[:?+~!])?={{1,3}}>?|->|→|::?)[ \t]*|\r?\n[ \t]*:[ \t])",
        places.assigned,
    ),
    _class("Redis", r"(?i)\b(?:requirepass|masterauth|masteruser)[\"']?(?:[ \t]+|\r?\n[ \t]*\d+\)[ \t]*)", statements.unless_said),
    _class("Redis", r"""(?m)(?:(?:^|[>\]"'\[+]\s*)|\b(?P<known>HELLO\s+\d|MIGRATE\s[^\n]*?)\s+)AUTH2?["']?[ \t,]+""", statements.redis),
    _class("Redis", r"(?:\bAUTH\r?\n|\"AUTH\"\r?\n)(?P<secret>(?:(?:\$\d+\r?\n[^\r\n]*|[ \t]*\d+\)[^\n]*)(?:\r?\n|\z)){1,2})"),
    _class("Redis", r"(?im)(?:\bACL\s+SETUSER\s|^\s*user\s+\S+\s+(?:on|off|resetpass|sanitize-payload)\b)[^\n]*?[\s\"'][<>#](?P<secret>[^\n]+)"),
    _class("Redis", r"\buser\s+\S+\s+(?:on|off|resetpass|sanitize-payload)\s[^\n]*?[\s\"']?>(?P<secret>[^\s>\"']{4,})"),
    _class("flag", rf"""\B--?{_NAME}(?:(?P<flow>[ \t]*,\s*)|[ \t]*\\{{1,8}}\r?\n[ \t]*|[ \t]+|\x00|\\0|(?P<below>{_Q}?,?[ \t]*\r?\n[ \t]*(?:[ \t]|-[ \t]+))|{_Q}[ \t]*,\s*|(?P<spaced>{_Q}[ \t]+{_Q}))""", places.flag_of),
    *(_class(*form) for form in COMMANDS),
    _class("word of a tool", r"(?i)\bconfig(?:ure)?\s+set\s+(?:\S+:)?(?P<name>[\w.-]+)\s+(?P<secret>[^\s-]\S*)", places.last_word),
    _class("literal of a tool", r"--from-literal[= ]['\"]?[\w.-]+=", lambda match, text: read_value(text, match.end())),
    _class("given to a tool", PIPED),
    _class("given to a tool", HERE, places.after_what),
    _class("call", r"(?i)\b(?:\w*auth|login|authenticate|createuser|connect|setcredentials)\s*\(\s*(?:\\{0,31}[\"'][^\"'\n]{0,100}\\{0,31}[\"']\s*,\s*){1,2}", lambda match, text: read_quoted(text, match.end())),
    _class("call", r"\bHTTPBasicAuth\s*\([^(),\n]{1,100},\s*", lambda match, text: read_value(text, match.end())),
    _class("call", r"\b(?:Password|SecretStr|Secret|SecretBytes|Sensitive|Token|Redacted)\s*(?:\(|\{\s*(?:value|inner|0):)\s*", lambda match, text: read_quoted(text, match.end())),
    _class("word of a file", r"(?:\bConvertTo-SecureString\s+|::add-mask::|\bsnmp-server community\s+|\benable (?:secret|password)\s+\d{1,2}\s+|[:\s]PSK\s+|\bstats auth [^\s:]+:|\bIDENTIFY\s+)", statements.given),
    _class("word of a file", r"(?i)\b(?:user(?:name)?|login|account)\s+(?P<user>\S{1,100})\s+(?:insecure-)?passw(?:or)?d[ \t]+(?:\d[ \t]+)?", statements.of_a_login),
    _class("word of a file", r"(?m)^(?:PASS|[A-Za-z0-9]+ LOGIN \S+)[ ]", statements.strange),
    _class(
        "word of a file",
        r"""(?:^|[\s"'=(\[`{>])(?:[A-Za-z*][\w.*-]*|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}):(?:\d{2,5}|\*):(?P<database>[\w.*-]+):(?P<user>[\w.*@-]+):(?P<secret>[^\s"'`]+)""",
        statements.line_of_pgpass,
    ),
    _class("word of a file", rf"""{_Q}(?:d|k|p|q|dp|dq|qi){_Q}\s*:\s*\\{{0,31}}"(?P<secret>[\w-]{{20,}})"""),
    _class("two columns", r"(?m)^[ \t|]*(?:(?:ENV|ARG|export|set|setx|env)[ \t]+)?(?P<name>[A-Za-z_][\w.-]*)(?P<between>[ \t]+|[ \t]*\|[ \t]*)(?P<secret>[^\s|]+)[ \t|]*$", statements.column_of_two),
    _class("query parameter", rf"""(?i)[?&;#](?:amp;)?(?:{_PARAMETERS})=(?P<secret>[^&\s"'#<>\\]+)""", places.parameter),
    _class("token", TOKENS),
    _class("said", _SAID + r"""\s+(?:(?:(?:is|was|were|has been)\s+)?(?:(?:re)?set|changed|updated|rotated)\s+to|is|was|now|were|to)(?: now| set to)?:?\s+""", places.said_of),
    _class(
        "said",
        r"(?i)\b(?:invalid|incorrect|wrong|bad|expired|with|using|temporary|new|your|reset|generated)\s+(?:the\s+)?"
        r"(?:api[ -]?key|access[ -]?key|token|password|passphrase|secret|credentials?)(?:\s+(?:provided|generated|given|created|set))?\s*:?\s*",
        places.made_up_word,
    ),
    _class("said", r"""(?i)\b(?:token|api[ -]?key|password|passphrase)(?:\s+authentication)?(?:\s+with)?\s+""", places.quoted_phrase),
    _class("said", r"(?i)\b(?:token|api[ -]?key|apikey|passw(?:or)?d|passwd|pwd|passphrase|passcode)['\"]?\s+(?P<secret>[\w.~+/=!@#$%^&*-]{8,})", places.made_up_behind),
    _class("said", rf"(?i)\b{_KINDS}[ -](?:secret|key|token|password|passphrase)(?: \d)?\s+(?P<secret>[\w.~+/=-]{{9,}})", places.mixed),
    _class("said", rf"(?i)\b{_KINDS} (?:key|token|secret|passphrase|password|code)s?(?: \d)?[ \t]*[:=][ \t]*", places.told),
    _class("said", rf"(?i){_TONGUES}\\{{0,8}}[\"']?\s*[:=\x{{ff1a}}]\s*", places.told),
    _class("said", r"(?i)\b(?:otp|one-time|verification|2fa|mfa)\s+(?:code|password|passcode|pin)(?:\s+is|:)?\s*(?P<secret>\d{4,10})\b"),
    _class("phrase", r"(?i)\b(?:seed|recovery|mnemonic)\s+phrase\s*[:=]\s*", places.rest_of),
    _class("long word", LONG_WORD, statements.long_word),
    *(_class(*form) for form in (*FORMS, *SENTENCES, *DUMPS, *PAIRS)),
    *(_class(*form, far=True) for form in TABLES),
)  # fmt: skip
"""In the order in which they are looked for: what holds a whole block first, what needs a guess last."""
