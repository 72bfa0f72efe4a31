"""The doctor's look at the login: a provider that fits, each thing that can be wrong with it, and what has to be registered."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from app.doctor import local, login
from app.doctor.findings import Finding, Level
from app.doctor.patient import Patient
from app.observe.system import SystemClock
from app.policy.model import Policy
from app.settings import Settings
from tests.doubles.oidc import CLIENT, SECRET, serving
from tests.unit.policy.cases import policy_of

URL = "http://127.0.0.1:8080"


def settings_of(issuer: str, **changes: Any) -> Settings:
    given = {
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_groups": '{"sre": "read+operate"}',
        "external_url": URL,
        "tokens": f"alertmanager:ingest+read+operate:{hashlib.sha256(b'a-token-of-the-clinic').hexdigest()}",
        **changes,
    }
    return Settings(**given)


async def looked_at(faults: dict[str, Any] | None = None, **changes: Any) -> list[Finding]:
    async with (
        serving(SystemClock(), f"{URL}/login/oidc/callback") as provider,
        httpx.AsyncClient(timeout=60) as http,
    ):
        vars(provider).update(faults or {})
        patient = Patient(settings_of(provider.issuer, **changes), None, SystemClock(), http, None)
        return await login.provider(patient)


async def test_a_provider_that_fits_is_told_with_what_to_register_there() -> None:
    redirect, answers = await looked_at()
    assert (redirect.code, answers.code) == ("login_redirect", "provider_answers")
    assert f"redirect {URL}/login/oidc/callback, after a logout {URL}/login" in redirect.text
    assert {redirect.level, answers.level} == {Level.OK}


async def test_without_a_provider_nothing_is_looked_at() -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        assert await login.provider(Patient(Settings(), None, SystemClock(), http, None)) == []


@pytest.mark.parametrize(
    ("code", "level", "faults", "changes"),
    [
        ("login_nobody", Level.FAIL, {}, {"oidc_groups": '{"sre": "operate"}'}),
        ("login_looks_only", Level.WARN, {}, {"oidc_groups": '{"sre": "read"}'}),
        ("provider_unusable", Level.FAIL, {"metadata": {"issuer": "https://other"}}, {}),
        ("provider_unusable", Level.FAIL, {}, {"oidc_issuer": "http://127.0.0.1:9"}),
        ("provider_keys", Level.FAIL, {"publishes": ()}, {}),
        (
            "provider_algorithms",
            Level.FAIL,
            {"metadata": {"id_token_signing_alg_values_supported": ["HS256"]}},
            {},
        ),
    ],
)
async def test_what_is_wrong_with_the_login_is_named(
    code: str, level: Level, faults: dict[str, Any], changes: dict[str, Any]
) -> None:
    found = [f for f in await looked_at(faults, **changes) if f.level is not Level.OK]
    assert [(f.code, f.level) for f in found] == [(code, level)]
    assert found[0].fix
    assert SECRET not in str(found)


async def test_names_of_the_provider_need_a_provider() -> None:
    by = ("oidc:alice@example.com",)
    given = Settings(people="alice+oidc:alice@example.com", tokens=settings_of("http://127.0.0.1:9").tokens)
    base: Policy = policy_of()
    rule = base.rules[0].model_copy(update={"approval": base.rules[0].approval.model_copy(update={"by": by})})
    asked = base.model_copy(update={"rules": (rule,)})
    async with httpx.AsyncClient(timeout=60) as http:
        for settings, expected in ((given, True), (settings_of("http://127.0.0.1:9"), False)):
            patient = Patient(settings, asked, SystemClock(), http, None)
            codes = {f.code for f in (*local.settings(patient), *local.policy(patient))}
            assert ("nobody_approves" in codes) is expected
            assert ("person_unknown" in codes) is expected


async def test_a_rule_that_spells_an_approver_as_no_login_does_has_nobody_to_approve() -> None:
    base: Policy = policy_of()
    async with httpx.AsyncClient(timeout=60) as http:
        for name, expected in (("oidc:Alice@example.com", True), ("oidc:alice@example.com", False)):
            approval = base.rules[0].approval.model_copy(update={"by": (name,)})
            asked = base.model_copy(
                update={"rules": (base.rules[0].model_copy(update={"approval": approval}),)}
            )
            patient = Patient(settings_of("http://127.0.0.1:9"), asked, SystemClock(), http, None)
            assert ("nobody_approves" in {f.code for f in local.policy(patient)}) is expected
