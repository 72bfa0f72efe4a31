"""Reading lines that tell of a rate limit: whose answer it is, whose limit, how long to wait; and those where we limit our own clients.

Used by `remediations.evidence.limits`. A line counts only when it reports an answer: a status in its place with the host that gave it, or
an error as a provider words it. A number 429, a setting with "rate limit" in its name and the status that our own server gave to a client
are none. Lines are a stranger's text: cut before any pattern, and what is taken from them is of few characters. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from app.domain.json import decoded
from app.domain.text import bounded
from remediations.evidence.error_lines import first_time
from remediations.evidence.error_words import ErrorKind
from remediations.evidence.limit_providers import Provider, Whose, by_host, by_shape
from remediations.evidence.natures import kind_of, own_answer

OURS: Final = "ours"
"""The line tells of a limit that we hold our own clients to."""
_LONGEST = 2_000
_LONGEST_WAIT = 31 * 86_400.0

_ACCESS = re.compile(r"\"(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) /[^\"]{0,1000}\"?\s+(?:-> )?429\b")
"""A server's access log: the path without a host, then the status that it gave."""
_OWN_LIMIT = re.compile(
    r"limiting (?:requests|connections)(?:, dry run)?(?:, excess| by zone)|\blocal_rate_limited\b"
    r"|\bratelimit \d+ per [^(]{1,40}\([^)]{1,64}\) exceeded at endpoint",
    re.IGNORECASE,
)
_CLIENT = re.compile(
    r"\b(?:remote_addr|remote_ip|client_ip|client_addr|downstream_remote_address)="
    r"|\b(?:remote|client|peer|src|source|x_forwarded_for)=[\"']?\d{1,3}(?:\.\d{1,3}){3}\b"
    r"|\b(?:path|uri|url|route|request_uri)=[\"']?/(?=.{0,1900}\bmethod=)|\bmethod=(?=.{0,1900}\b(?:path|uri|url|route|request_uri)=[\"']?/)"
)
"""Who asked us, or what of ours was asked for: a request that we answered."""
_STRANGERS = "text|prompt|query|question|input|user_?agent|referr?er|http_referer"
"""Names of fields whose value somebody outside writes."""
_TOLD_BY_STRANGERS = re.compile(
    rf"\b(?:{_STRANGERS})[=:]\s?(?:\"[^\"]{{0,2000}}\"?|'[^']{{0,2000}}'?|\S+)", re.IGNORECASE
)
_STRANGER = re.compile(rf"(?:{_STRANGERS})", re.IGNORECASE)
_SETTINGS = frozenset({"retry", "retries", "settings", "config", "options"})
"""Names of objects that say what is set, not what happened."""
_IN_A_QUERY = re.compile(r"[?&][\w.-]{1,40}=https?://\S{1,300}")
_STATUS = re.compile(
    r"(?:HTTP/[\d.]+\"?\s+|\bHTTP[ :]|(?<!unknown )(?<!invalid )\bstatus(?:[_ ]?code)?[\"']?\s{0,4}[:=]?\s{0,4}[\"']?|\bError code:\s{0,4}|\berror '"
    r"|\bcode[\"']?\s{0,4}[:=]\s{0,4}[\"']?|(?<!line )(?<!column )\()(?P<status>429|500|502|503|504|529)\b(?!\.\d| (?:items|rows|records|bytes|lines|ms|times)\b)"
    r"|\b(?P<bare>429) (?:Too Many Requests|RESOURCE_EXHAUSTED|Client Error|Resource (?:has been )?exhausted|Quota exceeded)",
    re.IGNORECASE,
)
_ERROR = re.compile(
    r"(?:(?<!\w)[\"']?(?:code|type|error|reason|status)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)(?:rate_limit(?:_exceeded|_error)?|rateLimitExceeded"
    r"|insufficient_quota|billing_hard_limit_reached|overloaded_error|RESOURCE_EXHAUSTED|too_many_requests)(?![\w-])"
    r"|(?<!raise )(?<!except )\b(?:RateLimitError|RateLimitExceeded|TooManyRequests(?:Exception|Error)?|ResourceExhausted"
    r"|ThrottlingException|OverloadedError)(?:: |\) when calling )"
    r"|\bAPI rate limit exceeded\b|\bRate limit reached for\b|exceeded a secondary rate limit|\berror code: 1015\b"
    r"|\bcredit balance is too low\b|Too many requests hit the API too quickly|have exceeded (?:token|call|request) rate limit of your current",
    re.IGNORECASE,
)
_URL = re.compile(
    r"https?://(?:[^\s/@\"']{0,200}@)?(?P<host>[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8})(?::\d{1,5})?(?P<path>/[^\s\"'?#)\\]{0,200})?"
)
_HOST = re.compile(
    r"\b(?:host|hostname|server|upstream|peer)=?[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?P<host>[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8})",
    re.IGNORECASE,
)
_DOCS = re.compile(
    r"^(?:docs|platform|help|support|status|console|developers?)\.|^ai\.google\.dev$|^cloud\.google\.com$|^aka\.ms$"
)
"""Hosts that messages send their reader to: nobody's answer."""

