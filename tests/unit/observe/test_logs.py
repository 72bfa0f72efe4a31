"""Secrets are removed from text, and every log line goes through one redacting formatter."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.domain.redact import REDACTED, redact, redact_value
from app.domain.text import CONTROL
from app.observe.logs import bind, configure
from tests.unit.work import measured

R = REDACTED

REDACTIONS = [
    # assignments as applications log them
    ("password=hunter2", f"password={R}"),
    ("DB_PASSWORD=hunter2 host=db", f"DB_PASSWORD={R} host=db"),
    ("password: hunter2, user: app", f"password: {R}, user: app"),
    ("Settings(user='app', password='hun ter2', port=5)", f"Settings(user='app', password='{R}', port=5)"),
    ('{"password":"hunter2","user":"app"}', f'{{"password":"{R}","user":"app"}}'),
    ('{"db":{"Password" : "a\\"b", "n": 1}}', f'{{"db":{{"Password" : "{R}", "n": 1}}}}'),
    (
        '{"msg":"cfg {\\"api_key\\":\\"abc123\\"} ok","n":1}',
        f'{{"msg":"cfg {{\\"api_key\\":\\"{R}\\"}} ok","n":1}}',
    ),
    ('{"msg":"login password=abc","level":"error"}', f'{{"msg":"login password={R}","level":"error"}}'),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUt/nFEMI", f"AWS_SECRET_ACCESS_KEY={R}"),
    ("client-secret => s3cr3t", f"client-secret => {R}"),
    ("pass=a&b,c;d next=1", f"pass={R} next=1"),
    ("GET /cb?access_token=abc.def&state=9 200", f"GET /cb?access_token={R}&state=9 200"),
    ("host=db password=p@ss,w0rd dbname=x", f"host=db password={R} dbname=x"),
    ("MYSQL_PWD=abc", f"MYSQL_PWD={R}"),
    ("Server=db;Uid=sa;Pwd=abc;Database=x", f"Server=db;Uid=sa;Pwd={R};Database=x"),
    ("x-api-key: 12345", f"x-api-key: {R}"),
    ("session_id=deadbeef", f"session_id={R}"),
    # headers
    ("Authorization: Bearer abc.def-123", f"Authorization: {R}"),
    ("'authorization': 'Basic dXNlcjpwYXNz'", f"'authorization': '{R}'"),
    (
        "curl -H 'Proxy-Authorization: Token token=y_NbAkKc66ryYTWUXYEu'",
        f"curl -H 'Proxy-Authorization: {R}'",
    ),
    ("Set-Cookie: sid=abc; Path=/", f"Set-Cookie: {R}"),
    ("using bearer eyJhbGciOi.J9.x_y to call", f"using bearer {R} to call"),
    ("sent Basic dXNlcjpwYXNzd29yZA== upstream", f"sent Basic {R} upstream"),
    # URLs and DSNs
    ("postgresql://app:hunter2@db:5432/rag", f"postgresql://app:{R}@db:5432/rag"),
    ("postgresql+psycopg://app:p@ss@db/rag", f"postgresql+psycopg://app:{R}@db/rag"),
    ("redis://:hunter2@redis:6379/0", f"redis://:{R}@redis:6379/0"),
    ("postgres://u:pa/ss@db/x", f"postgres://u:{R}@db/x"),
    ("amqp://u:1234@mq", f"amqp://u:{R}@mq"),
    # flags
    ("exec tool --password hunter2 --port 5", f"exec tool --password {R} --port 5"),
    ("exec tool --db-password=hunter2 -v", f"exec tool --db-password={R} -v"),
    # formats that speak for themselves
    ("slack xoxb-1234-5678-abcdefgh failed", f"slack {R} failed"),
    ("slack xapp-1-A0B1-99-abcdef", f"slack {R}"),
    ("slack xoxe.xoxp-1-Mi0yLTk4", f"slack {R}"),
    ("https://ghp_" + "a" * 36 + "@github.com/x", f"https://{R}@github.com/x"),
    ("key AKIA" + "ABCDEFGH12345678" + " rejected", f"key {R} rejected"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", f"jwt {R}"),
    ("https://hooks.slack.com/services/T0/B0/abcDEF", f"https://hooks.slack.com/{R}"),
    ("openai sk-proj-" + "Ab1" * 8, f"openai {R}"),
    (
        "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- b",
        f"a {R} b",
    ),
    ("cut off -----BEGIN PRIVATE KEY-----\nMIIE", f"cut off {R}"),
]

HARMLESS = [
    "",
    "OperationalError: connection refused",
    'FATAL: password authentication failed for user "app"',
    'secret "langgraph-env" not found',
    "couldn't find key DB_PASSWORD in Secret rag7/langgraph-env",
    "secretName: langgraph-env",
    "max_tokens=4096 prompt_tokens: 812",
    '"total_tokens": 17',
    "SyntaxError: Unexpected token: '}'",
    "http://shop:8080/path?email=a@b.example",
    "https://user@host/path",
    "GET http://localhost:8080/ 200 in 12ms",
    "PWD not set, tests pass, bearer of bad news",
    "Basic validation failed for field x",
    "token expired at 2026-03-04T10:15:22Z",
    "tokenizer: sentencepiece",
    "2026-03-04 ERROR [worker-7c9f6d5b8c-2kxvw] request 8f3758464e5c2159 took 1234 ms",
]


@pytest.mark.parametrize(("text", "expected"), REDACTIONS)
def test_a_secret_is_replaced_and_the_rest_of_the_line_stays(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("text", HARMLESS)
def test_a_line_without_a_secret_is_unchanged(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(("text", "expected"), REDACTIONS)
def test_redacting_twice_changes_nothing_more(text: str, expected: str) -> None:
    assert redact(expected) == expected


_PLAIN_SECRETS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=40)


@given(_PLAIN_SECRETS, st.sampled_from(["password={}", '{{"token": "{}"}}', "x://u:{}@h/", "secret: '{}'"]))
def test_no_assigned_secret_survives(secret: str, form: str) -> None:
    # A number behind "token" is a count, and a number behind a host is a port: neither is a secret's shape.
    marked = f"Zq{secret}"
    assert marked not in redact(f"before {form.format(marked)} after")


@given(st.text(max_size=300))
def test_any_text_is_accepted(text: str) -> None:
    assert isinstance(redact(text), str)


@pytest.mark.parametrize(
    "unit",
    [
        "password",
        "a",
        "token=",
        "://",
        "eyJ",
        "x:",
        "--",
        "\\",
        "'",
        "&a",
        "Bearer ",
        "-----BEGIN PRIVATE KEY",
    ],
)
def test_a_hostile_line_is_redacted_in_linear_time(unit: str) -> None:
    with measured() as work:
        redact(unit * (100_000 // len(unit)))
    assert work.units < 400


def test_values_under_secret_names_are_replaced_at_any_depth() -> None:
    value = {
        "headers": {"Authorization": "Bearer x", "accept": "json"},
        "list": [{"password": ["a", "b"]}, "token=abcdef"],
        "port": 5,
        "token_count": 7,
        "secret": None,
    }
    assert redact_value(value) == {
        "headers": {"Authorization": R, "accept": "json"},
        "list": [{"password": R}, f"token={R}"],
        "port": 5,
        "token_count": 7,
        "secret": None,
    }


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream that all logs go to; the process-wide configuration is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    configure(out)
    yield out
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_events_are_json_lines_with_level_time_and_bound_fields(stream: io.StringIO) -> None:
    with bind(incident="inc_1", run=""):
        structlog.get_logger().info("decided", verdict="deny", token="abc")
    structlog.get_logger().info("after")
    first, second = _lines(stream)
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "decided", "verdict": "deny", "token": R, "level": "info", "incident": "inc_1"}
    assert "incident" not in second


@pytest.mark.parametrize("name", ["uvicorn.error", "dbos", "alembic.runtime.migration", "anything.else"])
def test_library_logs_take_the_same_way_and_are_redacted(stream: io.StringIO, name: str) -> None:
    logging.getLogger(name).warning("connecting to %s", "postgresql://u:hunter2@db/x")
    [line] = _lines(stream)
    assert line["logger"] == name
    assert line["event"] == f"connecting to postgresql://u:{R}@db/x"


def test_the_workflow_library_does_not_get_a_handler_of_its_own(stream: io.StringIO) -> None:
    from dbos._logger import init_logger

    init_logger()
    logging.getLogger("dbos").info("hello")
    assert [line["event"] for line in _lines(stream)] == ["hello"]


def test_tracebacks_are_redacted(stream: io.StringIO) -> None:
    try:
        raise ValueError("cannot reach redis://:hunter2@r/0")
    except ValueError:
        structlog.get_logger().exception("failed")
    [line] = _lines(stream)
    assert "hunter2" not in stream.getvalue()
    assert "ValueError: cannot reach redis" in line["exception"]


def test_debug_lines_are_left_out_at_the_level_info(stream: io.StringIO) -> None:
    structlog.get_logger().debug("noise")
    logging.getLogger("httpx").info("GET https://x/?token=abc")
    assert stream.getvalue() == ""


def test_a_person_at_a_terminal_gets_text_instead_of_json(stream: io.StringIO) -> None:
    configure(stream, as_json=False)
    structlog.get_logger().info("started", port=8080, password="hunter2")
    text = stream.getvalue()
    assert "started" in text
    assert "port=8080" in text
    assert "hunter2" not in text


def _seconds(text: str) -> float:
    times = []
    for _ in range(3):
        begun = time.process_time()
        redact(text)
        times.append(time.process_time() - begun)
    return min(times)


@pytest.mark.parametrize(
    "unit", ["a://b:", "eyJ-", "password=" + "\\" * 8, "\\", "redis://c:", "--token ", "Cookie:", "=,"]
)
def test_twice_the_text_takes_at_most_some_twice_the_time(unit: str) -> None:
    short = _seconds(unit * (8_000 // len(unit)))
    assert _seconds(unit * (16_000 // len(unit))) < 3 * short + 0.01


def test_a_text_of_megabytes_costs_no_more_than_its_first_part() -> None:
    with measured() as work:
        assert len(redact("a://b:" * 200_000)) <= 16_002
    assert work.units < 200


def test_a_log_line_holds_no_character_that_controls_a_terminal() -> None:
    out = io.StringIO()
    configure(out, as_json=True)
    structlog.get_logger().info("refused", path="/\x1b[2J\x9b31m\u202e\x7f\u2028")
    assert out.getvalue().strip().isascii()
    assert "\\u202e" in out.getvalue()


class Terminal(io.StringIO):
    """Where a person reads along."""

    def isatty(self) -> bool:
        return True


_HOSTILE_WORDS = "/\x1b[2J\x1b]0;mine\x07\x9b31m\x9d\u202e\u2066\u200b\x7f\u2028\rFIXED\nFIXED"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("told", ["value", "event", "other library", "exception"])
def test_no_word_of_a_stranger_controls_the_terminal_of_who_reads_along(told: str) -> None:
    """Whatever of a line it is; what is left of control characters are the colours of our own."""
    out = Terminal()
    configure(out)
    log = structlog.get_logger()
    if told == "value":
        log.info("refused", path=_HOSTILE_WORDS)
    elif told == "event":
        log.info(_HOSTILE_WORDS)
    elif told == "other library":
        logging.getLogger("another").warning("cannot read %s", _HOSTILE_WORDS)
    else:
        try:
            raise ValueError(_HOSTILE_WORDS)
        except ValueError:
            log.exception("request failed")
    said = _COLOURS.sub("", out.getvalue())
    assert "FIXED" in said
    assert CONTROL.findall(said.replace("\n", "")) == []
    assert not [line for line in said.splitlines() if line.startswith("FIXED")], "no line of the log"


def test_names_in_a_strangers_json_are_cleaned_and_redacted_as_values_are(stream: io.StringIO) -> None:
    structlog.get_logger("x").info("event", raw={"\x1b[2J": 1, "password=hunter2": 2, "plain": {"\u202e": 3}})
    told = stream.getvalue()
    assert "hunter2" not in told
    assert CONTROL.search(told) is None
    assert '"plain"' in told


def test_no_stranger_makes_the_log_advise_to_install_something(stream: io.StringIO) -> None:
    protocol = object.__new__(HttpToolsProtocol)
    protocol.logger = logging.getLogger("uvicorn.error")
    protocol.ws_protocol_class = None
    protocol._unsupported_upgrade_warning()
    told = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in told] == ["Unsupported upgrade request."]


def test_of_a_line_that_takes_long_to_look_through_the_rest_is_hidden(stream: io.StringIO) -> None:
    """Whoever writes it answers everybody else. What stands in it of an ordinary text stays."""
    dear = ("name: PASSWORD value: " * 800)[:17_000]
    structlog.get_logger("app.x").info("refused", code="bad_field", where=dear, path="/api/v1/runs")
    told = json.loads(stream.getvalue())
    assert (told["event"], told["code"], told["where"]) == ("refused", "bad_field", R)
