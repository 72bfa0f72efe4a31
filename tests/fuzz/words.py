"""Fuzz targets of text: log lines, what is redacted, what is shown in Slack and in logs, and the policy's little languages."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog

from app.domain.errors import BadInput
from app.domain.quantities import (
    duration_text,
    parse_duration,
    parse_limits,
    parse_percent,
    parse_wall_time,
    wall_time_text,
)
from app.domain.redact import MAX_TEXT, REDACTED, annotation, redact, redact_value
from app.domain.target import Target
from app.domain.text import CONTROL, bounded, visible
from app.domain.units import say_memory
from app.domain.urls import fault_in
from app.intake.auth import parse_tokens
from app.kube.manifest import format_memory, parse_cpu, parse_memory
from app.notify.text import Ref, Style, Who, clean, cut, line, mrkdwn, plain
from app.notify.text import Span as Piece
from app.observe import logs
from app.policy.faults import PolicyInvalid
from app.policy.load import load_policy
from app.policy.matchers import parse_when
from remediations import CATALOGUE
from remediations.evidence.error_lines import errors_in
from tests.fuzz.target import FuzzTarget, parts_of, text_of

CANARY = "CaNaRy7Zq9"
_PLANTED = (
    f"password={CANARY}",
    f'{{"api_key": "{CANARY}"}}',
    f"postgres://app:{CANARY}@db/x",
    f"Authorization: Bearer {CANARY}AbCdEf012345",
    f"ALTER USER x PASSWORD '{CANARY}'",
)


def _redaction(data: bytes) -> None:
    text = text_of(data)
    shown = redact(text)
    shown.encode()
    # [redacted] is longer than some secrets, and half a surrogate pair becomes six characters.
    assert len(shown) <= 20 * MAX_TEXT
    assert len(annotation("summary", text, 2_000)) <= 2_000
    redact_value({"a": text, text[:40]: [text]})
    around = text[:200].replace("\n", " ").replace("\r", " ").replace(CANARY, "")
    for planted in _PLANTED:
        # Whatever stands in the lines before and behind, a line of its own is read as such.
        told = redact(f"{around}\n{planted}\n{around}")
        assert CANARY not in told or REDACTED not in redact(planted), (planted, around)


_FORMATS = re.compile(r"[*`]|<(?!!date\^|https?://|@[UW])")


def _shown(data: bytes) -> None:
    first, second = map(text_of, parts_of(data, 2))
    assert CONTROL.search(visible(first)) is None
    assert CONTROL.search(clean(first)) is None
    assert "\n" not in clean(first)
    assert len(bounded(first, 100)) <= 102
    for pieces in (line(first), line("x ", first, second), line(Who(first)), line(Ref(first, second))):
        told = mrkdwn(pieces)
        assert _FORMATS.search(told) is None, told
        assert CONTROL.search(told) is None
        assert CONTROL.search(plain(pieces)) is None
    for style in Style:
        assert len(mrkdwn(cut(line(Piece(first, style), second), 50))) <= 60


def _logged(data: bytes) -> None:
    """One event is one line of JSON, without anything that a terminal would obey."""
    stream = io.StringIO()
    logs.configure(stream, as_json=True)
    name, value = map(text_of, parts_of(data, 2))
    structlog.get_logger("fuzz").info(
        "event", value=value, path=name, **{f"k_{len(name)}": [name, {name: value}]}
    )
    logging.getLogger("library").warning("%s happened", value)
    told = stream.getvalue()
    assert told.count("\n") == 2
    assert all(json.loads(each) for each in told.splitlines())
    assert CONTROL.search(told) is None


def _error_lines(data: bytes) -> None:
    for error in errors_in(text_of(data).splitlines()):
        assert len(error.key) <= 160
        assert error.at is None or error.at.tzinfo is not None
        assert error.judged


def _matchers(data: bytes) -> None:
    rule, value = map(text_of, parts_of(data, 2))
    try:
        found = parse_when(rule)
    except ValueError:
        return
    found.matches({"alertname": value})
    again = parse_when([",".join(map(str, each)) for each in found.lists])
    assert again.lists == found.lists
    assert found.covers(again)


def _policy(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        load_policy({"a.yaml": text}, CATALOGUE)
    except PolicyInvalid as refused:
        assert refused.faults
        str(refused).encode("utf-8", "surrogateescape")


def _units(data: bytes) -> None:
    text = text_of(data)
    pairs: tuple[tuple[Callable[[str], Any], Callable[[Any], str]], ...] = (
        (parse_duration, duration_text),
        (parse_percent, str),
        (parse_limits, str),
        (parse_wall_time, wall_time_text),
    )
    for parse, write in pairs:
        try:
            found = parse(text)
        except ValueError:
            continue
        assert parse(write(found)) == found
        if isinstance(found, timedelta):
            assert timedelta(0) <= found <= timedelta(days=366)


def _quantity(data: bytes) -> None:
    text = text_of(data)
    try:
        memory = parse_memory(text)
    except BadInput as error:
        assert len(error.message) < 400
        return
    parse_cpu(text)
    say_memory(memory)
    if memory >= 0:
        assert parse_memory(format_memory(memory)) == memory


def _tokens(data: bytes) -> None:
    text = text_of(data)
    fault_in(text)
    fault_in(f"postgresql://{text}")
    with contextlib.suppress(BadInput):
        Target.parse(text)
    try:
        parse_tokens(text)
    except BadInput as error:
        assert len(error.message) < 100, "an error about a token shows nothing of it"


_RULE = b"""version: 1
scope: {namespaces: [rag7]}
budgets: [{per: cluster, limit: 10 per 1h}]
freeze: [{name: f, days: [fri], from: "16:00", to: "23:59", timezone: Europe/Berlin}]
rules:
  - name: a
    when: alertname="HighErrorRate", severity=~"critical|warning"
    target: {kind: Deployment, name: {label: deployment, default: langgraph}}
    remediation: high-error-rate
    params: {scale_to: 5}
    mode: auto
    cooldown: 15m