_SECONDS = re.compile(
    r"\bretry[-_ ]?after(?P<ms>-ms)?[\"']?\s{0,4}[:=]?\s{0,4}[\"']?(?P<n>\d{1,9}(?:\.\d{1,9})?)(?!\d|:|-\d)(?P<unit>\s?(?:ms|milliseconds))?",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\bretry-after[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<date>[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)",
    re.IGNORECASE,
)
_SPAN = r"(?:(?P<{0}d>\d{{1,3}})d)?(?:(?P<{0}h>\d{{1,4}})h)?(?:(?P<{0}m>\d{{1,6}})m(?!s))?(?:(?P<{0}s>\d{{1,8}}(?:\.\d{{1,9}})?)s)?(?:(?P<{0}x>\d{{1,9}}(?:\.\d{{1,9}})?)ms)?"
_AGAIN = re.compile(
    r"\b(?:try again|retry) in (?=\d)" + _SPAN.format("a") + r"(?:\s?(?P<word>seconds?|minutes?|hours?))?",
    re.IGNORECASE,
)
_DELAY = re.compile(r"\bretryDelay[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?=\d)" + _SPAN.format("r"), re.IGNORECASE)
_RESET = re.compile(
    r"\b(?:x-)?(?:anthropic-)?ratelimit-(?:[a-z]{1,12}-){0,2}reset(?:-[a-z]{1,12})?[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<value>[^\s\"',;}\]]{1,40})",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"1\d{9}(?:\.\d+)?")
_RESET_SPAN = re.compile(_SPAN.format("z"))
_IN_WORDS = re.compile(
    r"\b(?:try again|retry|wait)(?: after| in)? (?P<n>\d{1,8}(?:\.\d{1,9})?) ?(?P<unit>seconds?|minutes?|hours?)\b",
    re.IGNORECASE,
)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0}

