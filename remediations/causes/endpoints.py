"""What the EndpointSlices of a workload's Services say: who gets no requests although its pods are ready, and who gets them too early.

Asked by `around`, where there are slices. A Service for which nobody made a slice is not judged: nothing is known of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.lineage import last_write, template_written_at
from app.kube.parse import serves
from remediations.causes.demands import declares
from remediations.causes.edits import edit_of
from remediations.causes.model import NEAR, STARTING, Cause, CauseCode, Snapshot, Sureness
from remediations.evidence.rollouts import last_deployment
from remediations.evidence.usage import count

_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_CONTROLLER = "endpointslice-controller.k8s.io"


def endpoint_causes(seen: Snapshot) -> Iterator[Cause]:
    """One for each Service that chooses the pods and does not send them requests, or sends them to pods that are not ready. One that is
    so for long, or beside which another serves the pods, is at most possible."""
    mine = [
        s
        for s in seen.services
        if serves(s, seen.workload.pod_labels) and s["metadata"]["name"] in seen.slices
    ]
    found = [(s, _judged(seen, s, seen.slices[s["metadata"]["name"]])) for s in mine]
    serving = any(cause is None for _, cause in found)
    for _, cause in found:
        if cause is not None:
            lately = cause.since is not None and cause.since >= seen.fired_at - NEAR
            yield cause if lately and not serving else replace(cause, sureness=Sureness.POSSIBLE)


def _judged(seen: Snapshot, service: Obj, slices: Sequence[Obj]) -> Cause | None:
    spec = service.get("spec") or {}
    if spec.get("publishNotReadyAddresses") is True and spec.get("clusterIP") != "None":
        return _too_early(seen, service, slices)
    settled = [p for p in seen.alive if p.ready and (c := p.condition("Ready")) is not None and c.since is not None
               and seen.now - c.since >= STARTING]  # fmt: skip
    if not settled:
        return None  # why the pods are not ready is another cause, and slices follow them
    ready = [(m, e) for m in slices for e in m.get("endpoints") or () if _ready(e)]
    names = {p.name for p in settled}
    own = [(m, e) for m, e in ready if _pod_of(e) in (names | {""})]
    if not own:
        began = min((c.since for p in settled if (c := p.condition("Ready")) and c.since), default=None)
        return _empty(seen, service, slices, began, len(ready))
    have = {str(p.get("name") or "") for m, _ in own for p in m.get("ports") or ()}
    ports = spec.get("ports") or ()
    lost = [p for p in ports if str(p.get("name") or "") not in have]
    # What no container names is left out of every slice, at each rollout anew: of that the templates tell, and not the slices (`around`).
    told = next((p for p in lost if not _unnamed(seen, p)), None)
    cause = None if told is None else _without_port(seen, service, slices, told)
    beside = len(lost) < len(ports)  # requests that pods answer with errors come in by another port
    return replace(cause, since=None) if cause is not None and beside else cause


def _unnamed(seen: Snapshot, port: Obj) -> bool:
    """Whether a Service asks for a port by a name that no container of the template has."""
    target = port.get("targetPort", port.get("port"))
    by_name = isinstance(target, str) and not target.isdecimal()
    return by_name and not declares(seen.workload.manifest["spec"]["template"], target)


def _ready(endpoint: Obj) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _pod_of(endpoint: Obj) -> str:
    """The pod of an address; empty where it tells none."""
    return str((endpoint.get("targetRef") or {}).get("name") or "")


def _changed(slices: Sequence[Obj]) -> datetime | None:
    writes = [last_write(m, everybody=True) for m in slices]
    return max((w.at for w in writes if w is not None), default=None)


def _cause(code: CauseCode, service: Obj, text: str, advice: str, since: datetime | None) -> Cause:
    name = service["metadata"]["name"]
    return Cause(
        code=code, object=f"Service {name}", sureness=Sureness.CERTAIN, text=text, advice=advice, objects=((Kind.SERVICE, name),), since=since
    )  # fmt: skip


def _look(seen: Snapshot, name: str) -> str:
    return f"kubectl get endpointslices -n {seen.workload.target.namespace} -l kubernetes.io/service-name={name} -o yaml"


def _empty(
    seen: Snapshot, service: Obj, slices: Sequence[Obj], served: datetime | None, others: int
) -> Cause:
    """It is so since its slices changed; where they have others, since the pods could serve: what nobody follows any more does not change. What
    had no address at all before these pods has none for as long."""
    name = service["metadata"]["name"]
    of_others = f", but {count(others, 'address', 'addresses')} of other pods" if others else ""
    text = (
        f"Service {name} sends no requests to the pods: {count(seen.ready, 'pod')} of {seen.workload.target.name} ready, and its EndpointSlices"
        f" have no ready address of them{of_others}"
    )
    keepers = {str((m["metadata"].get("labels") or {}).get(_MANAGED_BY) or "nobody") for m in slices}
    by = next((k for k in sorted(keepers) if k != _CONTROLLER), "")
    who = f"{by} keeps such slices" if by else "the controller of EndpointSlices does not follow the pods"
    since = max((at for at in (_changed(slices), served if others else None) if at is not None), default=None)
    return _cause(
        CauseCode.SERVICE_ENDPOINTS, service, text, f"see why {who} of Service {name}: {_look(seen, name)}", since
    )  # fmt: skip


def _without_port(seen: Snapshot, service: Obj, slices: Sequence[Obj], port: Obj) -> Cause:
    name, target = service["metadata"]["name"], port.get("targetPort", port.get("port"))
    text = f"Service {name} sends port {port.get('port')} to nobody: its EndpointSlices have no such port (targetPort {target!r})"
    advice = f"correct targetPort of Service {name}, or the ports of the pod template: {_look(seen, name)}"
    return _cause(CauseCode.SERVICE_PORT, service, text, advice, _port_since(seen, service, slices))


def _port_since(seen: Snapshot, service: Obj, slices: Sequence[Obj]) -> datetime | None:
    """Since when a port is lost: since somebody wrote the Service, or its slices. Not where these were written as pods came, which tells
    nothing of the port: it may never have been there."""
    edit, at = edit_of(service, seen.workload.manifest), _changed(slices)
    edited = edit.write.at if edit is not None and edit.sure else None
    ready = [(p.created_at, c.since if (c := p.condition("Ready")) else None) for p in seen.alive]
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    came = [t for times in ready for t in times if t is not None]
    came += [seen.now - timedelta(seconds=last.age)] if last is not None else []
    wrote = last_write(service)
    came += [wrote.at] if wrote is not None and wrote.at != edited else []  # its labels are theirs too
    followed = at is None or any(abs(at - t) <= STARTING for t in came)
    return max((t for t in (edited, None if followed else at) if t is not None), default=None)


def _too_early(seen: Snapshot, service: Obj, slices: Sequence[Obj]) -> Cause | None:
    """Only while some pods are ready: where none is, why is the cause."""
    name = service["metadata"]["name"]
    sent = {_pod_of(e) for m in slices for e in m.get("endpoints") or () if _ready(e)}
    waiting = [
        p for p in seen.alive if not p.ready and p.name in sent and seen.now - p.created_at >= STARTING
    ]
    if not waiting or not seen.ready:
        return None
    text = f"Service {name} sends requests to {count(len(waiting), 'pod')} that {'is' if len(waiting) == 1 else 'are'} not ready (publishNotReadyAddresses)"
    advice = f"set publishNotReadyAddresses of Service {name} to false, or make the pods ready"
    since = [c.since for p in waiting if (c := p.condition("Ready")) is not None and c.since is not None]
    found = _cause(CauseCode.SERVICE_ENDPOINTS, service, text, advice, max(since, default=None))
    return replace(found, sureness=Sureness.LIKELY)
