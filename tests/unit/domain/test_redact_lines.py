"""Lines of a log are redacted together, as many as there were: the name of a value may stand on the line before it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from app.domain.redact import MAX_TEXT, annotation, redact, redact_lines
from remediations.evidence.error_lines import TOKENS
from remediations.evidence.last_words import heard
from remediations.evidence.logs import PodLog, _errors

SECRET = "Vq8mK2xPz7Lw"

SPLIT = (
    "config:\n  password: |\n    {}",
    "password: >-\n  {}",
    "    - name: DB_PASSWORD\n      value: {}",
    "    - value: {}\n      name: DB_PASSWORD",
    "password:\n  {}",
    '{\n  "name": "DB_PASSWORD",\n  "value": "{}"\n}',
    '{\n  "password":\n  "{}"\n}',
    "Authorization: Basic\n {}",
    "curl --password \\\n  {}",
    "mysql \\\n  -u root \\\n  -p{}",
    "curl \\\n  -u app:{} \\\n  https://h",
    "<password>\n  {}\n</password>",
    "machine h\nlogin bob\npassword {}",
    "tokens:\n- {}",
    "passwords:\n  - aaa\n  - {}",
    "secret: >\n  first\n  {}",
    'args: [\n "--password",\n "{}"\n]',
    "ERROR bad config password=\n  {}",
    "ALTER USER a\n IDENTIFIED BY\n '{}'",
    "INSERT INTO t (a, password)\n VALUES ('x', '{}')",
    "password = '''\n{}\n'''",
    "-----BEGIN RSA PRIVATE KEY-----\nabcdefghij{}\nklmnop{}",
    '    Property: app.redis.password\n    Value: "{}"\n    Reason: failed to convert java.lang.String to int',
    "Setting: api_key\nGiven: {}",
    "1 validation error for Settings\npassword\n  value is not a valid integer (type=type_error.integer; input={})",
    'Cannot deserialize from String "{}": not a valid `int` value\n (through reference chain: Cfg["password"])',
    "Password for the [elastic] user successfully reset.\nNew value: {}",
)
"""Where a value stands on another line than its name."""


@pytest.mark.parametrize("written", SPLIT)
@pytest.mark.parametrize("before", ["", "ERROR starting\n", "INFO all is well\n" * 2_000])
def test_h3_a_value_below_its_name_is_no_last_word(written: str, before: str) -> None:
    text = before + written.replace("{}", SECRET)
    lines = redact_lines(text.splitlines())
    assert len(lines) == len(text.splitlines())
    assert SECRET not in "\n".join(lines)
    assert SECRET not in str(heard(text))
    assert SECRET not in str(heard(text.rstrip("\n}]")))


@pytest.mark.parametrize("at", range(0, 60, 3))
def test_h3_a_value_is_hidden_wherever_a_window_begins(at: int) -> None:
    """The lines are read window by window; each window is read with the lines before it."""
    around = ["GET /healthz 200 in 3 ms"] * (470 + at)
    lines = [*around, "password: |", f"  {SECRET}", *around]
    shown = redact_lines(lines)
    assert shown[: len(around)] == shown[-len(around) :] == around
    assert shown[-len(around) - 1] == "  [redacted]"


PREFIXES: dict[str, Callable[[str, int], str]] = {
    "spring": lambda line, n: f"2026-11-27 10:00:0{n}.123 ERROR 1 --- [           main] c.e.shop.Config                      : {line}",
    "boot 3": lambda line, n: f"2026-11-27T10:00:0{n}.123Z ERROR 1 --- [shop] [nio-8080-exec-{8 + n}] c.e.shop.Config  : {line}",
    "traced": lambda line, n: f"2026-11-27 10:00:00.123 ERROR [shop,65{n}f3a,9b{n}c] 1 --- [main] c.e.Config : {line}",
    "logback": lambda line, n: f"10:00:0{n}.123 [main] ERROR com.example.Config - {line}",
    "log4j": lambda line, n: f"2026-11-27 10:00:0{n},123 ERROR [com.example.Config] (ServerService Thread Pool -- {8 + n}) {line}",
    "log4j 2": lambda line, n: f"ERROR  2026-11-27 10:00:0{n},123 [main] Config (Config.java:{8 + n}) {line}",
    "java.util.logging": lambda line, n: f"Nov 27, 2026 10:00:0{n} AM com.example.Config load SEVERE: {line}",
    "quarkus": lambda line, n: f"2026-11-27 10:00:00,12{n} ERROR [com.exa.Config] (main) {line}",
    "python": lambda line, n: f"2026-11-27 10:00:0{n},123 - app.db - ERROR - {line}",
    "basicConfig": lambda line, _: f"ERROR:app.db:{line}",
    "django": lambda line, n: f"[2026-11-27 10:00:0{n},123] ERROR [app.views:{8 + n}] {line}",
    "gunicorn": lambda line, n: f"[2026-11-27 10:00:00 +0000] [1{n}] [ERROR] {line}",
    "uvicorn": lambda line, _: f"ERROR:    {line}",
    "loguru": lambda line, n: f"2026-11-27 10:00:0{n}.123 | ERROR    | app.db:connect:{8 + n} - {line}",
    "klog": lambda line, n: f"E1127 10:00:0{n}.123456       1 config.go:{8 + n}] {line}",
    "zap": lambda line, n: f"2026-11-27T10:00:0{n}.123Z\terror\tconfig/config.go:{8 + n}\t{line}",
    "zap with a name": lambda line, n: f"2026-11-27T10:00:0{n}.123Z\tERROR\tcontroller.setup\t{line}",
    "go": lambda line, n: f"2026/11/27 10:00:0{n} main.go:{8 + n}: ERROR {line}",
    "rust": lambda line, n: f"2026-11-27T10:00:0{n}.123456Z ERROR ThreadId(01) shop::config: {line}",
    "env_logger": lambda line, n: f"[2026-11-27T10:00:0{n}Z ERROR shop::config] {line}",
    "serilog": lambda line, n: f"[10:00:0{n} ERR] {line}",
    "ruby": lambda line, n: f"E, [2026-11-27T10:00:0{n}.123456 #1] ERROR -- : {line}",
    "monolog": lambda line, _: f"[2026-11-27 10:00:00] production.ERROR: {line}",
    "postgres": lambda line, n: f"2026-11-27 10:00:0{n}.123 UTC [{8 + n}] app@shop ERROR:  {line}",
    "mysql": lambda line, n: f"2026-11-27T10:00:0{n}.123456Z {n} [ERROR] [MY-010926] [Server] {line}",
    "redis": lambda line, n: f"1:M 27 Nov 2026 10:00:0{n}.123 # {line}",
    "nginx": lambda line, n: f"2026/11/27 10:00:0{n} [error] 31#31: *1 {line}",
    "runtime": lambda line, n: f"2026-11-27T10:00:0{n}.123456789Z stderr F {line}",
    "runtime and spring": lambda line, n: f"2026-11-27T10:00:0{n}.1Z stdout F 2026-11-27 10:00:0{n}.123 ERROR 1 --- [main] c.e.Config   : {line}",
    "kubectl": lambda line, _: f"[pod/web-1/app] {line}",
    "compose": lambda line, _: f"web-1  | {line}",
    "syslog": lambda line, n: f"Nov 27 10:00:0{n} host1 app[{8 + n}]: {line}",
    "syslog of 2009": lambda line, n: f"<11>1 2026-11-27T10:00:0{n}.1Z host1 app 12 ID47 - {line}",
    "json": lambda line, n: json.dumps({"ts": f"2026-11-27T10:00:0{n}Z", "level": "error", "msg": line}),
    "pino": lambda line, n: json.dumps({"level": 50, "time": 1700000000000 + n, "msg": line, "pid": 1}, separators=(",", ":")),
    "docker": lambda line, n: json.dumps({"log": line + "\n", "stream": "stderr", "time": f"2026-11-27T10:00:0{n}Z"}),
    "logfmt": lambda line, n: f'time="2026-11-27T10:00:0{n}Z" level=error msg={json.dumps(line)} logger=app',
    "colours": lambda line, n: f"\x1b[2m2026-11-27 10:00:0{n}.1\x1b[0;39m \x1b[31mERROR\x1b[0;39m \x1b[36mc.e.Config\x1b[0;39m \x1b[2m:\x1b[0;39m {line}",
    "of nobody's": lambda line, n: f"<<{n}>> shop~worker~{n} => {line}",
}  # fmt: skip
"""What loggers, container runtimes and collectors write before each line."""

APART = (
    *SPLIT,
    "password:\n{}",
    "db.password=\n{}",
    "command:\n- app\n- --password\n- {}",
    " id | username | password\n----+----------+----------\n  1 | bob      | {}\n(1 row)",
    "+----+----------+\n| id | password |\n+----+----------+\n|  1 | {} |\n+----+----------+",
    "user,password,host\nbob,{},db1",
    "NAME      PASSWORD        HOST\nbob       {}    db1",
    "-[ RECORD 1 ]---\nusername | bob\npassword | {}",
    "apiVersion: v1\nkind: Secret\nstringData:\n  dburl: {}\n  user2: x",
    "apiVersion: v1\ndata:\n  dburl: {}\nkind: Secret",
    "stringData:\n  dburl: |\n    {}",
    '{\n "kind": "Secret",\n "data": {\n  "dburl": "{}"\n }\n}',
    "select * from users where login=? and password=?\nbinding parameter [1] as [VARCHAR] - [bob]\nbinding parameter [2] as [VARCHAR] - [{}]",
    "update users set password=? where id=?\nbinding parameter (1:VARCHAR) <- [{}]\nbinding parameter (2:BIGINT) <- [7]",
    "==>  Preparing: select * from users where password = ?\n==> Parameters: {}(String)",
    "INSERT INTO users (name, password) VALUES (%s, %s)\n[generated in 0.0001s] ('bob', '{}')",
    '[SQL: UPDATE u SET password = %s]\n[parameters: ("{}",)]',
)


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=list(PREFIXES))
def test_a_value_apart_from_its_name_is_hidden_behind_what_a_logger_writes_before_each_line(
    prefix: Callable[[str, int], str],
) -> None:
    """In last words, in error groups and in any text, where both lines bear the prefix."""
    for written in APART:
        lines = [prefix(line, n % 10) for n, line in enumerate(written.replace("{}", SECRET).split("\n"))]
        text = "\n".join(lines)
        shown = redact_lines(lines)
        assert len(shown) == len(lines)
        assert SECRET not in "\n".join(shown), written
        assert SECRET not in redact(text), written
        assert SECRET not in str(heard(text)), written
        log, groups = _errors((PodLog("p", "c", text),), datetime(2020, 1, 1, tzinfo=UTC), TOKENS, {})
        assert log or not groups
        assert SECRET not in str(groups), written


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=list(PREFIXES))
def test_what_a_logger_writes_before_each_line_stays_and_so_do_harmless_lines(
    prefix: Callable[[str, int], str],
) -> None:
    said = (
        "Started Application in 3.2 seconds",
        "Checking token:",
        "ok",
        "user    orders    state",
        "cache   warm      3 s",
        "query took 12 ms, 4 rows",
        "password was changed, 3 sessions ended",
        "secret app-env was read",
        "listening on 8080",
    )
    record = '"' in prefix("", 0)  # the quote of a record that closes behind `token:` may open a value
    lines = [prefix(line, n) for n, line in enumerate(said) if not (record and line == "Checking token:")]
    assert redact_lines(lines) == lines


def test_a_record_of_json_keeps_no_message_that_the_line_before_it_named() -> None:
    lines = [json.dumps({"level": "error", "msg": text}) for text in ("password:", f"  {SECRET}", "no login")]
    shown = redact_lines(lines)
    assert SECRET not in "".join(shown)
    assert json.loads(shown[2])["msg"] == "no login"


def test_h3_a_record_of_json_stays_one() -> None:
    record = {
        "level": "error",
        "msg": "no login",
        "headers": {"authorization": ["Bearer abcDEF123456"]},
        "pin": 12345678,
    }
    (line,) = redact_lines([json.dumps(record)])
    assert json.loads(line)["msg"] == "no login"
    assert "abcDEF123456" not in line


def test_h3_lines_cost_by_their_number() -> None:
    def seconds(number: int) -> float:
        begun = time.process_time()
        redact_lines(["2026-11-27T03:11:02Z INFO password: said and token=abc of https://u:p@h/x"] * number)
        return time.process_time() - begun

    assert any(seconds(400) < 3 * seconds(200) + 0.02 for _ in range(5))


CUT = (
    '{{"value":"{}","name":"DB_PASSWORD"}}',
    "- value: {}\n  name: DB_PASSWORD",
    '<property value="{}" name="password"/>',
    "jdbc:oracle:thin:app/{}@h:1521",
    "postgres://app:{}@db/x",
    "amqp connect app:{}@rabbit:5672",
    "ghp_{}RtYuIoPaSdFgHjKlZx",
    "AKIA{}",
)
"""What is known for a secret only by what stands behind it, or by its length."""
_PADS = ("lorem ipsum ", "x", "some line\n", '{"a":"b"},')


@pytest.mark.parametrize("written", CUT)
@pytest.mark.parametrize("longest", [300, 2_000, MAX_TEXT])
def test_m5_what_is_cut_was_searched_a_little_further(written: str, longest: int) -> None:
    secret = "VQ8MK2XPZ7LWRT5N" if written.startswith("AKIA") else "Vq8mK2xPz7LwRt5N"
    text = written.format(secret)
    for pad in _PADS:
        for over in range(1, len(text) + 1, 4 if longest < MAX_TEXT else 40):
            before = (pad * longest)[: longest - over - 1] + " "
            for shown in (
                redact(before + text, longest=longest),
                annotation("summary", before + text + " and more" * 200, longest),
            ):
                assert len(shown) <= longest + 2
                assert not any(secret[at : at + 8] in shown for at in range(len(secret) - 7)), shown[-80:]