_WHOSE: Final = (
    (Whose.CREDIT, re.compile(r"\binsufficient_quota\b|\bbilling_hard_limit_reached\b|\bcredit balance is too low\b", re.IGNORECASE)),
    (Whose.PROVIDER, re.compile(
        r"overloaded|\b529\b|at capacity|high demand|heavy load|temporarily (?:unable|unavailable)|resource exhausted\. please try again later"
        r"|resource has been exhausted \(e\.g\. check quota\)", re.IGNORECASE)),
    (Whose.ADDRESS, re.compile(r"exceeded for (?:\d{1,3}\.){3}\d{1,3}|\byour IP\b|\berror code: 1015\b|being rate limited", re.IGNORECASE)),
    (Whose.ACCOUNT, re.compile(
        r"organi[sz]ation|\bproject\b|per_?project|\baccount\b|subscription|workspace|pricing tier|current quota|your plan and billing"
        r"|for (?:user|installation) ID", re.IGNORECASE)),
    (Whose.KEY, re.compile(r"\b(?:this|your|the|per) (?:api[ _-]?key|access key|access token|api token|credential)\b", re.IGNORECASE)),
)  # fmt: skip
_LIMITS: Final = (
    re.compile(
        r"on (?P<limit>[a-z ]{3,40} per [a-z]{3,6}(?: \([A-Z]{2,6}\))?: Limit [\d,]{1,15})", re.IGNORECASE
    ),
    re.compile(r"rate limit of (?P<limit>[\d,]{1,15} [a-z ]{3,30} per [a-z]{3,6})", re.IGNORECASE),
    re.compile(
        r"exceeded (?P<limit>(?:token|call|request) rate limit of your current [\w ]{1,30} pricing tier)",
        re.IGNORECASE,
    ),
    re.compile(r"quotaId[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<limit>[\w-]{3,100})"),
    re.compile(r"Quota exceeded for (?P<limit>[\w./-]{3,120})"),
)
_MODEL = re.compile(
    r"\bRate limit reached for (?P<a>[\w.:/-]{2,64})|\b(?:base )?model[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?P<b>[\w.:/-]{2,64})",
    re.IGNORECASE,
)
_OPERATION = re.compile(
    r"when calling the (?P<a>\w{2,40}) operation|Requests to the (?P<b>\w{2,60}) Operation"
)


@dataclass(frozen=True, slots=True)
class Limited:
    """One answer of a provider that limits us, or, with `whose` PROVIDER, that it is overloaded or broken. `provider` is its name
    or its host; `until` is when it said to try again, told by the line's own time; `wait` the seconds that it said, where it said
    them. `pod` is whose log has it. Empty texts where nothing tells."""

    provider: str
    title: str
    whose: Whose
    at: datetime | None
    wait: float | None = None
    until: datetime | None = None
    limit: str = ""
    model: str = ""
    endpoint: str = ""
    pod: str = ""


def limit_in(line: str) -> Limited | str | None:
    """What the line tells: an answer of a provider, OURS, or None."""
    if not line or line[0] in " \t" or not _HINT.search(line):
        return None
    at, text = first_time(line), _text(line)
    status = _STATUS.search(text)
    number = (status["status"] or status["bare"]) if status else ""
    if _OWN_LIMIT.search(text) or _ACCESS.search(text) or (number == "429" and _CLIENT.search(text)):
        return OURS
    if (own := own_answer(text)) is not None:
        return OURS if own == 429 else None
    if kind_of(text) is ErrorKind.CODE:  # the words are a name in our own code
        return None
    error = _ERROR.search(text)
    if error is None and not number:
        return None
    provider, host = by_shape(text), _host(text)
    answered = _host(text[error.end() :]) if error else ""
    if answered:  # the client library of one provider speaks to others too
        provider, host = by_host(answered), answered
    provider = provider or by_host(host)
    failing = number.startswith("5")
    if (failing and error is None and provider is None) or (error is None and provider is None and not host):
        return None
    return _limited(text, at, (provider, host), failing=failing)


_HINT = re.compile(
    r"429|50[0234]|529|1015|limit|thrott|quota|exhausted|too.?many|overloaded|credit balance", re.IGNORECASE
)
"""What every line of interest has, looked for before anything else."""


def _limited(text: str, at: datetime | None, who: tuple[Provider | None, str], *, failing: bool) -> Limited:
    provider, host = who
    said = next((whose for whose, pattern in _WHOSE if pattern.search(text)), None)
    whose = said or (provider.whose if provider else Whose.UNKNOWN)
    wait, until = _wait(text, at)
    model, operation = _MODEL.search(text), _OPERATION.search(text)
    limit = next((m["limit"].rstrip(".,") for p in _LIMITS if (m := p.search(text))), "")
    return Limited(
        provider=provider.name if provider else host or "unknown",
        title=provider.title if provider else host or "an unknown provider",
        whose=Whose.PROVIDER if failing else whose,
        at=at,
        wait=wait,
        until=until,
        limit=limit,
        model=(model["a"] or model["b"]).rstrip(".:,") if model else "",
        endpoint=(operation["a"] or operation["b"]) if operation else _path(text) if provider else "",
    )


