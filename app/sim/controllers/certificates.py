"""The simulated cert-manager: issues a Certificate that asks for it, or whose Secret is missing, and says whether an Issuer is ready. Called by the world.

Not modelled: renewal at its time, its back-off after failures, Orders, private keys; an ACME Issuer is as ready as its maker says. An Issuer that
is not ready issues nothing; its annotation `simulated/fails` has the words with which an issuance fails.
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
        """A Secret that is gone is made anew; a CA Issuer is ready by its Secret, and who waited for it goes on."""
        if key.kind not in (Kind.SECRET, Kind.ISSUER):
            return
        store, queue = self._world.store, self._world.queue
        if key.kind is Kind.SECRET and (old is None or new is None):
            for found in store.all(Kind.ISSUER, key.namespace):
                if (found["spec"].get("ca") or {}).get("secretName") == key.name:
                    queue(Key(Kind.ISSUER, key.namespace, found["metadata"]["name"]))
        for found in store.all(Kind.CERTIFICATE, key.namespace):
            spec, name = found["spec"], found["metadata"]["name"]
            gone = key.kind is Kind.SECRET and new is None and spec.get("secretName") == key.name
            if gone or (key.kind is Kind.ISSUER and spec.get("issuerRef", {}).get("name") == key.name):
                queue(Key(Kind.CERTIFICATE, key.namespace, name))

    def judge(self, key: Key) -> None:
        """Say of an Issuer of the kinds SelfSigned and CA whether it is ready."""
        found = self._world.store.find(key)
        spec = found["spec"] if found is not None else {}
        if found is None or not {"selfSigned", "ca"} & spec.keys():
            return
        name = str((spec.get("ca") or {}).get("secretName", ""))
        if not name:
            good, reason, text = True, "IsReady", ""
        elif self._world.store.find(Key(Kind.SECRET, key.namespace, name)) is not None:
            good, reason, text = True, "KeyPairVerified", "Signing CA verified"
        else:
            text = f'Error getting keypair for CA issuer: secrets "{name}" not found'
            good, reason = False, "ErrGetKeyPair"
        new, _ = condition(_conditions(found), "Ready", good, reason, text, self._world.time)
        self._world.set_status(
            found, {**found.get("status", {}), "conditions": [new]}, "cert-manager-issuers"
        )

    def reconcile(self, key: Key) -> None:
        """Begin, wait for, or end an issuance."""
        found = self._world.store.find(key)
        if found is None:
            return
        asked = next((c for c in _conditions(found) if c["type"] == "Issuing"), None)
        if asked is None or asked["status"] != "True":
            if self._secret(found) is None and asked is None:
                self._missing(found)
            return
        request = self._request(found, asked)
        due = seconds_of(request["metadata"]["creationTimestamp"]) + TAKES
        issuer = self._issuer(found)
        if issuer is None or not _ready(issuer):
            text = "Referenced issuer does not have a Ready status condition"
            self._say_of_request(
                request, "Pending", 'Referenced "Issuer" not found' if issuer is None else text
            )
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
        self._say_of_request(request, "Issued", "Certificate fetched from issuer successfully")
        text = "Certificate is up to date and has not expired"
        ready, _ = condition(_conditions(found), "Ready", True, "Ready", text, self._world.time)
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
        self._say_of_request(request, "Failed", words)
        status = clone(found.get("status", {}))
        status["lastFailureTime"] = stamp(self._world.time)
        status["failedIssuanceAttempts"] = status.get("failedIssuanceAttempts", 0) + 1
        text = f"The certificate request has failed to complete and will be retried: {words}"
        self._issuing({**found, "status": status}, False, "Failed", text)

    def _missing(self, found: Obj) -> None:
        why = ("DoesNotExist", "Issuing certificate as Secret does not exist")
        conditions, now = _conditions(found), self._world.time
        new = [condition(conditions, kind, kind == "Issuing", *why, now)[0] for kind in ("Issuing", "Ready")]
        self._world.set_status(found, {**found.get("status", {}), "conditions": new}, _WRITER)

    def _issuing(self, found: Obj, asked: bool, reason: str, message: str) -> None:
        new, _ = condition(_conditions(found), "Issuing", asked, reason, message, self._world.time)
        others = [c for c in _conditions(found) if c["type"] != "Issuing"]
        self._world.set_status(found, {**found.get("status", {}), "conditions": [*others, new]}, _WRITER)

    def _say_of_request(self, request: Obj, reason: str, message: str) -> None:
        old = _conditions(request)
        ready, _ = condition(old, "Ready", reason == "Issued", reason, message, self._world.time)
        status: Obj = {"conditions": [ready]}
        if reason == "Failed":
            status["failureTime"] = stamp(self._world.time)
        self._world.set_status(request, status, _WRITER)


def _conditions(found: Obj) -> list[Any]:
    listed: list[Any] = found.get("status", {}).get("conditions", [])
    return listed


def _ready(issuer: Obj) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(issuer))


def _revision(found: Obj) -> int:
    return int(found.get("status", {}).get("revision", 0))
