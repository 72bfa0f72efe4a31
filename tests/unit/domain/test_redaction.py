"""Every class of secret vanishes from a line, harmless lines stay, and no line costs more than its length."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.redact import CLASSES, MAX_TEXT, annotation, redact, redact_lines, redact_value
from app.domain.secret_classes import SecretClass
from tests.batches import in_batches

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


SECRETS = _secrets()
HARMLESS = [text.replace("⏎", "\n") for text in _lines("harmless.txt")]


@pytest.mark.parametrize("batch", in_batches(SECRETS), ids=lambda batch: batch[0][0])
def test_a_secret_of_every_class_vanishes_and_what_is_left_is_not_changed_again(batch: Sequence[tuple[str, str]]) -> None:  # fmt: skip
    told = []
    for kind, marked in batch:
        secrets = _MARKED.findall(marked)
        assert kind, marked
        assert secrets, marked
        shown = redact(marked.replace("«", "").replace("»", ""))
        told += [(marked, s, shown) for s in secrets if s in shown]
        again = redact(shown)
        told += [(marked, shown, again)] if again != shown else []
    assert told == []


@pytest.mark.parametrize("batch", in_batches(HARMLESS), ids=lambda batch: batch[0][:30])
def test_a_harmless_line_stays_as_it_is(batch: Sequence[str]) -> None:
    assert [(text, shown) for text in batch if (shown := redact(text)) != text] == []


ANCHORED = [c for c in CLASSES if re.search(r"(?<!\[)\^", c.pattern.pattern)]
"""Classes that know something only where a line begins."""
PREFIXES = (
    "2026-11-27T10:00:00.123Z ERROR app [req-67a701] ",
    "2026-11-27 10:00:00,123 ERROR app.db: ",
    "E1127 10:00:00.123456       1 reflector.go:138] ",
    "[2026-11-27 10:00:00] production.ERROR: ",
    "2026-11-27T10:00:00.123456789Z stderr F ",
    "10:00:00.123 [main] ERROR c.a.Db - ",
    "web-1  | 2026-11-27 10:00:00 INFO app.db [main] ",
    "<13>Nov 27 10:00:00 host app[12]: ",
)


@cache
def _shown_in_a_log(prefix: str, text: str) -> str:
    """Alone, and as one of its lines."""
    return redact(prefix + text) + "\n" + redact_lines([prefix + "started", prefix + text])[1]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", ANCHORED, ids=lambda c: c.name)
def test_what_is_known_where_a_line_begins_is_known_behind_the_prefix_of_a_log(
    kind: SecretClass, prefix: str
) -> None:
    """Each line of the corpus that an anchored class has a part in, alone and as one of a log."""
    marked = [line for _, line in SECRETS if "\n" not in line]
    lines = [(line, line.replace("«", "").replace("»", "")) for line in marked]
    found = [(line, text) for line, text in lines if kind.pattern.search(text)]
    leaks = [
        text
        for line, text in found
        if any(secret in _shown_in_a_log(prefix, text) for secret in _MARKED.findall(line))
    ]
    assert leaks == []


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_harmless_line_stays_behind_the_prefix_of_a_log(prefix: str) -> None:
    assert [text for text in HARMLESS if text and redact(prefix + text) != prefix + text] == []


@pytest.mark.parametrize(
    "sentence",
    [
        "Invalid username or password\nOrderService crashed: NullPointerException",
        "could not read token\nCheckoutWorker7 stopped",
        "wrong password\nCheckoutWorker7 stopped after 3s",
        "failed to refresh API key\n2026-11-27 worker-7Ab started",
        "authentication with token\n'Order7Service' crashed",
    ],
)
def test_a_sentence_that_ends_in_the_word_hides_nothing_of_the_next_line(sentence: str) -> None:
    assert redact(sentence) == sentence
    assert redact_lines(sentence.split("\n")) == sentence.split("\n")


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
    *("<password>", '<a name="password" value="', "insert into a (password", "value: x, ", "%70", "\\\\u0070", "&quot;", "AUTH a ", "\u200b"),
    *("password=a'b'", 'password=a"', "password='\\''", 'password=\\"a\\\\\\"', "password=a(", "password: !t ", "password: |\\n  a", "password: a\n  b\n"),
    *("password='''a", "password=<<A\n", "mysql -pa'b' ", "mysql curl redis-cli ", '["mysql","-pa",', "mysql\n- -pa\n", "mysql, -pa, ", "vault kv put a=b ", "mysql -p\\\n"),
    *("Authorization: a\n b", "Authorization: 'a\" ", "Authorization: a='b", "a-signature: x,", "value: a, ", "value: 'a", "value: {", "API key: ", "signing secret aB1aB1aB1 "),
    *("token in ('a", "copy a (token) from stdin\n", "parameters: $1 = ", "failing row contains (", "duplicate entry 'a' for key '", "AUTH\n$1\n", "HELLO 3 AUTH a ", "MIGRATE a AUTH "),
    *("a:b@c.d:1 ", "a:1:b:c:d ", '"d":"', "password\ta\n", "| password | a |\n", "echo a | ", "login <<< ", "auth('a',", "user a password ", "PASS a1\n", "aB3dE5gH7jK9", "A1b2", "sk-", "\\n", "a@//b/"),
    *('password = "a" -> ', 'password"] => string(1) "', "config set --secret a ", "var token a = ", "setPassword('", "{token,", "jwt.sign(a, ", '"path":"token","value":'),
    *("token\n  a input=", "cannot unmarshal a ", 'form-data; name="token"\n\n', "token,", "token.....", 'EXECVE a1="-pabcd" ', "EXECVE ", 'a1="--token" a2="', "token for a: "),
    *("new password:\n", "new password ", "Sec-WebSocket-Protocol: ", "USER a\nPASS b\n", "LOGIN a ", "LOGIN ", "az sql ", "put-parameter ", "mysql(a,b,c,d,'", "pgp_sym_encrypt('a','", "--token\n  a\n"),
    *("a | password | b\n", "a,password,c\n", "data:{", "data:\n  a: b\n", "A  PASSWORD\n", "update password params=", "2026-11-27 ERROR [a] b.c - x\n", '{"msg":"'),
    *("PDO('a','b',", "PDO(a,", "hash_hmac(", "Client('a',", "DB_PASSWORD is ", "DB_PASSWORD ", "secret changed from a to ", "credentials a:", '"password","', "user a on >", "token a1B2c3D4 "),
    *("pbkdf2_sha256$", "'a' is b (", "password String input_value=", "secrets set A=", "tried a as password ", "password = \\\n", "a-token:1.", "/token:1", "2026-11-27 ERROR app [a] "),
    *("passwords:\n  - ", "password[", "token=$(", "Bearer\n ", "seed phrase: ", "invalid token a1b2", "curl -b a=", "identified by "),
    *("invalid value 'x'\n", "invalid input=x ", 'parsing "', "invalid 'a' is ", '"path":["token"],"input":"', "Property: password\n", "invalid 'a' reference chain: [", "token set\nnew value: ", "[--token, "),
    *("db.password must be a1, not b2 ", 'expected "a1b" for DB_PASSWORD ', "db.password [a1b2] ", "got a1b2 ", "value a1b2 of a.token ", "failed: '", "invalid 'a1\n'", "error [a1b2] ", "DB_PASSWORD\nmust 'a1'\n"),
    *("tokens:\n a: b1\n", "- tokens:\n", '"mysql" "-pa" ', '"--token" "a" ', "mysql\n- -pa # b\n", '{"token" "a" ', "assertion=a1b2c3d4 ", "set $token a;\n", 'variable "token" { default = ', "login failed for a:b1 "),
    *("sip:a:", "passwords:\n- - - ", "token=Just ", "A1/" * 13 + "b ", "ExpiredToken: The ", "auth: a b "),
    *('password: (string) (len=1) "', "password: (a) (a) ", 's:8:"password";s:7:"', "password|s:1:", '"HSET" "a" "token" "b" ', "MSET token a ", "(token,ab1) ", "token (str): a ", "password: Some(\n", "$1\ntoken\n$1\na\n", "password: str = a "),
    *('key:"token" value:{a:', "security import -w a ", "htpasswd -b -C a ", "vault patch a=b ", "redis-cli set token a ", "net user a b /c ", " /p:ab1 /u:a", "open -u a,b ", "ftp << user a b ", "printf a | secret set ", "secret set <<< "),
    *("a|token_b|c1\n", "token_b|c1|", "\u2502 token_b \u2502 c1 ", "\u2500\u253c", "%C3%B1", "\\xc3\\xb1", "\\u{70}", "eyJaaaaaaaa\\\n", "AKIAIOSFODNN7EXAMPLE\n", "/webhook/a1B2c3D4e5/"),
    *("not api key a1b2c3 ", "a1b2c3d4 is not a token ", 'token got ("', "bad secret [", "is not a key ", "passphrase a1b2c3 ", "community string a1 ", "token: got "),
]  # fmt: skip


def _seconds(pattern: object, text: str, times: int) -> float:
    took = []
    for _ in range(times):
        begun = time.process_time()
        if pattern is None:
            redact(text)
        else:
            for _match in islice(pattern.finditer(text), 100_000):  # type: ignore[attr-defined]
                pass
        took.append(time.process_time() - begun)
    return min(took)


def _is_slow(pattern: object, unit: str, longest: int) -> bool:
    """Whether a text of twice the length takes far more than twice the time; what seems so is measured again."""
    long, short = unit * (longest // len(unit)), unit * (longest // 2 // len(unit))
    return all(
        _seconds(pattern, long, times) > 3 * _seconds(pattern, short, times) + 0.02 for times in (1, 3, 5)
    )


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.name)
def test_twice_the_text_takes_some_twice_the_time_in_every_class(kind: object) -> None:
    pattern = kind.pattern  # type: ignore[attr-defined]
    assert [unit for unit in _HOSTILE if _is_slow(pattern, unit, 32_000)] == []


@pytest.mark.parametrize("unit", _HOSTILE)
def test_twice_the_text_takes_some_twice_the_time_as_a_whole(unit: str) -> None:
    assert not _is_slow(None, unit, MAX_TEXT)


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


_MADE_UP, _ALSO = "Kq7vXw2ZpL9d", "9f8e7d6c5b4a39281706f5e4"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"secrets": [_MADE_UP, "web-tls"]}, {"secrets": ["[redacted]", "web-tls"]}),
        ({"tls_secrets": {"a": {"b": [_ALSO]}}}, {"tls_secrets": {"a": {"b": ["[redacted]"]}}}),
        ({"app-secrets": f"web-tls, {_MADE_UP}"}, {"app-secrets": "[redacted]"}),
        ({"secrets": {_MADE_UP: 1}}, {"secrets": {"[redacted]": 1}}),
        ({"secrets": [{"name": "default-token-x7k2p"}]}, {"secrets": [{"name": "default-token-x7k2p"}]}),
        ({"args": ["--token", "hunter2", "x"]}, {"args": ["--token", "[redacted]", "x"]}),
        ({"args": ["--tls-secrets", _MADE_UP]}, {"args": ["--tls-secrets", "[redacted]"]}),
        ({"args": ["--password", "--verbose", "x"]}, {"args": ["--password", "--verbose", "x"]}),
        ([{"name": "DB_PASSWORD", "value": "hunter2"}], [{"name": "DB_PASSWORD", "value": "[redacted]"}]),
        ([{"name": "TLS_SECRETS", "value": _MADE_UP}], [{"name": "TLS_SECRETS", "value": "[redacted]"}]),
        (
            {"pins": "12,13", "pats": ["*.log"], "otps": ["3"]},
            {"pins": "12,13", "pats": ["*.log"], "otps": ["3"]},
        ),
        ({"otps": ["482913"], "pwds": "3 hunter2"}, {"otps": "[redacted]", "pwds": "[redacted]"}),
        ({"DB_PASSWORD": "$DB_PASSWORD"}, {"DB_PASSWORD": "$DB_PASSWORD"}),
        ({"DB_PASSWORD": "$DB_PASSWORD hunter2"}, {"DB_PASSWORD": "[redacted]"}),
        ({"routing_key": "orders.created"}, {"routing_key": "orders.created"}),
        ({"routing_key": _ALSO}, {"routing_key": "[redacted]"}),
        ({"pin": 493817, "password": 12345678}, {"pin": "[redacted]", "password": "[redacted]"}),
        ({"spec": [{"otp": 482913, "n": 4}]}, {"spec": [{"otp": "[redacted]", "n": 4}]}),
        ([{"name": "DB_PASSWORD", "value": 12345678}], [{"name": "DB_PASSWORD", "value": "[redacted]"}]),
        *(
            (counts, counts)
            for counts in (
                {"pins": 3, "password_attempts": 3, "max_tokens": 4096, "token": 5, "totp": 12},
                {"password": None, "secret": True, "token_ttl": 3600, "secrets": 4, "passwordRetries": 2},
            )
        ),
        ([{"name": "LOG_LEVEL", "value": "debug"}], [{"name": "LOG_LEVEL", "value": "debug"}]),
    ],
)
def test_under_plurals_names_counts_and_states_stay_and_all_else_is_hidden(
    value: object, shown: object
) -> None:
    assert redact_value(value) == shown


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("secrets", f"{_MADE_UP},{_ALSO}", "[redacted]"),
        ("tls_secrets", f"- web-tls\n- {_ALSO}", "[redacted]"),
        ("otps", "3 sent", "3 sent"),
        ("toks_per_second", "42.5", "42.5"),
        ("dsns", "primary,replica", "primary,replica"),
        ("otps", "482913", "[redacted]"),
        ("pwds", "3\nhunter2", "[redacted]"),
        ("app-secrets", "regcred, default-token-x7k2p", "regcred, default-token-x7k2p"),
    ],
)
def test_an_annotation_that_is_called_after_secrets_keeps_names_and_counts_alone(
    name: str, text: str, shown: str
) -> None:
    assert annotation(name, text, 400) == shown


TAILS = (
    "GET /cb?password=Ab1%26x%3DSw0rdfish9 HTTP/1.1",
    "https://h/login?access_token=ab%22-Sw0rdfish9&x=1",
    "password=Ab1%3B-Sw0rdfish9",
    r'{"password":"ab\u0022,\u0022x\u0022:\u0022Sw0rdfish9"}',
    r'{"password":"ab\u005c\u0022 Sw0rdfish9"}',
    "postgres://u:ab%3F%23%2FSw0rdfish9@h/x",
    'password="ab&quot; Sw0rdfish9"',
    "Authorization: Bearer ab%22Sw0rdfish9",
    "Cookie: sid=ab%3B%22Sw0rdfish9",
    "curl -u a:ab%22Sw0rdfish9 http://x",
    '{"password":"ab\uff02,\uff02x\uff02:\uff02Sw0rdfish9"}',
    "password=ab\uff1bx\uff1dSw0rdfish9",
)
"""The value goes on behind an escaped or styled sign that would end it: what an undone escape ends is still a part of it."""

TWICE = (
    r"\u001b[36mpassword\u001b[0m=Sw0rdfish9",
    "next=password%253DSw0rdfish9",
    "&lt;password&gt;Sw0rdfish9&lt;/password&gt;",
    r"pass\u200bword=Sw0rdfish9",
    "pass\u200bword\\u003dSw0rdfish9",
    "\x1b]8;;http://x\x07password\x1b]8;;\x07=Sw0rdfish9",
)
"""Escapes inside escapes, and several kinds in one line."""


@pytest.mark.parametrize("batch", in_batches([*TAILS, *TWICE]), ids=lambda batch: batch[0][:30])
def test_no_reading_of_a_text_uncovers_what_another_hides(batch: Sequence[str]) -> None:
    shown = {text: redact(text) for text in batch}
    assert {text: s for text, s in shown.items() if "Sw0rdfish9" in s or redact(s) != s} == {}


@pytest.mark.parametrize(
    ("link", "value"),
    [
        ("http://p:9090/graph?g0.expr=a%7Bsecret%3D%22{}%22%7D+%2B+b+%26+1&g0.tab=1", "tls-cert"),
        ("https://grafana/explore?left=%5B%7B%22expr%22%3A%22%7Bapp%3D%5C%22api%5C%22%7D%22%7D%5D{}", ""),
    ],
)
def test_a_link_keeps_its_escapes_around_what_is_hidden(link: str, value: str) -> None:
    assert redact(link.format(value)) == link.format("[redacted]" if value else "")
