"""Terms of the login at an OpenID provider, what its claims are worth, and which signatures count."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from app.domain.errors import BadInput, NotAuthenticated, NotPermitted
from app.intake.auth import Scope
from app.intake.id_token import Expected, UnknownKeyError, claims_in, usable_keys
from app.intake.oidc import (
    NAME,
    OidcTerms,
    audited_name,
    is_audited_name,
    mapped_groups,
    principal_of,
    read_terms,
    value_of,
)
from app.policy.model import APPROVER
from app.settings import Settings, load_settings
from tests.doubles.oidc import CLIENT, Provider, key

GOOD = {
    "oidc_issuer": "https://id.example.com/realms/ops",
    "oidc_client_id": CLIENT,
    "oidc_client_secret": "a-secret-of-some-length",
    "oidc_scopes": "openid email",
    "oidc_name_claim": "email",
    "oidc_groups_claim": "groups",
    "oidc_groups": '{"sre": "read+operate", "/team/x, y=z": "read"}',
    "external_url": "https://remediator.example.com/",
}
NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def terms() -> OidcTerms:
    found = read_terms(GOOD)
    assert found is not None
    return found


def test_the_settings_make_terms() -> None:
    found = terms()
    assert found.redirect_uri == "https://remediator.example.com/login/oidc/callback"
    assert found.groups["sre"] == {Scope.READ, Scope.OPERATE}
    assert GOOD["oidc_client_secret"] not in repr(found) + found.told
    assert read_terms(dict.fromkeys(GOOD, "") | {"oidc_scopes": "openid email"}) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in ("oidc_issuer", "oidc_client_id", "oidc_client_secret", "external_url", "oidc_groups")),
        *(
            (name, url)
            for name in ("oidc_issuer", "external_url")
            for url in (
                "http://id.example.com",
                "https://id.example.com?a=b",
                "https://id.example.com#a",
                "https://alice@id.example.com",
                "https://alice:secret@id.example.com",
                "https://",
                "https://[::1",
                "https://id.example.com:99999",
            )
        ),
        ("external_url", "https://remediator.example.com/below"),
        *(("oidc_scopes", text) for text in ("", "email", 'openid "x"', "openid\u00e9 openid\u00e9")),
        *(("oidc_name_claim", text) for text in ("", " email", "/email")),
        *(
            ("oidc_groups", text)
            for text in ("ops", "{}", "[]", '{"sre": 1}', '{"sre": "admin"}', '{"sre": ""}', '{"sre": "ingest"}', '{"": "read"}', "[" * 99_999)
        ),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_named_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_terms({**GOOD, name: value})
    assert caught.value.code == "bad_setting"
    where = "OIDC_CLIENT_ID" if name == "oidc_issuer" and not value else name.upper()
    assert caught.value.where == f"REMEDIATOR_{where}"
    assert not value or value not in str(caught.value)


def test_plain_http_is_for_loopback_alone() -> None:
    for host in ("127.0.0.1:9", "localhost", "[::1]:8080"):
        assert read_terms({**GOOD, "oidc_issuer": f"http://{host}", "external_url": f"http://{host}"})


@pytest.mark.parametrize(
    ("claim", "claims", "name"),
    [
        ("email", {"email": "Alice@Example.com", "email_verified": True}, "oidc:alice@example.com"),
        ("email", {"email": "a+b,c@x.io", "email_verified": True}, "oidc:a%2Bb%2Cc@x.io"),
        ("email", {"email": "ä@x.io", "email_verified": True}, "oidc:%C3%A4@x.io"),
        ("sub", {"sub": "auth0|5f7c8ec7c33c6c004bbafe82"}, "oidc:auth0|5f7c8ec7c33c6c004bbafe82"),
        ("sub", {"sub": "Abc"}, "oidc:Abc"),
        ("sub", {"sub": "a\u202eb\n"}, "oidc:a%E2%80%AEb%0A"),
        ("preferred_username", {"preferred_username": "alice"}, "oidc:alice"),
        ("https://x.io/name", {"https://x.io/name": "alice"}, "oidc:alice"),
    ],
)
def test_a_person_has_one_name_that_the_other_settings_can_say(
    claim: str, claims: dict[str, Any], name: str
) -> None:
    assert audited_name(claims, claim) == name
    assert re.fullmatch(NAME, name)
    assert re.fullmatch(APPROVER, name)
    assert Settings(people=f"alice+{name}").persons[name] == "alice"


def test_two_values_of_the_claim_are_two_names_and_nobody_is_somebody_elses_namesake() -> None:
    """A blank behind a name, a letter that only looks like one of ours, or a sign that no encoding has is another account."""
    values = (
        "mike",
        "mike ",
        " mike",
        "mike\u2003",
        "mike\n",
        "mi\u212ae",
        "mike\ud800",
        "mike\ud801",
        "mike?",
    )
    for claim in ("sub", "email"):
        names = {audited_name({claim: v, "email_verified": True}, claim) for v in values}
        assert len(names) == len(values), claim
        assert all(re.fullmatch(NAME, name) and is_audited_name(name, claim) for name in names)
    small = {
        audited_name({"email": v, "email_verified": True}, "email") for v in ("\u00c4B@x.io", "\u00e4b@X.io")
    }
    assert small == {"oidc:%C3%A4b@x.io"}, "one address is one person"


@pytest.mark.parametrize(
    ("claim", "name", "made"),
    [
        ("email", "oidc:alice@x.io", True),
        ("email", "oidc:Alice@x.io", False),
        ("email", "oidc:a%2Bb@x.io", True),
        ("email", "oidc:a%2bb@x.io", False),
        ("email", "oidc:%61lice@x.io", False),
        ("email", "oidc:%C3%84@x.io", False),
        ("sub", "oidc:Alice", True),
        ("sub", "oidc:a%C3", False),
        ("sub", "oidc:a%", False),
    ],
)
def test_a_name_that_no_login_makes_is_known_as_such(claim: str, name: str, made: bool) -> None:
    assert is_audited_name(name, claim) is made


def test_a_person_whose_name_at_the_provider_is_spelt_otherwise_refuses_the_start() -> None:
    """Their own login would count as another person beside their token."""
    secrets = {k: v for k, v in GOOD.items() if k != "oidc_groups_claim"} | {
        "tokens": f"alice:operate:{'0' * 64}"
    }
    sound = load_settings(**secrets, people="alice+slack:U0ANA+oidc:a%2Bb@x.io")
    assert sound.login is not None
    for name in ("oidc:Alice@x.io", "oidc:a%2bb@x.io"):
        with pytest.raises(BadInput) as caught:
            load_settings(**secrets, people=f"alice+slack:U0ANA+{name}")
        assert (caught.value.code, caught.value.where) == ("bad_setting", "REMEDIATOR_PEOPLE")
        assert name not in str(caught.value)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"email": "a@x.io"}, "email_not_verified"),
        ({"email": "a@x.io", "email_verified": False, "sub": "s"}, "email_not_verified"),
        ({"email": "a@x.io", "email_verified": 1}, "email_not_verified"),
        ({"email": "a@x.io", "email_verified": "true"}, "email_not_verified"),
        ({"email_verified": True, "sub": "s"}, "name_missing"),
        ({"email": "", "email_verified": True}, "name_missing"),
        ({"email": ["a@x.io"], "email_verified": True}, "name_missing"),
        ({"email": "a" * 201, "email_verified": True}, "name_missing"),
        ({"email": "\u20ac" * 100, "email_verified": True}, "name_missing"),
    ],
)
def test_nobody_gets_a_second_name_by_leaving_out_the_first(claims: dict[str, Any], code: str) -> None:
    """Whoever could choose between an address and a `sub` would be two people for an approval."""
    with pytest.raises(NotAuthenticated) as caught:
        audited_name(claims, "email")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("groups", "mapped"),
    [
        (["sre", "x"], ("sre",)),
        ("sre", ("sre",)),
        ("/team/x, y=z", ("/team/x, y=z",)),
        ("sre,x", ()),
        (["/team/x, y=z", "sre", "sre"], ("/team/x, y=z", "sre")),
        ([["sre"]], ()),
        ({"sre": True}, ()),
        (None, ()),
        (7, ()),
        ([f"g{n}" for n in range(10_000)] + ["sre"], ("sre",)),
    ],
)
def test_only_groups_that_the_setting_names_count(groups: Any, mapped: tuple[str, ...]) -> None:
    claims = {"email": "a@x.io", "email_verified": True, "groups": groups}
    assert mapped_groups(claims, terms()) == mapped
    if not mapped:
        with pytest.raises(NotPermitted) as caught:
            principal_of(claims, terms())
        assert caught.value.code == "no_group"
        assert "oidc:a@x.io is in none of the groups" in str(caught.value)


def test_a_claim_inside_another_is_named_by_a_json_pointer() -> None:
    claims = {"realm_access": {"roles": ["sre"], "a/b~c": 1}, "/plain": 2, "n": 3}
    assert value_of(claims, "/realm_access/roles") == ["sre"]
    assert value_of(claims, "/realm_access/a~1b~0c") == 1
    assert value_of(claims, "/plain") == 2
    assert [value_of(claims, c) for c in ("/n/x", "/x/y", "x", "/realm_access/roles/0")] == [None] * 4


class _Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def expected(**changes: Any) -> Expected:
    return Expected(
        **{"issuer": "https://id", "client_id": CLIENT, "nonce": "n", "access_token": "a", **changes}
    )


def signed(**faults: Any) -> str:
    return Provider(_Clock(), "", "https://id", **faults).id_token("n", "a")


def published(*numbers: int, **changes: Any) -> dict[str, Any]:
    return {"keys": [{**key(n).as_dict(private=False), **changes} for n in numbers]}


def _with_long_point() -> dict[str, Any]:
    """A point on its curve, with more zeros before its coordinate than any curve has digits."""
    point: dict[str, Any] = ECKey.generate_key("P-256").as_dict(private=False)
    raw = b"\0" * 40 + urlsafe_b64decode(point["x"] + "=")
    return {**point, "x": urlsafe_b64encode(raw).decode().rstrip("=")}


def test_keys_are_chosen_by_their_name_and_never_guessed() -> None:
    assert claims_in(signed(), published(2, 1), expected(), NOW)["sub"] == "sub-1"
    assert claims_in(signed(header={"kid": None}), published(1), expected(), NOW)["sub"] == "sub-1"
    for token, keys in (
        (signed(header={"kid": None}), published(1, 2)),
        (signed(signs_with=2), published(1)),
        (signed(header={"kid": "key-3"}), published(1, 2)),
    ):
        with pytest.raises(UnknownKeyError):
            claims_in(token, keys, expected(), NOW)
    with pytest.raises(NotAuthenticated, match="bad_signature"):
        claims_in(signed(signs_with=2, header={"kid": "key-1"}), published(1), expected(), NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keys": [OctKey.import_key("the-secret-of-this-client-0123456").as_dict(private=True)]},
        {"keys": [{"kty": "RSA", "n": "x"}, {"kty": "EC", "crv": "P-0"}, {}, 7, None, {"kty": ["RSA"]}]},
        published(1, use="enc"),
        published(1, alg="HS256"),
        published(1, alg="RSA1_5"),
        published(1, n="_" * 2_732),
        published(1, e="_" * 12),
        {"keys": [_with_long_point()]},
        published(1, key_ops=["verify"] * 17),
        published(1, **{f"m{n}": 1 for n in range(32)}),
        {"keys": [key(1).as_dict(private=True)]},
        {"keys": {}},
        {},
    ],
    ids=["shared secret", "unreadable", "for encryption", "hmac", "another use", "long modulus", "long exponent", "long point", "operations", "members", "private", "object", "empty"],
)  # fmt: skip
def test_keys_that_prove_nothing_are_left_out(wrong: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        usable_keys(wrong)
    listed = wrong.get("keys")
    both = {"keys": [*(listed if isinstance(listed, list) else []), *published(2)["keys"]]}
    assert len(usable_keys(both).keys) == 1


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_short_rsa_key_proves_nothing_and_elliptic_curves_do() -> None:
    with pytest.raises(NotAuthenticated):
        usable_keys({"keys": [RSAKey.generate_key(1024).as_dict(private=False)]})
    assert usable_keys({"keys": [ECKey.generate_key("P-256").as_dict(private=False)]})


def test_only_algorithms_that_the_provider_announces_count() -> None:
    assert claims_in(signed(), published(1), expected(algorithms=("RS256", "none")), NOW)
    for announced in (("ES256",), ("none",), ("HS256",)):
        with pytest.raises(NotAuthenticated):
            claims_in(signed(), published(1), expected(algorithms=announced), NOW)


def test_the_clocks_may_be_a_minute_apart_and_no_more() -> None:
    sound = signed()
    for seconds, holds in ((-60, True), (-61, False), (0, True), (359, True), (360, False)):
        try:
            claims_in(sound, published(1), expected(), NOW + timedelta(seconds=seconds))
            told = True
        except NotAuthenticated:
            told = False
        assert told is holds, seconds


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "a.b.c", "a.b.c.d.e", "\u00e9.\u00e9.\u00e9", "x" * 3_000_000, "e30.e30.", "bnVsbA.e30.x", "W10.e30.x"],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        claims_in(text, published(1), expected(), NOW)
    assert caught.value.code == "login_refused"
    assert len(str(caught.value)) < 200


def test_a_payload_that_is_nested_deep_or_no_object_is_refused() -> None:
    def raw(payload: str) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        from tests.doubles.oidc import encoded

        text = f"{encoded(json.dumps({'alg': 'RS256', 'kid': 'key-1'}).encode())}.{encoded(payload.encode())}"
        private: Any = key(1).raw_value
        return f"{text}.{encoded(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    for payload in (
        "[" * 100_000,
        "[]",
        "7",
        "null",
        '{"exp": 1e999}',
        '{"iss": [], "aud": {}, "sub": 1, "exp": [], "iat": {}}',
    ):
        with pytest.raises(NotAuthenticated):
            claims_in(raw(payload), published(1), expected(), NOW)
