"""However a secret is written, nothing of it stays: made-up values in every quoting, in texts inside texts."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from xml.sax.saxutils import escape

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.redact import REDACTED, redact

RUN = 6
"""Characters of a secret in a row that say too much of it."""

_WORDS = ("Sw0rdfish", "kQ7pX2vL", "hunter", "correct", "12345678", "Zm9vYmFy")
_SIGNS = "'\"\\/ #@:%$&;,=}])({[<>|`!?*~^+-_.é漢\u00df"
_PIECES = st.one_of(
    st.sampled_from(_WORDS), st.sampled_from(_SIGNS), st.sampled_from(("\\n", '\\"', "''", "ab", "1", "\\'"))
)
SECRETS = st.lists(_PIECES, min_size=1, max_size=7).map("".join).filter(lambda s: len(s.strip()) >= RUN + 2)


def _double(text: str) -> str:
    """As a shell reads it inside double quotes."""
    return '"' + "".join(f"\\{c}" if c in '"\\$`' else c for c in text) + '"'


def _ansi(text: str) -> str:
    return "$'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _sign_by_sign(text: str) -> str:
    """As `printf %q` writes it."""
    return "".join(c if c.isalnum() or c in "_-./:@%+=," else f"\\{c}" for c in text)


def _libpq(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _yaml(style: str) -> Callable[[str], str]:
    return lambda text: yaml.safe_dump(
        {"password": text}, default_style=style, allow_unicode=True, width=1_000
    )


_SHELLS: dict[str, Callable[[str], str]] = {
    "single": shlex.quote,
    "double": _double,
    "ansi": _ansi,
    "sign by sign": _sign_by_sign,
}
_COMMANDS = (
    "app --password={} --port 5",
    "app --password {} --port 5",
    "PASSWORD={} app --port 5",
    "mysql -u root -p{} shop",
    "redis-cli -h r -a {} ping",
    "cqlsh -u c -p {} -e q",
    "sqlcmd -U sa -P {} -Q q",
)


def _command(command: str, write: Callable[[str], str]) -> Callable[[str], str]:
    return lambda secret: command.format(write(secret))


_QUOTED: dict[str, Callable[[str], str]] = {
    "json": lambda s: json.dumps({"password": s, "user": "bob"}),
    "json unicode": lambda s: json.dumps({"user": "bob", "password": s}, ensure_ascii=False),
    "json list": lambda s: json.dumps({"passwords": ["ab", s]}),
    "json pair": lambda s: json.dumps({"name": "DB_PASSWORD", "value": s}),
    "json pair turned": lambda s: json.dumps({"value": s, "name": "DB_PASSWORD"}),
    "json arguments": lambda s: json.dumps(["app", "--password", s, "--port", "5"]),
    "json arguments joined": lambda s: json.dumps(["app", f"--password={s}", "x"]),
    "json arguments of a tool": lambda s: json.dumps(["redis-cli", "-a", s, "ping"]),
    "json user of a tool": lambda s: json.dumps(["curl", "-u", f"bob:{s}", "http://x"]),
    "json shell": lambda s: json.dumps(["sh", "-c", f"mysql -p{shlex.quote(s)} -e q"]),
    "repr": lambda s: repr({"password": s, "user": "bob"}),
    "repr pair": lambda s: repr([("host", "h"), ("password", s)]),
    "repr call": lambda s: f"Settings(user='bob', password={s!r}, port=5)",
    "yaml single": _yaml("'"),
    "yaml double": _yaml('"'),
    "yaml literal": _yaml("|"),
    "yaml folded": _yaml(">"),
    "yaml tag": lambda s: f"password: !!str {json.dumps(s)}\nuser: bob",
    "yaml anchor": lambda s: f"password: &a {json.dumps(s)}\nuser: bob",
    "sql": lambda s: "ALTER USER bob PASSWORD '" + s.replace("'", "''") + "'",
    "libpq": lambda s: f"host=h password={_libpq(s)} dbname=x",
    "xml": lambda s: f"<password>{escape(s)}</password>",
    "said": lambda s: f"the password is {json.dumps(s)}",
    "said of one": lambda s: f"password for bob was {json.dumps(s, ensure_ascii=False)}",
    "redis": lambda s: f"requirepass {json.dumps(s)}",
    "redis auth": lambda s: f"AUTH default {json.dumps(s)}",
    "header in quotes": lambda s: f"curl -H {_double('X-Api-Key: ' + s)} http://x",
    "user in quotes": lambda s: f"curl -u {shlex.quote('bob:' + s)} http://x",
    "user in double quotes": lambda s: f"curl -u {_double('bob:' + s)} http://x",
    "python triple": lambda s: f'password = """{s}"""' if '"' not in s and not s.endswith("\\") else repr({"password": s}),
    **{f"{name}: {command}": _command(command, write) for name, write in _SHELLS.items() for command in _COMMANDS},
}  # fmt: skip
_AROUND: dict[str, Callable[[str], str]] = {
    "alone": lambda text: text,
    "json": lambda text: json.dumps({"msg": text, "level": "info"}),
    "json twice": lambda text: json.dumps({"log": json.dumps({"msg": text})}),
    "json three times": lambda text: json.dumps({"a": json.dumps({"log": json.dumps({"msg": text})})}),
}


def _runs(secret: str) -> set[str]:
    return {secret[at : at + RUN] for at in range(len(secret) - RUN + 1)}


def _left(secret: str, text: str) -> list[str]:
    """Runs of the secret that a text holds, and those of its letters and digits alone, however the signs are escaped."""
    words = "".join(c if c.isalnum() else " " for c in secret).split()
    parts = _runs(secret).union(*(_runs(word) for word in words))
    return sorted(part for part in parts if part.strip("\\ '\"") and part in text)


def _writable(written: str, secret: str) -> bool:
    r"""Without what this way of writing leaves open: a bare word of an assignment ends before `,name=`, and a literal `\n` in one
    reads as the end of a line."""
    if not written.startswith(("sign by sign", "single: PASSWORD", "ansi: PASSWORD")):
        return True
    begins = secret[0] not in "'\"" if written.startswith("sign by sign") else True
    return begins and "\\" not in secret and re.search(r"[,;&]\s?[^=:]*[=:]", secret) is None


@pytest.mark.parametrize("written", _QUOTED)
@given(secret=SECRETS)
@example(secret='ab" Sw0rdfish9')
@example(secret="ab' Sw0rdfish9")
@example(secret="ab\\ Sw0rdfish9")
@example(secret='a\\" Sw0rdfish9')
@example(secret="' Sw0rdfish9")
@example(secret="\\'\\'\\ Sw0rdfish9")
@example(secret="1//0gSw0rdfish9")
@example(secret="12345678")
@settings(max_examples=12, deadline=None, derandomize=True)
def test_nothing_of_a_quoted_secret_stays(written: str, secret: str) -> None:
    if not _writable(written, secret):
        return
    for around in _AROUND.values():
        text = around(_QUOTED[written](secret))
        shown = redact(text)
        assert _left(secret, shown) == [], (text, shown)


_BARE = {
    **dict.fromkeys(("password={}", "password={} user=bob", "PASSWORD={}", "password: {}", "refresh_token={}", "client-secret => {}"), "/@:%$+=.-_!~^*#?|12"),
    **dict.fromkeys(("- name: DB_PASSWORD\n  value: {}", "name=DB_PASSWORD value={}", "- value: {}\n  name: DB_PASSWORD"), "/@:%$+=.-_!~^*?12"),
    **dict.fromkeys(("Authorization: Bearer {}", "X-Api-Key: {}", "Cookie: sid={}", "Proxy-Authorization: {}"), "/@:%$+=.-_!~^*#?|12,;&"),
    **dict.fromkeys(("postgres://bob:{}@db:5432/x", "redis://:{}@h:6379/0", "oracle+cx_oracle://bob:{}@h/x", "bob:{}@tcp(db:3306)/x"), "/@:%$+=.-_!~^*#?|12,;&"),
    **dict.fromkeys(("https://bob:{}@h/x", "trying bob:{}@db.rag7:5432"), "%$+=.-_!~^*12"),
    **dict.fromkeys(("app --password {} --port 5", "curl -u bob:{} http://x", "redis-cli -a {} ping", "cqlsh -p {}", "sshpass -p{} ssh x"), "/@:%$+=.-_!~^*#?12,"),
    **dict.fromkeys(("GET /x?access_token={}&page=2", "GET /x?sig={}"), "%$+=.-_!~^*12"),
    **dict.fromkeys(("ALTER USER bob IDENTIFIED BY {}", "AUTH default {}", "requirepass {}", "db:5432:app:bob:{}"), "/@:%$+.-_!~^*?12"),
    **dict.fromkeys(("<password>{}</password>", "<add key='Password' value='{}'/>"), "/@:%$+=.-_!~^*#?|12,;"),
}  # fmt: skip
"""Ways of writing a secret without quotes, and the signs that it may hold there. A way of its own for each kind of class."""


@pytest.mark.parametrize("written", _BARE)
@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_nothing_of_a_bare_secret_stays(written: str, data: st.DataObject) -> None:
    pieces = st.one_of(st.sampled_from(_BARE_WORDS), st.sampled_from(_BARE[written]))
    secret = data.draw(st.lists(pieces, min_size=2, max_size=6).map("".join))
    if len(secret) < RUN + 2 or not _strange(secret) or secret[0] in "-&#!|*~^?=+%$@:/.,;_":
        return
    for around in _AROUND.values():
        text = around(written.replace("{}", secret))
        shown = redact(text)
        assert _left(secret, shown) == [], (text, shown)


_BARE_WORDS = ("Sw0rdfish", "kQ7pX2vL", "hunter2x", "12345678", "Zm9vYmFy1")


def _strange(secret: str) -> bool:
    """Not a number and not a word that is said of a secret: with digits between letters."""
    return re.search(r"[A-Za-z][0-9]+[A-Za-z]", secret) is not None


def test_a_count_is_a_whole_value_and_an_empty_one_too() -> None:
    for text in ("max_tokens=4096", "tokens: 4096, user=bob", '{"total_tokens":17,"a":1}', "token=5 epoch=3"):
        assert redact(text) == text
    for sign in "/+@=:$!%;,&~^*?|#":
        for before in ("12345", "true", "None", "null", "1"):
            for name in ("refresh_token", "password"):
                text = f"{name}={before}{sign}Sw0rdfish9"
                assert "Sw0rdfish9" not in redact(text), text
    assert REDACTED in redact("password=12345678")


@pytest.mark.parametrize(
    "unit", ["'a'", '"a"', "\\'", '\\\\"', "'\\''", "''", '""', "a\\ ", "&a=", "!t ", "$'a'", "a(", "\u201ca"]
)
def test_a_word_of_many_pieces_costs_by_its_length(unit: str) -> None:
    """And no deep call for each of its pieces."""
    for text in (f"password={unit * 4_000}", f"mysql -p{unit * 4_000}", f"Authorization: {unit * 4_000}"):
        redact(text)
