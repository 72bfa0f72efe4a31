"""Sentences that tell what became of a secret hide what they give, whatever the noun, the verb and the order, and in JSON in JSON too."""

from __future__ import annotations

import json
from itertools import product

import pytest

from app.domain.redact import redact

SECRET = "Kr8vTq2ZmX4w"
NOUNS = ("password", "token", "api key", "secret", "passphrase", "access key")
REFUSED = (
    '{n} mismatch: expected "{s}", got "x"', '{n} mismatch: have "x" want "{s}"', 'expected {n} "a", got "{s}"', "{n} mismatch (expected {s})", 'wrong {n} for bob: got "{s}"',
    "{n} not accepted: {s}", "The {n} {s} was rejected", "{n} expired: {s}", "the {n} {s} is revoked", "{n} does not match: {s} != x", "read {n} from /var/run/t: {s}",
    "using {n} from env: {s}", "the root {n} on db-1 is {s}", "the {n} of user bob is {s}", "the {n} for the root account is {s}",
)  # fmt: skip
CHANGED = (
    'changed {n} from "{s}" to "{o}"', '{n} was changed from "{s}" to "{o}"', '{n} changed: "{s}" -> "{o}"', "rotated {n} {s} -> {o}", "replaced the {n} {s} => {o}",
    "updated {n} from {s} to {o}",
)  # fmt: skip
CALLS = (
    'psycopg2.connect(host, "bob", "{s}")', 'smtp.login(user, "{s}")', 'pymysql.connect(HOST, USER, "{s}")', 'DriverManager.getConnection(url, "bob", "{s}")',
    "App\\User->checkPassword('{s}')", 'getPassword() returned "{s}"', 'get_api_key() -> "{s}"', 'invalid userinfo in "http://bob:Kr8v {s}@h/"',
)  # fmt: skip


def _written(text: str) -> tuple[str, ...]:
    inner = json.dumps({"msg": text})
    return text, inner, json.dumps({"log": inner})


@pytest.mark.parametrize("noun", NOUNS)
def test_a_value_that_a_sentence_gives_of_a_secret_is_hidden(noun: str) -> None:
    texts = [each for told in REFUSED for each in _written(told.format(n=noun, s=SECRET))]
    assert [text for text in texts if SECRET in redact(text)] == []


@pytest.mark.parametrize("noun", [*NOUNS, "API_KEY", "DB_PASSWORD"])
def test_the_old_and_the_new_value_of_a_secret_are_hidden(noun: str) -> None:
    new = "Wq9Lm3Xt7b"
    pairs = ((SECRET, new), (SECRET, "newword"), ("oldword", SECRET))
    texts = [
        (old, later, each)
        for told, (old, later) in product(CHANGED, pairs)
        for each in _written(told.format(n=noun, s=old, o=later))
    ]
    assert [text for old, later, text in texts if old in redact(text) or later in redact(text)] == []


@pytest.mark.parametrize("call", CALLS)
def test_the_secret_of_a_call_is_hidden_whether_or_not_what_stands_before_it_is_quoted(call: str) -> None:
    assert [text for text in _written(call.format(s=SECRET)) if SECRET in redact(text)] == []


@pytest.mark.parametrize(
    "said",
    [
        'password mismatch: expected "swordfish", got "x"',
        'pymysql.connect(HOST, USER, "swordfish")',
        'getPassword() returned "swordfish"',
        "the password of user bob is swordfish",
        "r\u0430\u0455\u0455word p\u0430ssw\u043erd=swordfish",
    ],
)
def test_a_plain_word_is_hidden_where_the_sentence_says_that_it_is_a_password(said: str) -> None:
    assert "swordfish" not in redact(said)


UNQUOTED = (
    "The password for user app was changed from {s} to {o}", "secret rotated old={s} new={o}", "token for web replaced: previous: {s}, current: {o}", "login(bob, {s})",
    "set_password(bob, {s})", "validateToken({s})", "ldap.simple_bind(dn, {s})", "db.connect(host, bob, {s})", "Token [{s}] for renewal failed", "basic auth bob:{s} rejected",
    "with credentials (bob, {s})", 'cmd=["config","set","masterauth","{s}"]',
)  # fmt: skip


@pytest.mark.parametrize("said", UNQUOTED)
def test_a_secret_without_quotes_is_hidden_in_an_exchange_a_call_and_a_login(said: str) -> None:
    new = "Wq9Lm3Xt7b"
    texts = [(each, said.format(s=SECRET, o=new)) for each in _written(said.format(s=SECRET, o=new))]
    assert [told for told, _ in texts if SECRET in redact(told) or new in redact(told)] == []


@pytest.mark.parametrize(
    "said", ["OTP code for bob is 493021", "the verification code of kim@x.io was 493021"]
)
def test_a_code_that_a_sentence_gives_is_hidden(said: str) -> None:
    assert "493021" not in redact(said)


@pytest.mark.parametrize(
    "said",
    [
        "connect(postgres-0.db.svc, port5432)", "login(kim, web01) failed", "validate_token(request) raised", "check_password(self, raw_password) in auth.py",
        "verifyToken(token, options) at auth.js:12", "secret changed from v1 to v2", "token changed from state READY to EXPIRED", "password hash changed from sha256 to argon2id",
        "basic auth for host web:8080 enabled", "basic auth realm kim:staff", "credentials (user, password) required", "Token [expired] at 12:00", "secret [db-credentials] not found",
        "key [orders:123] missing", "security code path for user is 4", "secret resourceVersion old=812345 new=812399", "verification code for release is 12",
        'ts=2026-01-01 caller=auth.go:0 level=info msg="login ok"', "token.py:0 refresh",
    ],
)  # fmt: skip
def test_ordinary_lines_of_the_same_words_stay(said: str) -> None:
    assert redact(said) == said
