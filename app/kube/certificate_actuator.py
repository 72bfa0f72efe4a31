"""The actuator of certificates: asks cert-manager to issue one anew, once, or deletes its Secret so that cert-manager has to.

Called by the flow through `app.domain.actuator`. Asking is the condition `Issuing` on the Certificate's status, which `cmctl renew` sets,
too; its message bears our mark. cert-manager takes the condition away again when it is done, and leaves a new revision or the time of a
failure, so that a request of ours is always told from none. Nothing is undone, and no value of a Secret is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.domain.actuator import Applied, CheckResult, Clients, Effect, Means, Permission
from app.domain.cluster import FIELD_MANAGER, MARKER, Cluster
from app.domain.errors import (
    ClusterRefused,
    ClusterUnavailable,
    ObjectChanged,
    ObjectMissing,
    OutcomeUnclear,
    RemediatorError,
    TryLater,
)
from app.domain.inside import NothingToUndo, another_workload, inside
from app.domain.json import JsonValue, Obj
from app.domain.outcome import ActionResult
from app.domain.plan import Action, ActionKind
from app.domain.target import WORKLOAD_KINDS, Kind, ObjectRef, Target
from app.kube.certificates import ISSUING, OF_CERTIFICATE, Certificate, parse_certificate
from app.kube.guarded import Guarded
from app.kube.issuance import Standing, against, standing, waits_for
from app.kube.manifest import Operation
from app.kube.readback import PAUSES, between_attempts

REASON: Final = "ManuallyTriggered"
"""The reason that cert-manager's own command gives."""
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Terms:
    """By what a plan was made: the rule's limit of ACME Orders in 7 days, and the moment."""

    weekly: int
    now: datetime


def renew(
    on: tuple[ObjectRef, Target], found: Standing, terms: Terms, facts: Mapping[str, JsonValue]
) -> Action:
    """Ask cert-manager for a new revision. `facts` is what the verification compares with."""
    certificate = found.certificate
    summary = f"Have cert-manager renew Certificate {certificate.name} (revision {certificate.revision})"
    undo = "nothing to undo: the certificate before stays valid until its end, and the private key is kept or replaced as the Certificate says"
    at = terms.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return inside(
        ActionKind.RENEW_CERTIFICATE,
        on,
        (summary, undo),
        params={"certificate": certificate.name, "at": at, **facts},
        part=_part(found, terms),
    )


def delete_secret(
    on: tuple[ObjectRef, Target],
    found: Standing,
    terms: Terms,
    secret: Obj,
    facts: Mapping[str, JsonValue],
) -> Action:
    """Delete the Secret of a Certificate; cert-manager makes it anew."""
    certificate = found.certificate
    summary = (
        f"Delete Secret {certificate.secret} of Certificate {certificate.name}; until cert-manager has made it anew, "
        "no new pod that mounts it starts"
    )
    undo = "nothing to undo: the private key is gone with the Secret, and no copy is kept; cert-manager makes a new one"
    return inside(
        ActionKind.DELETE_SECRET,
        on,
        (summary, undo),
        params={"certificate": certificate.name, **facts},
        part={**_part(found, terms), "secret_uid": secret["metadata"]["uid"]},
    )


def _part(found: Standing, terms: Terms) -> dict[str, JsonValue]:
    certificate = found.certificate
    return {
        "certificate": certificate.name,
        "uid": certificate.uid,
        "revision": certificate.revision,
        "secret": certificate.secret,
        "failed_at": certificate.failed_at.isoformat() if certificate.failed_at else "",
        "issuer": _issuer(certificate),
        "unknown": sorted(found.unknown()),
        "weekly": terms.weekly,
        "planned_at": terms.now.isoformat(),
    }


