"""What stands for and against the renewal of a certificate: all Certificates of the namespace, the issuer, what is under way, and what is served.

Used by the handler. Reads only. Of a Secret only `tls.crt` is looked at, and only of the one that the rule names. What cannot be read is said,
never taken for fine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.domain.certificate import Issued
from app.domain.errors import BadInput, ObjectMissing, RemediatorError
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue, Obj
from app.domain.remediation import Scene
from app.domain.target import Kind
from app.kube.certificates import OF_CERTIFICATE, Certificate, issued, parse_certificate
from app.kube.issuance import Issuer, Standing, standing
from remediations.aftermath import HealthParams, address
from remediations.evidence.usage import count, span

ALL, ISSUER, PENDING, SECRET, SERVED = (
    "certificates.all", "certificate.issuer", "certificate.pending", "certificate.secret", "certificate.served"
)  # fmt: skip
_SHOWN: Final = 20
_ANY: Final = "certificate-check"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which Certificate, the Secret that the rule lets us read, the Service that serves it, and the name to ask it for."""

    certificate: str
    secret: str
    service: str
    port: int | None
    server_name: str


@dataclass(frozen=True, slots=True)
class Look:
    """What was read. `standing` is None when there is no such Certificate. `secret` is the manifest, None when it was not read."""

    standing: Standing | None
    secret: Obj | None
    findings: tuple[Finding, ...]

    def facts(self) -> dict[str, JsonValue]:
        """The serial numbers before, for the verification; absent where they are not known. An empty `serial`: there was no certificate."""
        found = {f.code: f.data for f in self.findings}
        stored, served = found.get(SECRET, {}), found.get(SERVED, {})
        facts = {
            "serial": stored.get("serial"),
            "served": served.get("serial"),
            "server_name": served.get("server_name"),
        }
        return {k: v for k, v in facts.items() if v or (k == "serial" and v is not None)}


async def look(scene: Scene, wanted: Wanted) -> Look | Finding:
    """All of it, or the finding that the Certificates could not be read."""
    namespace = scene.workload.target.namespace
    try:
        listed = await scene.cluster.list_objects(Kind.CERTIFICATE, namespace)
    except ObjectMissing:
        return Finding(
            ALL, "The cluster serves no Certificates: cert-manager is not installed", Certainty.UNKNOWN
        )
    except RemediatorError as error:
        return Finding(ALL, f"Certificates could not be read: {error.message}", Certainty.UNKNOWN)
    known = [parse_certificate(m) for m in listed]
    overview = _overview(known, namespace, scene.now)
    one = next((c for c in known if c.name == wanted.certificate), None)
    if one is None:
        return Look(None, None, (overview,))
    found, (secret, held), served = await asyncio.gather(
        standing(scene.cluster, namespace, one, known, scene.now),
        _secret(scene, one, wanted.secret),
        _served(scene, one, wanted),
    )
    findings = (overview, _issuer(found.issuer), _pending(found), held, served)
    return Look(found, secret, tuple(f for f in findings if f is not None))


def _overview(known: Sequence[Certificate], namespace: str, now: datetime) -> Finding:
    ordered = sorted(known, key=lambda c: (c.not_after is not None, c.not_after or now, c.name))
    text = f"{count(len(known), 'Certificate')} in {namespace}"
    dated = [c for c in ordered if c.not_after is not None]
    if dated and dated[0].not_after is not None:
        text += f"; the first to end is {dated[0].name}, {_end(dated[0].not_after, now)}"
    if bad := [c.name for c in ordered if not c.is_ready]:
        text += f"; not ready: {', '.join(bad[:_SHOWN])}"
    data: dict[str, JsonValue] = {
        "certificates": [
            {
                "name": c.name,
                "secret": c.secret,
                "not_after": c.not_after.isoformat() if c.not_after else None,
            }
            for c in ordered[:_SHOWN]
        ]
    }
    return Finding(ALL, text, data=data, details=tuple(_line(c, now) for c in ordered[:_SHOWN]))


def _end(at: datetime, now: datetime) -> str:
    left = (at - now).total_seconds()
    return f"in {span(left)}" if left > 0 else f"which ended {span(-left)} ago"


