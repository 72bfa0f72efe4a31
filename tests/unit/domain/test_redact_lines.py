"""Lines of a log are redacted together, as many as there were: the name of a value may stand on the line before it."""

from __future__ import annotations

import json
import time

import pytest

from app.domain.redact import MAX_TEXT, annotation, redact, redact_lines
from remediations.evidence.last_words import heard

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
