"""Maintenance Tasks, Certificate Renewal: the ends of all certificates, and one of them renewed by cert-manager, once, when nothing stands against it.

Implements the runbook's section of that name. An order or a schedule starts it. It asks cert-manager in cert-manager's own way; the
runbook's deletion of the Secret is a step of its own, which an order has to ask for and a rule has to allow by the Secret's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from app.domain.actuator import Effect
from app.domain.certificate import Issued
from app.domain.errors import BadInput, ObjectMissing, RemediatorError
from app.domain.evidence import Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.plan import Action, ActionKind, Step
from app.domain.procedure import Consent, Procedure
from app.domain.remediation import Params, Remediation, Scene
from app.domain.target import Kind
from app.kube.certificate_actuator import Terms, delete_secret, renew
from app.kube.certificates import issued
from app.kube.issuance import Standing, against
from remediations.aftermath import Port, ServiceName
from remediations.evidence.certificates import SERVED, Look, Wanted, handshake, look, newest_end, owner_of
from remediations.evidence.usage import joined
from remediations.shared import ObjectName, refuse, sentence

RENEW, DELETE = "renew", "delete-secret"
_ServerName = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9.-]*$")]


class CertificateRenewalParams(Params):
    """`secret` and `deletable` are Secrets that the rule lets be read and deleted; all other Secrets stay out of reach."""

    certificate: ObjectName = Field(min_length=1, description="Certificate in the target's namespace")
    delete_secret: bool = Field(
        default=False,
        description="Deletes its Secret instead of asking cert-manager; the private key is gone then",
    )
    secret: ObjectName = Field(default="", description="Its Secret, of which tls.crt is read")
    deletable: ObjectName = Field(default="", description="Secret that an order may delete")
    service: ServiceName = Field(
        default="", description="Service in the target's namespace that serves it; empty: no handshake"
    )
    port: Port | None = Field(default=None, description="Its TLS port; null: its only one")
    server_name: _ServerName = Field(
        default="", description="Name to ask it for; empty: the certificate's first"
    )
    weekly: int = Field(
        default=4,
        ge=1,
        le=1_000,
        description="ACME certificates of the same names in 7 days, with this one; Let's Encrypt takes 5",
    )

    def wanted(self) -> Wanted:
        """What is looked at."""
        return Wanted(self.certificate, self.secret, self.service, self.port, self.server_name)


class CertificateRenewal(Remediation[CertificateRenewalParams]):
    """The handler."""

    name = "certificate-renewal"
    runbook = "Certificate Renewal"
    steps: tuple[str, ...] = (RENEW, DELETE)
    params: type[CertificateRenewalParams] = CertificateRenewalParams
    actions: frozenset[ActionKind] = frozenset({ActionKind.RENEW_CERTIFICATE, ActionKind.DELETE_SECRET})
    secret_params: tuple[str, ...] = ("secret", "deletable")
    written_secrets: tuple[str, ...] = ("deletable",)
    fixed_params: frozenset[str] = frozenset({"secret", "deletable", "weekly"})
    rule_first: frozenset[str] = frozenset({"service", "port", "server_name"})
    procedure = Procedure(
        Consent.APPROVAL,
        settle=timedelta(seconds=20),
        timeout=timedelta(minutes=15),
        poll=timedelta(seconds=10),
    )

    async def diagnose(self, scene: Scene, params: CertificateRenewalParams) -> Diagnosis:
        """All Certificates with their ends, and of the wanted one its issuer, what is under way, and what is served."""
        found = await look(scene, params.wanted())
        if isinstance(found, Finding):
            return Diagnosis(found.text, (found,))
        return Diagnosis(joined([f.text for f in found.findings]), found.findings)

    async def ladder(
        self, scene: Scene, params: CertificateRenewalParams, diagnosis: Diagnosis
    ) -> Sequence[Step]:
        """Renew it, or delete its Secret where that was ordered, or say why not."""
        del diagnosis
        found = await look(scene, params.wanted())
        if isinstance(found, Finding):
            return (refuse(RENEW, found.text), refuse(DELETE, found.text))
        stand = found.standing
        if stand is None:
            why = f"there is no Certificate {params.certificate} in {scene.workload.target.namespace}"
            return (refuse(RENEW, why), refuse(DELETE, why))
        if no := _against(stand, params, scene):
            return (refuse(RENEW, *no), refuse(DELETE, *no))
        if not params.delete_secret:
            ref, target = scene.workload.ref, scene.workload.target
            action = renew((ref, target), stand, Terms(params.weekly, scene.now), found.facts())
            step = _step(RENEW, found, action, params)
            return (step, refuse(DELETE, "the deletion of its Secret was not ordered (delete_secret)"))
        instead = refuse(RENEW, "the deletion of its Secret was ordered instead (delete_secret)")
        return (instead, _delete(scene, found, stand, params))

    async def effect(self, scene: Scene, params: CertificateRenewalParams, step: Step) -> Effect | None:
        """Another serial number than before, of the certificate that cert-manager issued last: in the Secret where the rule lets us read it, and in a
        handshake with the Service. What is another one may be an older one, or what a proxy serves when it has none."""
        if not step.actions:
            return None
        action, found = step.actions[0], list[Effect]()
        newest, stored = await newest_end(scene, params.certificate), ""
        if params.secret and params.secret == action.part["secret"]:
            effect, stored = await _stored(scene, params.secret, action.params.get("serial"), newest)
            found.append(effect)
        if params.service:
            found.append(await _shown(scene, params, action, (stored, newest)))
        if not found:
            return None
        good = next((word for word in (False, None) if any(e.good is word for e in found)), True)
        return Effect(good, "; ".join(e.text for e in found))


def _against(stand: Standing, params: CertificateRenewalParams, scene: Scene) -> tuple[str, str] | None:
    """Why nothing is renewed, and what to do; None when nothing stands against it."""
    if no := against(stand, params.weekly, scene.now):
        return no
    one = stand.certificate
    if not (params.secret and params.secret == one.secret) and not params.service:
        advice = f"name the Service that serves it (service), or its Secret {one.secret} in the rule (secret)"
        return "whether a new certificate is served could not be seen", advice
    return None


def _step(name: str, look: Look, action: Action, params: CertificateRenewalParams) -> Step:
    asks = list(look.standing.unknown().values()) if look.standing else []
    asks += [f.text for f in look.findings if f.code == SERVED and "serial" not in f.data]
    why = joined([f.text for f in look.findings[1:]]) or f"the renewal of {params.certificate} was ordered"
    return replace(Step(name, sentence(why), (action,)), asks="; ".join(asks))


def _delete(scene: Scene, look: Look, stand: Standing, params: CertificateRenewalParams) -> Step:
    one = stand.certificate
    if params.deletable != one.secret:
        why = f"the rule does not let Secret {one.secret} be deleted (deletable)"
        return refuse(
            DELETE, why, f"renew it without delete_secret, or write deletable: {one.secret} into the rule"
        )
    if look.secret is None:
        why = f"Secret {one.secret} could not be read, so whose it is is not known"
        return refuse(DELETE, why, f"write secret: {one.secret} into the rule")
    if owner_of(look.secret) != one.name:
        why = f"Secret {one.secret} does not say that it belongs to Certificate {one.name}"
        return refuse(DELETE, why, "cert-manager writes that into its Secrets: find out who made this one")
    ref, target = scene.workload.ref, scene.workload.target
    terms = Terms(params.weekly, scene.now)
    action = delete_secret((ref, target), stand, terms, look.secret, look.facts())
    return _step(DELETE, look, action, params)


async def _stored(scene: Scene, name: str, before: JsonValue, newest: datetime | str) -> tuple[Effect, str]:
    """How the Secret stands against the serial number before (None: not known, empty: there was none), and its present one."""
    try:
        found = issued(await scene.cluster.get(Kind.SECRET, scene.workload.target.namespace, name))
    except ObjectMissing:
        return Effect(False, f"Secret {name} does not exist yet"), ""
    except (RemediatorError, BadInput) as error:
        return Effect(None, f"Secret {name}: {error.message}"), ""
    if before is None:
        text = f"Secret {name} holds serial {found.serial}; what it held before is not known"
        return Effect(None, text), found.serial
    if found.serial == before:
        return Effect(False, f"Secret {name} holds serial {before} as before"), found.serial
    return _of_the_newest(f"Secret {name} holds", found, newest), found.serial


def _of_the_newest(holds: str, found: Issued, newest: datetime | str) -> Effect:
    """Whether a certificate with another serial number than before is the one that cert-manager issued last: both end at the same second."""
    text = f"{holds} serial {found.serial}, until {found.not_after:%Y-%m-%d}"
    if isinstance(newest, str):
        return Effect(None, f"{text}; whether it is the new one is not known: {newest}")
    if found.not_after != newest:
        return Effect(False, f"{text}, not the one that cert-manager issued, which ends {newest:%Y-%m-%d}")
    return Effect(True, text)


async def _shown(
    scene: Scene, params: CertificateRenewalParams, action: Action, new: tuple[str, datetime | str]
) -> Effect:
    """How what the Service serves stands against the Secret's, or else against what it served before and what cert-manager issued."""
    seen = await handshake(scene, params.wanted(), str(action.params.get("server_name", "")))
    if isinstance(seen, str):
        return Effect(None, seen)
    before, (stored, newest) = str(action.params.get("served", "")), new
    serves = f"Service {params.service} serves"
    hint = "where its pods read the Secret only at their start, they have to be restarted"
    if seen.serial == before or (stored and seen.serial != stored):
        return Effect(False, f"{serves} serial {seen.serial}, not the new one: {hint}")
    if stored:
        return Effect(True, f"{serves} serial {seen.serial}")
    if not before:
        return Effect(None, f"{serves} serial {seen.serial}; what it served before is not known")
    found = _of_the_newest(serves, seen, newest)
    return found if found.good is not False else Effect(False, f"{found.text}: {hint}")
