"""The login at an OpenID provider: does it answer, as the settings say, and what has to be registered there?"""

from __future__ import annotations

from app.doctor.findings import Area, Finding, Voice
from app.doctor.patient import Patient
from app.domain.errors import NotAuthenticated, ProbeUnavailable
from app.intake.auth import Scope
from app.outside import sign_in

_LOGIN = Voice(Area.LOGIN)


async def provider(patient: Patient) -> list[Finding]:
    """Its metadata, its keys, and what its groups give. The code flow itself needs a person."""
    if (found := sign_in(patient.settings, patient.http, patient.clock)) is None:
        return []
    terms = found.terms
    given = frozenset[Scope]().union(*terms.groups.values())
    findings = [
        _LOGIN.ok(
            "login_redirect",
            f"register at the provider: redirect {terms.redirect_uri}, after a logout {terms.external_url}/login",
        )
    ]
    if Scope.READ not in given:
        fix = "give a group of REMEDIATOR_OIDC_GROUPS the scope read"
        findings.append(
            _LOGIN.fail("login_nobody", "no group gives the scope read, so nobody can log in", fix)
        )
    if Scope.OPERATE not in given:
        fix = "give a group of REMEDIATOR_OIDC_GROUPS the scope operate"
        findings.append(_LOGIN.warn("login_looks_only", "whoever logs in may only look", fix))
    try:
        metadata = await found.provider.metadata()
        # Not at the top: only who asks a provider needs its library.
        from app.intake.id_token import ALGORITHMS, usable_keys

        keys = len(usable_keys(await found.provider.keys(metadata)).keys)
    except ProbeUnavailable as error:
        fix = "look at REMEDIATOR_OIDC_ISSUER and the network policy's egress"
        return [*findings, _LOGIN.fail("provider_unusable", error.message, fix)]
    except NotAuthenticated as error:
        fix = "let the provider sign ID tokens with RS256 or ES256"
        return [*findings, _LOGIN.fail("provider_keys", error.message, fix)]
    if metadata.algorithms and not set(metadata.algorithms) & set(ALGORITHMS):
        fix = "let the provider sign ID tokens with RS256 or ES256"
        text = "the provider signs ID tokens with no algorithm that is taken here"
        return [*findings, _LOGIN.fail("provider_algorithms", text, fix)]
    told = "" if metadata.end_session else "; it has no logout of its own"
    return [
        *findings,
        _LOGIN.ok("provider_answers", f"{terms.place} answers, and signatures can be checked ({keys}){told}"),
    ]