def _line(one: Certificate, now: datetime) -> str:
    def parts() -> Iterator[str]:
        yield (
            f"ends {one.not_after:%Y-%m-%d} ({_end(one.not_after, now)})"
            if one.not_after
            else "not issued yet"
        )
        if one.renewal is not None:
            yield f"cert-manager renews it by itself on {one.renewal:%Y-%m-%d}"
        yield "ready" if one.is_ready else f"not ready ({one.ready.reason or 'no condition'})"
        kind, name, _ = one.issuer
        yield f"Secret {one.secret}, {kind} {name}"

    return f"{one.name}: {'; '.join(parts())}"


def _issuer(issuer: Issuer) -> Finding:
    return Finding(ISSUER, issuer.text, Certainty.UNKNOWN if issuer.unknown else Certainty.KNOWN)


def _pending(found: Standing) -> Finding | None:
    if found.pending is None:
        text = f"CertificateRequests could not be read: {found.unread}"
        return Finding(PENDING, text, Certainty.UNKNOWN)
    return Finding(PENDING, f"Under way: {', '.join(found.pending)}") if found.pending else None


async def _secret(scene: Scene, one: Certificate, allowed: str) -> tuple[Obj | None, Finding | None]:
    if not allowed or allowed != one.secret:
        return None, None
    namespace = scene.workload.target.namespace
    try:
        manifest = await scene.cluster.get(Kind.SECRET, namespace, one.secret)
        found = issued(manifest)
    except ObjectMissing:
        return None, Finding(SECRET, f"Secret {one.secret} does not exist", data={"serial": ""})
    except BadInput as error:
        return None, Finding(SECRET, f"Secret {one.secret}: {error.message}", data={"serial": ""})
    except RemediatorError as error:
        return None, Finding(SECRET, f"Secret {one.secret}: {error.message}", Certainty.UNKNOWN)
    text = f"Secret {one.secret} holds serial {found.serial}, which ends {found.not_after:%Y-%m-%d}"
    return manifest, Finding(SECRET, text, data={"serial": found.serial})


def owner_of(secret: Obj) -> str:
    """Name of the Certificate that a Secret says it belongs to; empty when it does not say."""
    return str((secret["metadata"].get("annotations") or {}).get(OF_CERTIFICATE, ""))


def asked_name(one: Certificate) -> str:
    """The name to ask a server for, so that it shows this certificate: its first one, or else one that its wildcard covers."""
    plain = next((n for n in one.hosts if "*" not in n), "")
    return plain or next((f"{_ANY}{n[1:]}" for n in one.hosts if n.startswith("*.")), "")


async def _served(scene: Scene, one: Certificate, wanted: Wanted) -> Finding | None:
    if not wanted.service:
        return None
    name = wanted.server_name or asked_name(one)
    served = await handshake(scene, wanted, name)
    if isinstance(served, str):
        text = f"What is served is not known: {served}"
        return Finding(SERVED, text, Certainty.UNKNOWN, {"server_name": name})
    text = f"Service {wanted.service} serves serial {served.serial}"
    return Finding(SERVED, text, data={"serial": served.serial, "server_name": name})


async def handshake(scene: Scene, wanted: Wanted, name: str) -> Issued | str:
    """The certificate that the Service serves to who asks for `name` (empty: the Service's own), or why it is not known."""
    where = await address(scene, HealthParams(service=wanted.service, port=wanted.port))
    if isinstance(where, str):
        return where
    if scene.http is None:
        return "this service has no way to ask a Service of the cluster"
    found = await scene.http.certificate(where, name or f"{where.service}.{where.namespace}.svc")
    return found.certificate or f"Service {wanted.service} on port {where.port} gave {found.fault}"


async def newest_end(scene: Scene, certificate: str) -> datetime | str:
    """When the certificate ends that cert-manager issued last, as its Certificate tells, or why that is not known. The one that it issued is told from
    any other by it."""
    try:
        one = await scene.cluster.get(Kind.CERTIFICATE, scene.workload.target.namespace, certificate)
    except RemediatorError as error:
        return f"Certificate {certificate} could not be read: {error.message}"
    return parse_certificate(one).not_after or f"Certificate {certificate} does not tell when it ends"
