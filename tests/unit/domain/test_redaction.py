"""Every class of secret vanishes from a line, harmless lines stay, and no line costs more than its length."""

from __future__ import annotations

import re
import time
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.redact import CLASSES, MAX_TEXT, redact, redact_value

_DATA = Path(__file__).parents[2] / "data" / "redaction"
_MARKED = re.compile("«(.*?)(?:»|$)")


def _lines(file: str) -> list[str]:
    return (_DATA / file).read_text(encoding="utf-8").splitlines()


def _secrets() -> list[tuple[str, str]]:
    """Class and line; a line's secrets stand between « and »."""
    found, kind = [], ""
    for text in _lines("secrets.txt"):
        if text.startswith("# "):
            kind = text[2:]
        else:
            found.append((kind, text.replace("⏎", "\n")))
    return found


SECRETS, HARMLESS = _secrets(), _lines("harmless.txt")


@pytest.mark.parametrize(("kind", "marked"), SECRETS)
def test_a_secret_of_every_class_vanishes(kind: str, marked: str) -> None:
    assert kind
    secrets = _MARKED.findall(marked)
    assert secrets
    shown = redact(marked.replace("«", "").replace("»", ""))
    assert [s for s in secrets if s in shown] == []


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_line_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(("_kind", "marked"), SECRETS)
def test_a_redacted_line_is_not_changed_again(_kind: str, marked: str) -> None:
    once = redact(marked.replace("«", "").replace("»", ""))
    assert redact(once) == once


def test_the_corpus_is_large_and_reaches_every_class_of_pattern() -> None:
    texts = [marked.replace("«", "").replace("»", "") for _, marked in SECRETS]
    assert len(SECRETS) >= 200
    assert len(HARMLESS) >= 60
    assert [c.name for c in CLASSES if not any(c.pattern.search(text) for text in texts)] == []


_HOSTILE = [
    *("a", "=", "password=", "password='", 'password="\\', "a://b:", "a://", "eyJ-", "eyJaaaaaaaa.", "Cookie:", "--token "),
    *("curl ", "curl -u ", "mysql -p ", '"name":"', '"name":"a_token","value":', "('token',", "token:[", "<token>", "<a "),
    *("the token is ", "?key=", "&", "\\", "'", "identified with a ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PGP ", "xox"),
    *("1234567890:AA", '"value":"a",', "password: |\n  ", "a.b-c_", "Bearer ", "password='a''", "token=a'b"),
]  # fmt: skip


def _seconds(pattern: object, text: str) -> float:
    times = []
    for _ in range(3):
        begun = time.process_time()
        if pattern is None:
            redact(text)
        else:
            for _match in islice(pattern.finditer(text), 100_000):  # type: ignore[attr-defined]
                pass
        times.append(time.process_time() - begun)
    return min(times)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.name)
def test_twice_the_text_takes_some_twice_the_time_in_every_class(kind: object) -> None:
    pattern = kind.pattern  # type: ignore[attr-defined]
    slow = [
        unit
        for unit in _HOSTILE
        if _seconds(pattern, unit * (32_000 // len(unit))) > 3 * _seconds(pattern, unit * (16_000 // len(unit))) + 0.02
    ]  # fmt: skip
    assert slow == []


@pytest.mark.parametrize("unit", _HOSTILE)
def test_twice_the_text_takes_some_twice_the_time_as_a_whole(unit: str) -> None:
    long, short = unit * (MAX_TEXT // len(unit)), unit * (MAX_TEXT // 2 // len(unit))
    assert _seconds(None, long) < 3 * _seconds(None, short) + 0.02


_ONE_BY_ONE = (
    "password", "is", "=", ":", " ", "\n", "https://u:p@h/", "Bearer abcDEF123456", "-p", "mysql", "curl", "-u", "a:b",
    "<x>", "</x>", "token", "value", "name", "(", ")", "'", '"', "[", "xoxb-123456789", "docker login", "?code=abcdef",
    "\u00e9", "identified by", "-----BEGIN PRIVATE KEY-----", ",", "--secret", "=>",
)  # fmt: skip


@given(st.lists(st.sampled_from(_ONE_BY_ONE), max_size=30).map("".join))
def test_one_look_at_all_classes_hides_what_they_hide_one_by_one(text: str) -> None:
    looked = redact(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.domain.redact._present", lambda _: frozenset(range(len(CLASSES))))
        assert redact(text) == looked


def test_a_set_without_memory_has_all_classes_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that nothing was found, and hides no secret all the same."""

    class Exhausted:
        def Match(self, _: str) -> None:  # noqa: N802 - RE2's name
            return None

    monkeypatch.setattr("app.domain.redact._SET", Exhausted())
    assert redact("password=abc") == "password=[redacted]"


def test_half_a_character_becomes_its_escape_and_hides_no_secret() -> None:
    assert redact("a\ud800b") == "a\\ud800b"
    assert "abc" not in redact("a\ud800 password=abc")


def test_a_value_under_a_secret_name_is_replaced_whole_at_any_depth() -> None:
    value = {"spec": [{"DB_PASSWORD": ["a", {"b": "c"}]}, {"secretName": "db", "maxTokens": 7}]}
    assert redact_value(value) == {
        "spec": [{"DB_PASSWORD": "[redacted]"}, {"secretName": "db", "maxTokens": 7}]
    }
