"""The simulated cert-manager: issues a Certificate that asks for it, or whose Secret is missing. Called by the world.

Not modelled: renewal at its time, its back-off after failures, Orders, private keys. An Issuer that is not ready issues nothing; its annotation
`simulated/fails` has the words with which an issuance fails.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app.domain.json import Obj
from app.domain.target import Kind
from app.sim.certificates import certificate_pem
from app.sim.kinds import APIS, seconds_of, stamp
from app.sim.objects import Key, make_key
from app.sim.patch import clone
from app.sim.world import World, condition

TAKES: Final = 6.0
"""Seconds that an issuance takes."""
_VALID, _RENEW_BEFORE = timedelta(days=90), timedelta(days=30)
_NAME, _REVISION = "cert-manager.io/certificate-name", "cert-manager.io/certificate-revision"
_WRITER: Final = "cert-manager-certificates-issuing"
_KEY: Final = base64.b64encode(b"a simulated private key").decode()


class Certificates:
    """Reconciles Certificates."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.store.listeners.append(self._changed)

    def _changed(self, key: Key, old: Obj | None, new: Obj | None) -> None:
        """A Secret that is gone is made anew."""
        del old
        if key.kind is Kind.SECRET and new is None:
            for found in self._world.store.all(Kind.CERTIFICATE, key.namespace):
                if found["spec"].get("secretName") == key.name:
                    self._world.queue(Key(Kind.CERTIFICATE, key.namespace, found["metadata"]["name"]))

    def reconcile(self, key: Key) -> None:
        """Begin, wait for, or end an issuance."""
        found = self._world.store.find(key)
        if found is None:
            return
        asked = next((c for c in _conditions(found) if c["type"] == "Issuing"), None)
        if asked is None or asked["status"] != "True":
            if self._secret(found) is None and asked is None:
                self._issuing(found, True, "DoesNotExist", "Issuing certificate as Secret does not exist")
            return
        request = self._request(found, asked)
        due = seconds_of(request["metadata"]["creationTimestamp"]) + TAKES
        issuer = self._issuer(found)
        if issuer is None or not _ready(issuer):
            return
        if self._world.time < due:
            self._world.later(key, due)
            return
        words = (issuer["metadata"].get("annotations") or {}).get("simulated/fails", "")
        if words:
            self._fail(found, request, words)
        else:
            self._issue(found, request)

    def _request(self, found: Obj, asked: Obj) -> Obj:
        meta, revision = found["metadata"], _revision(found) + 1
        key = Key(Kind.CERTIFICATE_REQUEST, meta["namespace"], f"{meta['name']}-{revision}")
        there = self._world.store.find(key)
        if there is not None:
            failed = there.get("status", {}).get("failureTime", "")
            if not failed or failed > asked["lastTransitionTime"]:
                return there
            self._world.store.delete(key)
        return self._world.store.create(
            {
                "apiVersion": APIS[key.kind].version,
                "kind": "CertificateRequest",
                "metadata": {
                    "name": key.name,
                    "namespace": key.namespace,
                    "annotations": {_NAME: meta["name"], _REVISION: str(revision)},
                },
                "spec": {"issuerRef": found["spec"].get("issuerRef", {})},
            },
            _WRITER,
        )

    def _issuer(self, found: Obj) -> Obj | None:
        ref = found["spec"].get("issuerRef", {})
        kind = Kind(ref.get("kind", "Issuer"))
        return self._world.store.find(make_key(kind, found["metadata"]["namespace"], ref.get("name", "")))

    def _secret(self, found: Obj) -> Obj | None:
        name = found["spec"].get("secretName", "")
        return self._world.store.find(Key(Kind.SECRET, found["metadata"]["namespace"], name))

    def _issue(self, found: Obj, request: Obj) -> None:
        begin = datetime.fromtimestamp(int(self._world.time), UTC)
        end, revision = begin + _VALID, _revision(found) + 1
        meta, names = found["metadata"], list(found["spec"].get("dnsNames", []))
        pem = certificate_pem(f"{meta['uid']}/{revision}/{begin}", names, begin, end)
        self._store(found, base64.b64encode(pem).decode())
        self._end_request(request, True, "Issued", "Certificate fetched from issuer successfully")
        ready, _ = condition(
            _conditions(found), "Ready", True, "Ready", "Certificate is up to date", self._world.time
        )
        status: Obj = {
            "conditions": [ready],
            "revision": revision,
            "notBefore": stamp(begin.timestamp()),
            "notAfter": stamp(end.timestamp()),
            "renewalTime": stamp((end - _RENEW_BEFORE).timestamp()),
        }
        self._world.set_status(found, status, _WRITER)

    def _store(self, found: Obj, data: str) -> None:
        there, meta = self._secret(found), found["metadata"]
        fresh = {"tls.crt": data, "tls.key": _KEY}
        if there is not None:
            self._world.store.update({**clone(there), "data": fresh}, _WRITER)
            return
        metadata = {
            "name": found["spec"]["secretName"],
            "namespace": meta["namespace"],
            "annotations": {_NAME: meta["name"]},
        }
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": metadata,
            "data": fresh,
        }
        self._world.store.create(secret, _WRITER)

    def _fail(self, found: Obj, request: Obj, words: str) -> None:
        self._end_request(request, False, "Failed", words)
        status = clone(found.get("status", {}))
        status["lastFailureTime"] = stamp(self._world.time)
        status["failedIssuanceAttempts"] = status.get("failedIssuanceAttempts", 0) + 1
        text = f"The certificate request has failed to complete and will be retried: {words}"
        self._issuing({**found, "status": status}, False, "Failed", text)

    def _issuing(self, found: Obj, asked: bool, reason: str, message: str) -> None:
        new, _ = condition(_conditions(found), "Issuing", asked, reason, message, self._world.time)
        others = [c for c in _conditions(found) if c["type"] != "Issuing"]
        self._world.set_status(found, {**found.get("status", {}), "conditions": [*others, new]}, _WRITER)

    def _end_request(self, request: Obj, good: bool, reason: str, message: str) -> None:
        ready, _ = condition([], "Ready", good, reason, message, self._world.time)
        status: Obj = {"conditions": [ready]}
        if not good:
            status["failureTime"] = stamp(self._world.time)
        self._world.set_status(request, status, _WRITER)


def _conditions(found: Obj) -> list[Any]:
    listed: list[Any] = found.get("status", {}).get("conditions", [])
    return listed


def _ready(issuer: Obj) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(issuer))


def _revision(found: Obj) -> int:
    return int(found.get("status", {}).get("revision", 0))