def _text(line: str) -> str:
    """The line, or the names and values of its JSON record, as one text of bounded length, without what strangers wrote."""
    if line.startswith("{"):
        try:
            record = decoded(bounded(line, 4 * _LONGEST))
        except ValueError:
            record = None
        if isinstance(record, dict):
            line = " ".join(_pieces(record, 3))
    return _IN_A_QUERY.sub("", _TOLD_BY_STRANGERS.sub("", bounded(line, _LONGEST)))


def _pieces(record: Mapping[str, Any], depth: int) -> Iterator[str]:
    for name, value in record.items():
        if _STRANGER.fullmatch(name) or name in _SETTINGS:
            continue
        if isinstance(value, dict) and depth:
            yield from _pieces(value, depth - 1)
        elif isinstance(value, str | int | float):
            yield f"{name}={value}"


def _host(text: str) -> str:
    """The first host that is no page of documentation."""
    found = [m["host"].lower() for pattern in (_URL, _HOST) for m in pattern.finditer(text)]
    return next((h for h in found if not _DOCS.search(h)), "")


def _path(text: str) -> str:
    paths = [m["path"] for m in _URL.finditer(text) if not _DOCS.search(m["host"].lower())]
    return (paths[0] or "").rstrip(":,.;")[:80] if paths else ""


def _wait(text: str, at: datetime | None) -> tuple[float | None, datetime | None]:
    """What the provider says of when to try again: for how long, or at which time its limit begins anew."""
    if (dated := _DATE.search(text)) is not None:
        return _between(at, parsedate_to_datetime(dated["date"]).astimezone(UTC))
    wait = _told(text)
    if wait is None:
        return _between(at, _reset(text))
    if not 0 <= wait <= _LONGEST_WAIT:
        return None, None
    return wait, at + timedelta(seconds=wait) if at else None


def _between(at: datetime | None, until: datetime | None) -> tuple[float | None, datetime | None]:
    """The wait from the line's time to that moment; none where it lies before it or too far off."""
    if until is None or at is None:
        return None, until
    wait = (until - at).total_seconds()
    return (wait, until) if 0 <= wait <= _LONGEST_WAIT else (None, None)


def _told(text: str) -> float | None:
    if found := _SECONDS.search(text):
        number = float(found["n"])
        if found["ms"] or found["unit"]:
            return number / 1000
        words = _IN_WORDS.search(text)
        return float(words["n"]) * _UNITS[words["unit"][0].lower()] if words else number
    if found := _DELAY.search(text):
        return _span(found, "r")
    if found := _AGAIN.search(text):
        if words := _IN_WORDS.search(text):
            return float(words["n"]) * _UNITS[words["unit"][0].lower()]
        return _span(found, "a")
    spans = [m for v in _RESET.finditer(text) if (m := _RESET_SPAN.fullmatch(v["value"])) and m[0]]
    return max((_span(m, "z") for m in spans), default=None)


def _span(found: re.Match[str], prefix: str) -> float:
    sizes = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "x": 0.001}
    return sum(size * float(found[f"{prefix}{unit}"] or 0) for unit, size in sizes.items())


def _reset(text: str) -> datetime | None:
    """The latest moment at which one of the limits begins anew, from headers that tell a time."""
    times = []
    for found in _RESET.finditer(text):
        value = found["value"]
        try:
            if _EPOCH.fullmatch(value):
                times.append(datetime.fromtimestamp(float(value), UTC))
            elif "T" in value:
                parsed = datetime.fromisoformat(value)
                times.append((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC))
        except (ValueError, OverflowError, OSError):
            continue
    return max(times, default=None)
