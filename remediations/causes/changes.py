"""What changed lately, of everything the pods use, in one list: newest first. Pure; the times stand in the objects' metadata.

A write to an object's status is no change. What was deleted leaves no trace but a reference that leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj
from app.domain.target import Kind
from app.kube.lineage import template_written_at
from app.kube.owners import who_changed
from app.kube.parse import parse_time
from remediations.causes.model import Snapshot
from remediations.evidence.rollouts import last_deployment
from remediations.evidence.units import span


@dataclass(frozen=True, slots=True)
class Change:
    """One write: what was changed, when, and by whom (the field manager's name, empty when not known)."""

    at: datetime
    kind: Kind
    name: str
    what: str
    by: str = ""

    def told(self, now: datetime) -> str:
        """`14 s ago: ConfigMap app-config changed by kubectl-edit`."""
        by = f" by {self.by}" if self.by else ""
        return f"{span((now - self.at).total_seconds())} ago: {self.what}{by}"


@dataclass(frozen=True, slots=True)
class Write:
    """The newest write to an object that changed more than its status."""

    at: datetime
    by: str


_NOBODY = frozenset({"kube-controller-manager", "kube-scheduler", "kubelet", FIELD_MANAGER})
"""Writers whose writes follow from others, or are ours and told elsewhere."""


def last_write(manifest: Obj) -> Write | None:
    """The newest write that the metadata tells of; the creation when nothing newer is noted."""
    meta = manifest["metadata"]
    entries: Sequence[Mapping[str, Any]] = meta.get("managedFields") or ()
    times = [
        (at, str(e.get("manager", "")))
        for e in entries
        if e.get("subresource") != "status"
        and (at := parse_time(e.get("time")))
        and e.get("manager") not in _NOBODY
    ]
    if created := parse_time(meta.get("creationTimestamp")):
        times.append((created, ""))
    if not times:
        return None
    at, by = max(times, key=lambda t: (t[0], bool(t[1])))
    return Write(at, by)


def changes_of(seen: Snapshot) -> list[Change]:
    """All known changes, newest first."""
    return sorted(
        [*_workload(seen), *_configuration(seen), *_objects(seen)], key=lambda c: c.at, reverse=True
    )


def _workload(seen: Snapshot) -> Iterator[Change]:
    target, manifest = seen.workload.target, seen.workload.manifest
    last = last_deployment(seen.revisions, seen.now, template_written_at(seen.workload))
    if last is not None:
        writers = [by for by, _ in who_changed(manifest, "/spec/template") if by not in _NOBODY]
        word = "restored" if last.restored else "deployed"
        text = f"revision {last.revision.number} of {target.name} ({last.change}) {word}"
        yield Change(
            seen.now - timedelta(seconds=last.age),
            target.kind,
            target.name,
            text,
            writers[0] if writers else "",
        )
    for by, at in who_changed(manifest, "/spec/replicas")[:1]:
        if at is not None and by not in _NOBODY:
            text = f"replicas of {target.name} set to {seen.workload.desired}"
            yield Change(at, target.kind, target.name, text, by)


def _configuration(seen: Snapshot) -> Iterator[Change]:
    for kept in seen.kept.values():
        if kept.keys is not None and kept.changed_at is not None:
            yield Change(kept.changed_at, kept.kind, kept.name, f"{kept.kind} {kept.name} changed", kept.by)


def _objects(seen: Snapshot) -> Iterator[Change]:
    groups = (
        (Kind.HPA, (seen.autoscaler,) if seen.autoscaler else ()),
        (Kind.SERVICE, seen.services),
        (Kind.NETWORK_POLICY, seen.policies),
        (Kind.RESOURCE_QUOTA, seen.quotas),
        (Kind.LIMIT_RANGE, seen.limit_ranges),
        (Kind.PVC, tuple(c for c in seen.claims.values() if c is not None)),
    )
    for kind, manifests in groups:
        for manifest in manifests:
            write, name = last_write(manifest), manifest["metadata"]["name"]
            if write is not None:
                yield Change(write.at, kind, name, f"{kind} {name} changed", write.by)
