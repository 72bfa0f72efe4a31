"""What the service refuses at its start the chart refuses before a pod is made, and nothing else: both are asked about the same settings."""

from __future__ import annotations

import os

import pytest

from app.domain.errors import BadInput
from app.setting_texts import SettingsInvalid
from app.settings import load_settings
from tests.unit.chart.test_values import faults, with_values

LOGIN = {
    "OIDC_ISSUER": "https://id.example.org",
    "OIDC_CLIENT_ID": "x",
    "OIDC_GROUPS": '{"sre": "read"}',
    "EXTERNAL_URL": "https://r.example.org",
}
FIT: list[dict[str, str]] = [
    {},
    LOGIN,
    {**LOGIN, "OIDC_ISSUER": "https://id.example.org:8443/realms/a/"},
    {**LOGIN, "OIDC_ISSUER": "http://localhost:9090/dex"},
    {**LOGIN, "OIDC_ISSUER": "http://127.0.0.1:9090"},
    {**LOGIN, "EXTERNAL_URL": "https://r.example.org/"},
    {**LOGIN, "OIDC_GROUPS": ' { "a b" : "read+operate" , "c\\"d": "trigger" } '},
    {**LOGIN, "OIDC_SCOPES": "email openid groups"},
    {"EXTERNAL_URL": "http://remediator.example.org/prefix"},
    {"PEOPLE": "alice+slack:U0123ABC+oidc:alice@example.org, bob + slack:W99,"},
    {"PEOPLE": ""},
    {"SLACK_OPERATORS": "U0123ABC, S0456DEF,,W77"},
]
UNFIT: list[dict[str, str]] = [
    {**LOGIN, "OIDC_ISSUER": "http://id.example.org"},
    {**LOGIN, "OIDC_ISSUER": "http://127.example.org"},
    {**LOGIN, "OIDC_ISSUER": "https://id.example.org?tenant=1"},
    {**LOGIN, "OIDC_ISSUER": "id.example.org"},
    {**LOGIN, "EXTERNAL_URL": "http://r.example.org"},
    {**LOGIN, "EXTERNAL_URL": "https://r.example.org/prefix"},
    {**LOGIN, "EXTERNAL_URL": ""},
    {**LOGIN, "OIDC_GROUPS": "sre=read"},
    {**LOGIN, "OIDC_GROUPS": "{}"},
    {**LOGIN, "OIDC_GROUPS": ""},
    {**LOGIN, "OIDC_GROUPS": '{"": "read"}'},
    {**LOGIN, "OIDC_GROUPS": '{"sre": "admin"}'},
    {**LOGIN, "OIDC_GROUPS": '{"sre": "ingest"}'},
    {**LOGIN, "OIDC_GROUPS": '{"sre": ["read"]}'},
    {**LOGIN, "OIDC_SCOPES": "email openidx"},
    {**LOGIN, "OIDC_CLIENT_ID": ""},
    {"OIDC_CLIENT_ID": "x"},
    {"OIDC_GROUPS": '{"sre": "read"}'},
    {"PEOPLE": "alice=b"},
    {"PEOPLE": "alice+slack:u1"},
    {"PEOPLE": "alice++bob"},
    {"SLACK_OPERATORS": "alice"},
    {"SLACK_OPERATORS": "U0123ABC;U0456"},
]


def _starts(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> bool:
    for name in [n for n in os.environ if n.startswith("REMEDIATOR_")]:
        monkeypatch.delenv(name)
    given = {"TOKENS": f"me:ingest:{'a1' * 32}", **settings}
    if "OIDC_ISSUER" in settings:
        given["OIDC_CLIENT_SECRET"] = "kq8Zt3-secret-of-a-client"
    for name, value in given.items():
        monkeypatch.setenv(f"REMEDIATOR_{name}", value)
    try:
        found = load_settings()
        return (found.login is not None) == ("OIDC_ISSUER" in settings)
    except (BadInput, SettingsInvalid):
        return False


def _chart(settings: dict[str, str]) -> str:
    keys = {"OIDC_CLIENT_SECRET": "o"} if "OIDC_ISSUER" in settings else {}
    return faults(with_values(settings=settings, secret__keys=keys))


@pytest.mark.parametrize("settings", FIT, ids=str)
def test_what_the_service_takes_the_chart_takes(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _starts(settings, monkeypatch)
    assert _chart(settings) == ""


@pytest.mark.parametrize("settings", UNFIT, ids=str)
def test_what_the_service_refuses_the_chart_refuses(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _starts(settings, monkeypatch)
    assert _chart(settings) != ""


def test_a_secret_of_a_login_that_there_is_not_is_refused() -> None:
    assert faults(with_values(secret__keys__OIDC_CLIENT_SECRET="o"))