@dataclass(frozen=True, slots=True)
class CertificateActuator(NothingToUndo):
    """See the port."""

    kinds: frozenset[ActionKind] = frozenset({ActionKind.RENEW_CERTIFICATE, ActionKind.DELETE_SECRET})

    def rights(self, kind: ActionKind, on: Kind) -> tuple[Permission, ...]:
        """cert-manager's objects are read, a Certificate's status is patched; a Secret is deleted where the rule names it."""
        if on is Kind.SECRET:
            return (
                (Permission("get", on), Permission("delete", on)) if kind is ActionKind.DELETE_SECRET else ()
            )
        if on not in WORKLOAD_KINDS:
            return ()
        write = Permission("patch", Kind.CERTIFICATE, "status")
        asked = (write,) if kind is ActionKind.RENEW_CERTIFICATE else ()
        return (*_READS, *asked)

    async def check(self, clients: Clients, action: Action, action_id: str = "") -> CheckResult:
        """Workload, Certificate and issuer are the same, nothing was issued or failed since the plan, and nothing refuses it now."""
        if (changed := await another_workload(clients, action)) is not None:
            return changed
        try:
            found = await _certificate(clients.cluster, action)
        except ObjectMissing as error:
            return CheckResult(None, f"Certificate {_name(action)} is gone", error.code)
        if action_id and _ours(found, action_id):
            return CheckResult(action.object, "this action was applied already", done=True)
        if no := await _obstacle(clients.cluster, found, action):
            return CheckResult(None, no, ObjectChanged.code)
        return CheckResult(action.object, f"Certificate {_name(action)} is as it was when this was decided")

    async def in_place(self, clients: Clients, action: Action, action_id: str) -> str:
        """Our mark, or what cert-manager leaves behind when it is done: then nothing is sent, whoever asked."""
        try:
            return await _happened(clients.cluster, action, action_id)
        except ObjectMissing:
            return ""

    async def dry_run(self, clients: Clients, action: Action, action_id: str, found: CheckResult) -> str:  # noqa: ARG002
        """The very write as a server-side dry run, admission included."""
        try:
            if action.kind is ActionKind.DELETE_SECRET:
                await _delete(clients.cluster, action, dry_run=True)
                return ""
            manifest = await _read(clients.cluster, action)
            await _ask(clients.cluster, action, _issuing(manifest, action, action_id), dry_run=True)
        except ClusterRefused as error:
            return str(error)
        return ""

    async def apply(self, means: Means, action: Action, action_id: str, found: CheckResult) -> Applied:  # noqa: ARG002
        """One request. Whether it happened is read from the Certificate, or from the Secret's uid."""
        cluster = Guarded(means.clients.cluster, means.ask)
        try:
            if action.kind is ActionKind.DELETE_SECRET:
                return await self._removed(cluster, means, action, action_id)
            return await self._asked(cluster, means, action, action_id)
        except ClusterRefused as error:
            return Applied(ActionResult.REFUSED, str(error), code=error.code)

    async def _asked(self, cluster: Cluster, means: Means, action: Action, action_id: str) -> Applied:
        for attempt in range(_ATTEMPTS):
            await between_attempts(attempt, means.sleep)
            manifest = await _read(cluster, action)
            if done := _done(manifest, action, action_id):
                return Applied(ActionResult.APPLIED, done)
            if no := await _obstacle(cluster, parse_certificate(manifest), action):
                return Applied(ActionResult.REFUSED, no, code=ObjectChanged.code)
            try:
                await _ask(cluster, action, _issuing(manifest, action, action_id))
                return Applied(ActionResult.APPLIED, f"{action.summary}: asked")
            except ObjectChanged:
                continue
            except OutcomeUnclear as lost:
                return await _read_back(means, action, action_id, lost)
        text = f"Certificate {_name(action)} changed again before each of {_ATTEMPTS} attempts"
        return Applied(ActionResult.REFUSED, text, code=ObjectChanged.code)

    async def _removed(self, cluster: Cluster, means: Means, action: Action, action_id: str) -> Applied:
        if gone := await _happened(cluster, action, action_id):
            return Applied(ActionResult.APPLIED, gone)
        if no := await _obstacle(cluster, await _certificate(cluster, action), action):
            return Applied(ActionResult.REFUSED, no, code=ObjectChanged.code)
        try:
            await _delete(cluster, action)
        except (
            ObjectMissing,
            ObjectChanged,
        ) as error:  # another removal, or one of ours before; or it is still there
            if gone := await _happened(cluster, action, action_id):
                return Applied(ActionResult.APPLIED, gone)
            return Applied(ActionResult.REFUSED, str(error), code=error.code)
        except OutcomeUnclear as lost:
            return await _read_back(means, action, action_id, lost)
        return Applied(ActionResult.APPLIED, f"{action.summary}: accepted")

    async def effect(self, clients: Clients, action: Action) -> Effect | None:
        """A newer revision that is ready; over when the issuance failed."""
        try:
            found = await _certificate(clients.cluster, action)
        except ObjectMissing:
            return Effect(None, f"Certificate {_name(action)} is gone, so nothing renews it", over=True)
        except RemediatorError as error:
            return Effect(None, f"Certificate {_name(action)} could not be read: {error.message}")
        if found.revision > _planned(action) and found.is_ready and not found.under_way:
            end = f", valid until {found.not_after:%Y-%m-%d}" if found.not_after else ""
            return Effect(True, f"cert-manager issued revision {found.revision}{end}")
        if _failed(found, action) and not found.under_way:
            why = ": ".join(p for p in (found.issuing.reason, found.issuing.text) if p)
            return Effect(
                False, f"cert-manager could not issue {found.name}{f' ({why})' if why else ''}", over=True
            )
        words = await waits_for(clients.cluster, action.object.namespace, found) or "nothing said yet"
        return Effect(
            False, f"cert-manager has not issued a newer revision than {_planned(action)} ({words})"
        )


