"""cert-manager for the contract: its kinds in a small shape of our own on the real API server, and a controller of a few lines that issues.

On the simulated side the simulated controller does the same by itself. Real certificates come from `app.sim.certificates`.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.paths import RESOURCES
from app.sim.certificates import certificate_pem
from tests.contract.cluster.sides import RealSide, Side, SimSide
from tests.live.stack import ControlPlane, wait_until

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_KINDS = (Kind.CERTIFICATE, Kind.CERTIFICATE_REQUEST, Kind.ISSUER, Kind.ACME_ORDER)
NAMES = ["web.example.test"]


def _definition(kind: Kind) -> Obj:
    resource = RESOURCES[kind]
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {"plural": resource.plural, "kind": kind.value, "singular": kind.value.lower()},
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": open_schema, "status": open_schema},
                        }
                    },
                }
            ],
        },
    }


def install(plane: ControlPlane) -> None:
    """The kinds, once for a control plane."""
    for kind in _KINDS:
        answer = plane.client().post(_CRDS, json=_definition(kind))
        assert answer.status_code in (201, 409), answer.text
    paths = [RESOURCES[kind].path("default") for kind in _KINDS]
    wait_until(lambda: all(plane.client().get(path).is_success for path in paths), 20)


def manifests(issuer: Obj | None = None) -> tuple[Obj, Obj]:
    """An Issuer that is ready, and a Certificate of it."""
    ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "IsReady"}]}
    return (
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Issuer",
            "metadata": {"name": "ca"},
            "spec": {"selfSigned": {}},
            "status": issuer or ready,
        },
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "web-tls"},
            "spec": {"secretName": "web-tls", "dnsNames": NAMES, "issuerRef": {"name": "ca"}},
        },
    )


async def furnish(side: Side) -> None:
    """Issuer and Certificate, the first revision issued."""
    if isinstance(side, RealSide):
        install(side.plane)
    for manifest in manifests():
        side.create(manifest)
        if isinstance(side, RealSide) and "status" in manifest:
            _set_status(side, Kind(manifest["kind"]), manifest["metadata"]["name"], manifest["status"])
    await revision(side, 1)


async def revision(side: Side, number: int) -> Obj:
    """Let cert-manager work until it has issued this revision; the Certificate then."""

    async def there() -> bool:
        await play(side)
        found = await side.cluster.get(Kind.CERTIFICATE, side.namespace, "web-tls")
        return bool((found.get("status") or {}).get("revision") == number)

    await side.until(there, f"revision {number}")
    return await side.cluster.get(Kind.CERTIFICATE, side.namespace, "web-tls")


async def play(side: Side, fails: str = "") -> None:
    """One look of the small controller at the real side; the simulated one has its own."""
    if not isinstance(side, RealSide):
        return
    found = await side.cluster.get(Kind.CERTIFICATE, side.namespace, "web-tls")
    status: Any = found.get("status") or {}
    asked = any(c["type"] == "Issuing" and c["status"] == "True" for c in status.get("conditions", ()))
    secrets = await side.cluster.list_objects(Kind.SECRET, side.namespace, fields="metadata.name=web-tls")
    if not asked and secrets:
        return
    now = datetime.now(UTC).replace(microsecond=0)
    if fails:
        failed = {"type": "Issuing", "status": "False", "reason": "Failed", "message": fails}
        attempts = status.get("failedIssuanceAttempts", 0) + 1
        new = {"conditions": [failed], "lastFailureTime": _stamp(now), "failedIssuanceAttempts": attempts}
        _set_status(side, Kind.CERTIFICATE, "web-tls", new)
        return
    number, end = status.get("revision", 0) + 1, now + timedelta(days=90)
    pem = certificate_pem(f"{found['metadata']['uid']}/{number}", NAMES, now, end)
    _store(side, base64.b64encode(pem).decode(), there=bool(secrets))
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "Certificate is up to date"}
    _set_status(
        side,
        Kind.CERTIFICATE,
        "web-tls",
        {"conditions": [ready], "revision": number, "notAfter": _stamp(end), "notBefore": _stamp(now)},
    )


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _store(side: RealSide, data: str, *, there: bool) -> None:
    if there:
        side.edit(Kind.SECRET, "web-tls", [{"op": "replace", "path": "/data/tls.crt", "value": data}])
        return
    metadata = {"name": "web-tls", "annotations": {"cert-manager.io/certificate-name": "web-tls"}}
    values = {"tls.crt": data, "tls.key": base64.b64encode(b"the private key").decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls"}
    side.create({**secret, "data": values})


def _set_status(side: RealSide, kind: Kind, name: str, status: Obj) -> None:
    answer = side.plane.client().patch(
        RESOURCES[kind].path(side.namespace, name, "status"),
        json=[{"op": "add", "path": "/status", "value": status}],
        headers={"Content-Type": "application/json-patch+json"},
        params={"fieldManager": "cert-manager-certificates-issuing"},
    )
    assert answer.is_success, answer.text


def fails(side: Side, words: str) -> None:
    """From now on an issuance of the simulated side fails with these words."""
    if isinstance(side, SimSide):
        annotation = [{"op": "add", "path": "/metadata/annotations", "value": {"simulated/fails": words}}]
        side.edit(Kind.ISSUER, "ca", annotation)
