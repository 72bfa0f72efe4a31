"""Tokens, signatures and secrets: right ones pass, everything else is simply not authenticated."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInput
from app.domain.no_secret import _texts_of_none, fault_in_secret
from app.intake.auth import (
    Access,
    Principal,
    Scope,
    TokenTable,
    pagerduty_signed,
    parse_secrets,
    parse_tokens,
    same_secret,
    slack_signed,
)


def sha(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


TABLE = parse_tokens(
    f"am:ingest:{sha('one-caller')}, ops:operate+read:{sha('two-caller')}\nci:trigger:{sha('three-caller').upper()}\n"
)

CALLERS = [
    ("Bearer one-caller", "am"),
    ("bearer one-caller", "am"),
    ("BEARER  two-caller ", "ops"),
    ("Bearer three-caller", "ci"),
    (basic("anyone:one-caller"), "am"),
    (basic(":two-caller"), "ops"),
    ("basic " + basic("u:three-caller").split()[1], "ci"),
    ("", None),
    ("Bearer", None),
    ("Bearer ", None),
    ("Bearer four", None),
    ("Bearer one-caller two-caller", None),
    (f"Bearer {sha('one-caller')}", None),
    ("one-caller", None),
    ("Digest one-caller", None),
    (basic("one-caller:"), None),
    (basic("one-caller"), None),
    ("Basic !!!", None),
    ("Basic /w==", None),
    ("Basic abc", None),
    ("Bearer \udcff", None),
]


@pytest.mark.parametrize(("header", "name"), CALLERS)
def test_an_authorization_header_leads_to_its_owner_or_to_nobody(header: str, name: str | None) -> None:
    found = TABLE.authenticate(header)
    assert (found.name if found else None) == name


def test_a_token_has_the_scopes_it_was_given_and_no_others() -> None:
    found = TABLE.find("two-caller")
    assert found is not None
    assert found.scopes == {Scope.OPERATE, Scope.READ}


def test_a_password_may_contain_colons() -> None:
    table = parse_tokens(f"a:read:{sha('x1:y2:z3')}")
    assert table.authenticate(basic("user:x1:y2:z3")) is not None


@given(st.text(max_size=60))
def test_any_header_is_answered_without_an_exception(header: str) -> None:
    assert TABLE.authenticate(header) is None


BAD_TABLES = [
    ("", "no token in it", ""),
    (" ,\n# only a comment\n", "no token in it", ""),
    ("name", "expected name:scope", " entry 1"),
    ("a:read", "expected name:scope", " entry 1"),
    (f"a:read:{sha('x-token')}:more", "expected name:scope", " entry 1"),
    (f":read:{sha('x-token')}", "a name has", " entry 1"),
    (f"a b:read:{sha('x-token')}", "a name has", " entry 1"),
    (f"a:write:{sha('x-token')}", "a scope is one of ingest, operate, read, trigger", " entry 1"),
    (f"a::{sha('x-token')}", "a scope is one of", " entry 1"),
    (f"a:read+:{sha('x-token')}", "a scope is one of", " entry 1"),
    ("a:read:secret-token", "not the token itself", " entry 1"),
    (f"a:read:{sha('x-token')},b:read:zz", "not the token itself", " entry 2"),
    (f"a:read:{sha('x-token')},b:read:{sha('x-token')}", "the same token is given twice", " entry 2"),
    (f"a:read:{sha('x-token')},a:read:{sha('y-token')}", "the same name is given twice", " entry 2"),
]


@pytest.mark.parametrize(("text", "reason", "entry"), BAD_TABLES)
def test_a_bad_table_is_refused_with_its_entry(text: str, reason: str, entry: str) -> None:
    with pytest.raises(BadInput, match=reason.replace("+", r"\+")) as caught:
        parse_tokens(text)
    assert (caught.value.code, caught.value.where) == ("bad_setting", f"REMEDIATOR_TOKENS{entry}")


def test_neither_tokens_nor_secrets_stand_in_error_texts_and_representations() -> None:
    with pytest.raises(BadInput) as caught:
        parse_tokens("a:read:hunter2hunter2")
    assert "hunter2" not in str(caught.value)
    access = Access(tokens=TABLE, pagerduty_secrets=("hunter2",), orchestration_secret="hunter3")
    assert "hunter" not in repr(access)
    assert sha("one-caller") not in repr(access)


def test_access_without_tokens_is_open() -> None:
    assert Access().open
    assert not Access(tokens=TABLE).open


PING = b'{"event":{"event_type":"pagey.ping"}}'
NEW = "22771cda9f457032cbb9a53e4ddbd73b65accedc63e3201a1bab2a740eefea0f"
OLD = "bb79c44f05cec766d1839f25dce904c3faaabacafd7f065698e1b9204530ca08"
BOTH = ("pd-secret-current", "pd-secret-old")

SIGNATURES = [
    (("pd-secret-current",), f"v1={NEW}", True),
    (("pd-secret-old",), f"v1={OLD}", True),
    (BOTH, f"v1={OLD}", True),
    (("pd-secret-current",), f"v1={OLD},v1={NEW}", True),
    (("pd-secret-current",), f" v1={OLD} , v1={NEW} ", True),
    (("pd-secret-current",), f"v0=abc,v1={NEW},v2=def", True),
    (("pd-secret-current",), f"v1={OLD}", False),
    (("pd-secret-current",), f"v2={NEW}", False),
    (("pd-secret-current",), NEW, False),
    (("pd-secret-current",), f"v1={NEW[:-1]}", False),
    (("pd-secret-current",), f"v1={NEW.upper()}", False),
    (("pd-secret-current",), "v1=ü", False),
    (("pd-secret-current",), "v1=", False),
    (("pd-secret-current",), "", False),
    ((), f"v1={NEW}", False),
]


@pytest.mark.parametrize(("secrets", "header", "valid"), SIGNATURES)
def test_a_pagerduty_signature_of_any_active_secret_is_enough(
    secrets: tuple[str, ...], header: str, valid: bool
) -> None:
    assert pagerduty_signed(secrets, header, PING) is valid


def test_a_pagerduty_signature_is_over_the_raw_bytes() -> None:
    assert not pagerduty_signed(BOTH, f"v1={NEW}", PING + b" ")


SLACK_BODY = b"payload=%7B%22type%22%3A%22block_actions%22%7D"
SLACK_AT = datetime.fromtimestamp(1772619455, UTC)
SLACK_SIGNATURE = "v0=c7c87d2aebd9747f492a751387b2fe6dffcb0c01a279970490618e9f4862c088"

SLACK = [
    ({}, True),
    ({"now": SLACK_AT + timedelta(seconds=300)}, True),
    ({"now": SLACK_AT - timedelta(seconds=300)}, True),
    ({"now": SLACK_AT + timedelta(seconds=301)}, False),
    ({"now": SLACK_AT - timedelta(seconds=301)}, False),
    ({"secret": "other"}, False),
    ({"secret": ""}, False),
    ({"body": SLACK_BODY + b"x"}, False),
    ({"signature": ""}, False),
    ({"signature": SLACK_SIGNATURE.upper()}, False),
    ({"signature": "v0=ünicode"}, False),
    ({"signature": "v0=\udcff"}, False),
    ({"timestamp": "soon"}, False),
    ({"timestamp": ""}, False),
    ({"timestamp": "1772619455.0"}, False),
    ({"timestamp": "9" * 400}, False),
    ({"timestamp": "١٧٧٢٦١٩٤٥٥"}, False),
]


@pytest.mark.parametrize(("changes", "valid"), SLACK)
def test_a_slack_signature_holds_for_its_body_and_time_only(changes: dict[str, object], valid: bool) -> None:
    request: dict[str, object] = {
        "secret": "slack-secret", "timestamp": "1772619455", "signature": SLACK_SIGNATURE, "body": SLACK_BODY,
        "now": SLACK_AT, **changes,
    }  # fmt: skip
    secret = str(request.pop("secret"))
    assert slack_signed(secret, **request) is valid  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "given", "same"),
    [("s", "s", True), ("s", "t", False), ("s", "", False), ("", "", False), ("s", "ß", False)],
)
def test_a_shared_secret_is_compared_and_an_empty_one_matches_nothing(
    expected: str, given: str, same: bool
) -> None:
    assert same_secret(expected, given) is same


def test_signing_secrets_are_separated_by_commas() -> None:
    assert parse_secrets(" a , b,,") == ("a", "b")


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u00a0", "   "])
def test_a_blank_token_is_nobodys_whatever_is_configured(blank: str) -> None:
    table = TokenTable(((sha(blank), Principal("alice", frozenset(Scope))),))
    assert table.find(blank) is None
    assert table.authenticate(basic(f"x:{blank}")) is None
    assert table.authenticate(f"Bearer {blank}") is None


GUESSED = ["changeme", "REPLACE_ME", "test", "password", "12345678", "token", "secret", "admin", "your-secret-here", "Passw0rd!", "qwerty123", "aaaaaaaaaaaa", "changeme123"]  # fmt: skip


@pytest.mark.parametrize(
    "nothing",
    [
        "",
        "\ufeff",
        "\u3164",
        "\0",
        "null",
        "<no value>",
        '""',
        "${TOKEN}",
        *GUESSED,
        "seven77",
        "TODO-set-me",
        "op://vault/item/field",
    ],
)
def test_a_token_that_nobody_can_see_or_a_template_left_is_nobodys(nothing: str) -> None:
    """Whatever digests are configured."""
    entry = (sha(nothing), Principal("somebody", frozenset({Scope.READ})))
    header = base64.b64encode(f":{nothing}".encode()).decode()
    assert TokenTable((entry,)).find(nothing) is None
    assert TokenTable((entry,)).authenticate(f"Basic {header}") is None


@pytest.mark.parametrize("guessed", [*GUESSED, "${TOKEN}", "<your-token>"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_the_digest_of_a_token_that_anybody_would_try_refuses_the_start(guessed: str, end: str) -> None:
    with pytest.raises(BadInput, match="anybody would try"):
        parse_tokens(f"alice:read:{sha(guessed + end)}")


def test_what_is_known_by_its_digest_is_also_refused_when_it_is_shown() -> None:
    """One notion of no secret: the list of digests is that of texts in which the check finds a fault."""
    assert [text for text in _texts_of_none() if not fault_in_secret(text)] == []


def test_only_a_token_that_is_known_is_judged_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To judge takes long, and strangers show tokens too."""
    judged: list[str] = []

    def fault(token: str) -> str:
        judged.append(token)
        return ""

    monkeypatch.setattr("app.intake.auth.fault_in_secret", fault)
    table = TokenTable(((sha("k4Vq-9tZ2m"), Principal("alice", frozenset(Scope))),))
    assert [table.find(odd) for odd in ("a stranger's " * 80, "half a character \ud800", "\udcff")] == [
        None
    ] * 3
    assert [table.find("k4Vq-9tZ2m") is not None for _ in range(3)] == [True] * 3
    assert judged == ["k4Vq-9tZ2m"]
