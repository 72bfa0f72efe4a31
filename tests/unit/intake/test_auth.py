"""Tokens, signatures and secrets: right ones pass, everything else is simply not authenticated."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInput
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
    f"am:ingest:{sha('one')}, ops:operate+read:{sha('two')}\nci:trigger:{sha('three').upper()}\n"
)

CALLERS = [
    ("Bearer one", "am"),
    ("bearer one", "am"),
    ("BEARER  two ", "ops"),
    ("Bearer three", "ci"),
    (basic("anyone:one"), "am"),
    (basic(":two"), "ops"),
    ("basic " + basic("u:three").split()[1], "ci"),
    ("", None),
    ("Bearer", None),
    ("Bearer ", None),
    ("Bearer four", None),
    ("Bearer one two", None),
    (f"Bearer {sha('one')}", None),
    ("one", None),
    ("Digest one", None),
    (basic("one:"), None),
    (basic("one"), None),
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
    found = TABLE.find("two")
    assert found is not None
    assert found.scopes == {Scope.OPERATE, Scope.READ}


def test_a_password_may_contain_colons() -> None:
    table = parse_tokens(f"a:read:{sha('x:y:z')}")
    assert table.authenticate(basic("user:x:y:z")) is not None


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
    assert sha("one") not in repr(access)


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


@pytest.mark.parametrize("nothing", ["", "\ufeff", "\u3164", "\0", "null", "<no value>", '""', "${TOKEN}"])
def test_a_token_that_nobody_can_see_or_a_template_left_is_nobodys(nothing: str) -> None:
    """Whatever digests are configured."""
    entry = (sha(nothing), Principal("somebody", frozenset({Scope.READ})))
    header = base64.b64encode(f":{nothing}".encode()).decode()
    assert TokenTable((entry,)).find(nothing) is None
    assert TokenTable((entry,)).authenticate(f"Basic {header}") is None