"""
_LOG = b"""2026-03-04 10:15:00,123 ERROR app: psycopg.OperationalError: connection refused to 10.0.0.1:5432
Traceback (most recent call last):
  File "x.py", line 1, in f
ValueError: bad 0x1f id=6f9a2c7e1b
{"level":"error","ts":1772619300.5,"msg":"boom","exc_type":"app.KeyError","exc_info":"Traceback (most recent call last):\\nKeyError: 1"}
level=error ts=2026-03-04T10:15:00Z msg="a \\"b\\" c" err=x
E0304 10:15:00.123456       1 main.go:10] failed to a@b.example 503
panic: runtime error: index out of range
"""

TARGETS = (
    FuzzTarget(
        "redaction",
        _redaction,
        (b'{"password": "a", "list": [1]}', b"curl -u a:b https://t@h/?key=1", b"-----BEGIN PRIVATE KEY-----\nx",
         b'("x-api-key", "y") <token>z</token>', b"the token is abc"),
        (b"password", b"=", b": ", b'"', b"'", b"\\", b"://", b"@", b"Bearer ", b"token", b"value", b"name", b"<", b">",
         b"-----BEGIN ", b"-p", b"[", b"]", b"(", b")", b"xoxb-", b"eyJ", b"identified by ", b"\n", b"|\n  "),
    ),
    FuzzTarget(
        "shown-text",
        _shown,
        (b"*a* _b_ ~c~ `d` :tada: <!channel> @here &gt; x\0https://a.test/x|y", b"slack:U0ALICE01\0", b"> q\0\xe2\x80\xae"),
        (b"*", b"_", b"~", b"`", b"<", b">", b"&", b"|", b":", b"@here", b"\0", b"https://", b"\x1b[", b"\xc2\x9b", b"slack:U"),
    ),
    FuzzTarget("log-event", _logged, (b"a\0b", b"\x1b]0;x\x07\0\xc2\x9b31m", b"password\0{x}"), (b"\0", b"%s", b"\n", b"\xe2\x80\xa8")),
    FuzzTarget(
        "error-lines",
        _error_lines,
        (_LOG, *_LOG.splitlines()),
        (b"ERROR", b"Error: ", b"level=", b"msg=", b'{"level":"error"', b"Traceback (most recent call last):", b"\n", b"::",
         b"@", b"2026-03-04T10:15:00Z", b"1e400", b'"ts":', b"a.", b"A9bA9b", b"1.1.1.1"),
    ),
    FuzzTarget(
        "matchers",
        _matchers,
        (b'alertname="A", b=~"x|y"\0A', b'{"a"!~"(?i)a*",}\0aaa', b"a=b,c!=d\0", b'a=~".*a.*b.*"\0ab'),
        (b"=~", b"!~", b"!=", b'"', b"{", b"}", b",", b"\\", b"\\u00e4", b"(a*)*", b"{1000}", b"[^", b"\0", b"(?P<n>", b"\\pL"),
        pumped=8 * 1024,
    ),
    FuzzTarget(
        "policy",
        _policy,
        (_RULE, b"version: 1\nx: 0x" + b"f" * 60, b"a: &a [*a]", b"%YAML 1.1\n---\n!!python/none x"),
        (b"\n", b"  ", b": ", b"- ", b"&a ", b"*a", b"{", b"}", b"[", b"]", b"!!", b"? ", b"|", b">", b'"', b"<<: ", b"0o7", b"1e9",
         b".inf", b"when", b"rules", b"mode: auto", b"trust:", b"temporary:", b"approval:", b"per: target"),
    ),
    FuzzTarget("units", _units, (b"1h30m", b"12.5%", b"3 per 1h and 7 per 24h", b"24:00"), (b"d", b"h", b"m", b"s", b"%", b" per ", b" and ", b"999999")),
    FuzzTarget("quantity", _quantity, (b"1.5Gi", b"250m", b"1e3", b"-.5E", b"12E+1"), (b"Ki", b"Mi", b"e-9", b"E", b"n", b"u", b".")),
    FuzzTarget(
        "settings",
        _tokens,
        (b"alice:read+operate:" + b"a" * 64, b"rag7/deployment/langgraph", b"u:p@h:1,h2/db?x=1", b"a:read:b,\nc"),
        (b":", b",", b"+", b"/", b"@", b"%40", b"#", b"ingest", b"0" * 64),
    ),
)  # fmt: skip