_READS: Final = (
    Permission("get", Kind.CERTIFICATE),
    Permission("list", Kind.CERTIFICATE),
    Permission("list", Kind.CERTIFICATE_REQUEST),
    Permission("list", Kind.ACME_ORDER),
    Permission("get", Kind.ISSUER),
)
"""What a renewal looks at. A ClusterIssuer lies outside of every namespace, where a Role reaches nothing."""


def _name(action: Action) -> str:
    return str(action.part["certificate"])


def _planned(action: Action) -> int:
    number: Any = action.part["revision"]
    return int(number)


async def _read(cluster: Cluster, action: Action) -> Obj:
    return await cluster.get(Kind.CERTIFICATE, action.object.namespace, _name(action))


async def _certificate(cluster: Cluster, action: Action) -> Certificate:
    return parse_certificate(await _read(cluster, action))


def _mark(action_id: str) -> str:
    return f"Renewal asked for by {FIELD_MANAGER}, {MARKER}={action_id}"


def _ours(found: Certificate, action_id: str) -> bool:
    return found.under_way and found.issuing.reason == REASON and found.asked == _mark(action_id)


def _failed(found: Certificate, action: Action) -> bool:
    at = found.failed_at.isoformat() if found.failed_at else ""
    return bool(at) and at != action.part["failed_at"]


async def _obstacle(cluster: Cluster, found: Certificate, action: Action) -> str:
    """Why nothing is written now; empty when it may be. Whatever refuses a plan refuses here, too. Raises the cluster's read errors."""
    if no := _moved(found, action):
        return no
    part: Mapping[str, Any] = action.part
    namespace, at = action.object.namespace, datetime.fromisoformat(part["planned_at"])
    known = [parse_certificate(m) for m in await cluster.list_objects(Kind.CERTIFICATE, namespace)]
    # By the time of the plan: an Order that was too young then counts, and a failure since then waits.
    now = await standing(cluster, namespace, found, known, at)
    lost = [text for code, text in now.unknown().items() if code not in part["unknown"]]
    if now.later is not None and (lost or now.pending is None):
        raise now.later
    if no_more := against(now, part["weekly"], at):
        return no_more[0]
    if lost:
        return "; ".join(lost)
    return await _other_secret(cluster, action)


def _issuer(found: Certificate) -> str:
    return "/".join(found.issuer)


def _moved(found: Certificate, action: Action) -> str:
    """Why the Certificate is not the one of the plan any more."""
    if found.uid != action.part["uid"]:
        return f"Certificate {found.name} was deleted and created again since the decision"
    if found.secret != action.part["secret"]:
        return f"Certificate {found.name} has another Secret than at the decision"
    if found.revision != _planned(action):
        return f"cert-manager issued revision {found.revision} of {found.name} since the decision"
    if _failed(found, action):
        return f"an issuance of {found.name} failed since the decision"
    if _issuer(found) != action.part.get("issuer"):
        return f"Certificate {found.name} has another issuer than at the decision"
    return f"an issuance of {found.name} is under way" if found.under_way else ""


