"""ConfigMaps and Secrets of a workload: what is missing, and what was changed when.

Called by the handlers. Of a Secret only names of keys and the times in its metadata are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.cluster import Cluster
from app.domain.errors import ClusterRefused, ObjectMissing, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import ConfigRef, Revision, Workload
from app.kube.parse import parse_time
from app.kube.podspec import containers_of
from app.kube.read import missing_config
from remediations.evidence.units import span


@dataclass(frozen=True, slots=True)
class Change:
    """When a ConfigMap or Secret was last written, and by whom (the field manager's name)."""

    kind: Kind
    name: str
    at: datetime
    by: str


async def missing_finding(cluster: Cluster, workload: Workload) -> Finding:
    """The finding `config.missing`; data has `missing`, a list of kind, name and key."""
    code = "config.missing"
    try:
        found = await missing_config(cluster, workload)
    except (ClusterRefused, TryLater) as e:
        return Finding(code, f"Whether configuration is missing is not known: {e.message}", Certainty.UNKNOWN)
    rows = [{"kind": ref.kind.value, "name": ref.name, "key": ref.key} for ref, _ in found]
    if not found:
        return Finding(
            code, "All ConfigMaps, Secrets and keys that the pods need exist", data={"missing": rows}
        )
    text = "; ".join(why for _, why in found)
    return Finding(
        code, f"{text[:1].upper()}{text[1:]}", data={"missing": rows}, details=tuple(w for _, w in found)
    )


def missing_refs(finding: Finding | None) -> list[ConfigRef]:
    """The references that a finding `config.missing` names."""
    rows: Any = finding.data.get("missing", ()) if finding else ()
    return [ConfigRef(Kind(r["kind"]), r["name"], r["key"]) for r in rows]


def needs(revision: Revision, ref: ConfigRef) -> bool:
    """True when that revision's template needs the reference as well."""
    specs = containers_of(revision.template.get("spec") or {})
    return any(
        (c.kind, c.name, c.key) == (ref.kind, ref.name, ref.key) and not c.optional
        for s in specs
        for c in s.config
    )


async def changed_finding(scene_now: datetime, cluster: Cluster, workload: Workload) -> Finding:
    """The finding `config.changed`: the newest write to any ConfigMap or Secret that the pods use; data has `at`."""
    code = "config.changed"
    places = sorted({(ref.kind, ref.name) for c in workload.containers for ref in c.config})
    if not places:
        return Finding(code, "The pods use no ConfigMap or Secret", data={"at": None})
    try:
        changes = [c for kind, name in places if (c := await _change(cluster, workload, kind, name))]
    except (ClusterRefused, TryLater) as e:
        return Finding(code, f"When configuration changed is not known: {e.message}", Certainty.UNKNOWN)
    if not changes:
        return Finding(code, "No write to the pods' configuration is recorded", data={"at": None})
    last = max(changes, key=lambda c: c.at)
    by = f" by {last.by}" if last.by else ""
    text = f"{last.kind} {last.name} was last changed {span((scene_now - last.at).total_seconds())} ago{by}"
    data = {"at": last.at.isoformat(), "kind": last.kind.value, "name": last.name, "by": last.by}
    return Finding(code, text, data=data)


async def _change(cluster: Cluster, workload: Workload, kind: Kind, name: str) -> Change | None:
    try:
        manifest = await cluster.get(kind, workload.target.namespace, name)
    except ObjectMissing:
        return None
    return last_change(kind, name, manifest)


def last_change(kind: Kind, name: str, manifest: Obj) -> Change | None:
    """The newest write that the object's metadata tells of; its creation when nothing newer is noted."""
    meta = manifest["metadata"]
    entries: Sequence[Mapping[str, Any]] = meta.get("managedFields") or ()
    times = [(t, str(e.get("manager", ""))) for e in entries if (t := parse_time(e.get("time")))]
    created = parse_time(meta.get("creationTimestamp"))
    if created:
        times.append((created, ""))
    if not times:
        return None
    at, by = max(times)
    return Change(kind, name, at, by)
