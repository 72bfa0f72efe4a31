"""cert-manager's objects as this service reads them: Certificates, who issues them, and what is under way.

Used by the handler that renews certificates and by its actuator. Pure; reads manifests, and of a Secret the key `tls.crt` alone. The
words (conditions, annotations, back-off) are those of cert-manager.io/v1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final

from app.domain.certificate import Issued, of_pem
from app.domain.errors import BadInput
from app.domain.json import Obj
from app.domain.redact import in_one_line
from app.domain.target import Kind
from app.kube.parse import parse_time

ISSUING: Final = "Issuing"
OF_CERTIFICATE: Final = "cert-manager.io/certificate-name"
"""Annotation of Secrets and CertificateRequests: whose they are."""
GROUP: Final = "cert-manager.io"
ISSUER_KINDS: Final[Mapping[str, Kind]] = {"Issuer": Kind.ISSUER, "ClusterIssuer": Kind.CLUSTER_ISSUER}
_BACKOFF, _LONGEST_BACKOFF = timedelta(hours=1), timedelta(hours=32)
"""What cert-manager waits after a failed issuance: doubled with each, by its defaults."""
_ENDED: Final = frozenset({"Issued", "Failed", "Denied"})
_ENDED_ORDERS: Final = frozenset({"valid", "invalid", "expired", "errored"})
_LONGEST_WORDS: Final = 300


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: `text` is its message, shortened and redacted."""

    status: str
    reason: str
    text: str


_ABSENT: Final = Condition("Unknown", "", "")


@dataclass(frozen=True, slots=True)
class Certificate:
    """One Certificate as it is. `names` are all that it is for, `hosts` those of the DNS among them. `revision` is 0 before the first issuance; `attempts` failed issuances in a row.
    `asked` is the message of the condition Issuing as it stands, for comparing alone."""

    name: str
    uid: str
    secret: str
    names: tuple[str, ...]
    hosts: tuple[str, ...]
    issuer: tuple[str, str, str]
    revision: int
    not_after: datetime | None
    renewal: datetime | None
    failed_at: datetime | None
    attempts: int
    ready: Condition
    issuing: Condition
    asked: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether its condition Ready says so."""
        return self.ready.status == "True"

    @property
    def under_way(self) -> bool:
        """Whether cert-manager issues it at this moment."""
        return self.issuing.status == "True"

    def backs_off_until(self, now: datetime) -> datetime | None:
        """When cert-manager would try again by itself after a failure; None when it does not wait."""
        if self.failed_at is None:
            return None
        wait = min(_BACKOFF * 2 ** min(max(self.attempts - 1, 0), 10), _LONGEST_BACKOFF)
        until = self.failed_at + wait
        return until if until > now else None


def parse_certificate(manifest: Obj) -> Certificate:
    """Read a Certificate. Raises nothing for parts that are absent."""
    meta, spec = manifest["metadata"], manifest.get("spec") or {}
    status = manifest.get("status") or {}
    issuer = spec.get("issuerRef") or {}
    return Certificate(
        name=meta["name"],
        uid=meta.get("uid", ""),
        secret=str(spec.get("secretName", "")),
        names=_names(spec),
        hosts=_hosts(spec),
        issuer=(issuer.get("kind") or "Issuer", issuer.get("name", ""), issuer.get("group") or GROUP),
        revision=int(status.get("revision") or 0),
        not_after=parse_time(status.get("notAfter")),
        renewal=parse_time(status.get("renewalTime")),
        failed_at=parse_time(status.get("lastFailureTime")),
        attempts=int(status.get("failedIssuanceAttempts") or 0),
        ready=condition(manifest, "Ready"),
        issuing=condition(manifest, ISSUING),
        asked=next(
            (str(c.get("message", "")) for c in _conditions(manifest) if c.get("type") == ISSUING), ""
        ),
    )


def _names(spec: Mapping[str, Any]) -> tuple[str, ...]:
    others = (str(n) for key in ("uris", "emailAddresses") for n in spec.get(key) or ())
    return tuple(sorted({*_hosts(spec), *(_address(str(n)) for n in spec.get("ipAddresses") or ()), *others}))


def _hosts(spec: Mapping[str, Any]) -> tuple[str, ...]:
    common = [spec["commonName"]] if spec.get("commonName") else []
    return tuple(sorted({str(n).lower() for n in (*common, *(spec.get("dnsNames") or ()))}))


def _address(text: str) -> str:
    """In the one way in which both kinds write it."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def condition(manifest: Obj, kind: str) -> Condition:
    """The condition of that type; status `Unknown` when there is none."""
    for found in _conditions(manifest):
        if found.get("type") == kind:
            text = in_one_line(str(found.get("message") or ""), _LONGEST_WORDS)
            return Condition(str(found.get("status")), str(found.get("reason") or ""), text)
    return _ABSENT


def _conditions(manifest: Obj) -> list[Mapping[str, Any]]:
    return (manifest.get("status") or {}).get("conditions") or []


def issued(secret: Obj) -> Issued:
    """The certificate that a Secret holds under `tls.crt`; no other key is read. Raises BadInput."""
    try:
        data = base64.b64decode((secret.get("data") or {})["tls.crt"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise BadInput("it has no certificate under tls.crt", code="bad_certificate") from None
    return of_pem(data)


def requests_under_way(requests: Iterable[Obj], certificate: Certificate) -> list[str]:
    """Names of the CertificateRequests of this Certificate that have not ended."""
    return [
        r["metadata"]["name"]
        for r in requests
        if (r["metadata"].get("annotations") or {}).get(OF_CERTIFICATE) == certificate.name
        and condition(r, "Ready").reason not in _ENDED
    ]


def said_of_requests(requests: Iterable[Obj], certificate: Certificate) -> str:
    """What cert-manager says of the CertificateRequest of this Certificate that it works on; empty when it says nothing."""
    pending = set(requests_under_way(requests := list(requests), certificate))
    found = (condition(r, "Ready").text for r in requests if r["metadata"]["name"] in pending)
    return "; ".join(dict.fromkeys(text for text in found if text))


def orders_under_way(orders: Iterable[Obj], certificate: Certificate) -> list[str]:
    """Names of the ACME Orders for exactly these names that have not ended."""
    return [
        o["metadata"]["name"]
        for o in orders
        if _for_the_same(o, certificate) and (o.get("status") or {}).get("state") not in _ENDED_ORDERS
    ]


def orders_since(orders: Iterable[Obj], certificate: Certificate, since: datetime) -> int:
    """How many ACME Orders for exactly these names were made after that and have not failed."""
    count = 0
    for order in orders:
        made = parse_time(order["metadata"].get("creationTimestamp"))
        state = (order.get("status") or {}).get("state")
        if _for_the_same(order, certificate) and state in (
            None,
            "",
            "pending",
            "ready",
            "processing",
            "valid",
        ):
            count += made is None or made > since
    return count


def _for_the_same(order: Obj, certificate: Certificate) -> bool:
    """Whether an Order is for exactly these names; a Certificate without names has none."""
    return bool(certificate.names) and _names(order.get("spec") or {}) == certificate.names