async def _other_secret(cluster: Cluster, action: Action) -> str:
    """Why the Secret is not deleted: it is not the one of the plan any more."""
    if action.kind is not ActionKind.DELETE_SECRET:
        return ""
    name = str(action.part["secret"])
    try:
        secret = await cluster.get(Kind.SECRET, action.object.namespace, name)
    except ObjectMissing:
        return f"Secret {name} is gone"
    meta = secret["metadata"]
    if meta["uid"] != action.part["secret_uid"]:
        return f"Secret {name} was deleted and created again since the decision"
    owner = (meta.get("annotations") or {}).get(OF_CERTIFICATE)
    return "" if owner == _name(action) else f"Secret {name} does not belong to Certificate {_name(action)}"


def _done(manifest: Obj, action: Action, action_id: str) -> str:
    """A sentence when nothing has to be sent any more. What happened since the plan is taken for what this action was for: it would
    ask for the same once more."""
    found = parse_certificate(manifest)
    if found.uid != action.part["uid"]:
        return ""
    if _ours(found, action_id):
        return f"{action.summary}: was asked for already"
    if found.revision > _planned(action):
        return f"{action.summary}: cert-manager issued revision {found.revision} since the plan"
    return f"{action.summary}: an issuance failed since the plan" if _failed(found, action) else ""


async def _happened(cluster: Cluster, action: Action, action_id: str) -> str:
    if action.kind is ActionKind.RENEW_CERTIFICATE:
        return _done(await _read(cluster, action), action, action_id)
    gone = f"{action.summary}: it is gone"
    with suppress(ObjectMissing):
        secret = await cluster.get(Kind.SECRET, action.object.namespace, str(action.part["secret"]))
        return "" if secret["metadata"]["uid"] == action.part["secret_uid"] else gone
    return gone


def _issuing(manifest: Obj, action: Action, action_id: str) -> list[Operation]:
    """The patch of the status: bound to the resourceVersion, one condition set, all others as they are."""
    meta, status = manifest["metadata"], manifest.get("status")
    conditions: list[Any] = (status or {}).get("conditions") or []
    wanted = {
        "type": ISSUING,
        "status": "True",
        "reason": REASON,
        "message": _mark(action_id),
        "lastTransitionTime": str(action.params["at"]),
        "observedGeneration": meta.get("generation", 1),
    }
    at = next((str(n) for n, c in enumerate(conditions) if c.get("type") == ISSUING), "-")
    ops: list[Operation] = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}
    ]
    if status is None:
        ops.append({"op": "add", "path": "/status", "value": {}})
    if not conditions:
        ops.append({"op": "add", "path": "/status/conditions", "value": []})
    op = "add" if at == "-" else "replace"
    return [*ops, {"op": op, "path": f"/status/conditions/{at}", "value": wanted}]


async def _ask(cluster: Cluster, action: Action, patch: list[Operation], *, dry_run: bool = False) -> None:
    where = (Kind.CERTIFICATE, action.object.namespace, _name(action))
    await cluster.patch_status(*where, patch, dry_run=dry_run)


async def _delete(cluster: Cluster, action: Action, *, dry_run: bool = False) -> None:
    name, uid = str(action.part["secret"]), str(action.part["secret_uid"])
    await cluster.delete_secret(action.object.namespace, name, uid, dry_run=dry_run)


async def _read_back(means: Means, action: Action, action_id: str, lost: OutcomeUnclear) -> Applied:
    """Until it is there, or for longer than the API server works on a write: then it did not happen, and to send it again is safe,
    as it is bound to what was seen."""
    unread = ""
    for pause in PAUSES:
        await means.sleep(pause)
        try:
            if done := await _happened(means.clients.cluster, action, action_id):
                return Applied(ActionResult.APPLIED, done)
            unread = ""
        except (TryLater, ClusterRefused) as error:
            unread = error.message
    if unread:
        text = f"sent without an answer ({lost.message}), and it cannot be read back: {unread}"
        return Applied(ActionResult.UNCLEAR, text, code=lost.code)
    text = f"the answer was lost ({lost.message}); reading back shows that nothing was written"
    raise ClusterUnavailable(text, code="not_applied", where=str(action.object))
