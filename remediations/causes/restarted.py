"""What the present template's own pods tell: whether all of them were up once; whether some run that were made before its restart, so that it is
what the others read when they start that tells them apart, and no release. And which configuration they read of which a key may be gone: that leaves
no time and no name.

Asked by `blame`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.json import Obj
from app.domain.target import Kind
from app.domain.workload import Pod
from app.kube.known_good import of_revision
from remediations.causes.demands import configured_by
from remediations.causes.exits import runs_well
from remediations.causes.model import Cause, Snapshot
from remediations.evidence.usage import count, span

_NAMED, _DIGEST = 2, 19
_OF = re.compile(r'ReplicaSet "([^"]{1,253})"')
"""Of which ReplicaSet a Deployment's condition speaks."""


def read_at_start(seen: Snapshot, template: Obj) -> str:
    """The ConfigMaps and Secrets that pods of this template read and that somebody can have changed, in words; empty for none."""
    used = sorted(configured_by(template))
    open_ = [f"{k} {n}" for k, n in used if not ((kept := seen.kept.get((k, n))) and kept.immutable)]
    more = f" or {len(open_) - _NAMED} more" if len(open_) > _NAMED else ""
    return " or ".join(open_[:_NAMED]) + more


@dataclass(frozen=True, slots=True)
class FromBefore:
    """Pods of the present template from before its restart run without the cause: that, what tells the others apart, and where to look, in words."""

    told: str
    look: str


def run_from_before(seen: Snapshot, cause: Cause) -> FromBefore | None:
    """That pods of the present template run which were made before its restart, while all that show the cause were made by it; None otherwise."""
    current = seen.current
    ailing = [p for p in seen.alive if p.name in cause.pods]
    if current is None or not ailing or not all(of_revision(p, current) for p in ailing):
        return None
    own = [p for p in seen.alive if seen.newest(p) and not of_revision(p, current)]
    well = [p for p in own if runs_well(seen, p)]
    if not well or max(p.created_at for p in well) >= min(p.created_at for p in ailing):
        return None
    run = f"{count(len(well), 'pod')} of the same template, made before its restart, {'runs' if len(well) == 1 else 'run'} without it"
    if replaced := _replaced(seen, ailing, well):
        return FromBefore(f"{run}: {replaced.told}", replaced.look)
    names = read_at_start(seen, current.template)
    changed = f"what they read when they start ({names})" if names else "what they meet when they start"
    told = f"{run}: {changed} may have changed since, and a key that was taken out leaves no trace"
    return FromBefore(told, f"compare {names} with what the program needs at its start" if names else "")


def _replaced(seen: Snapshot, ailing: Sequence[Pod], well: Sequence[Pod]) -> FromBefore | None:
    """The first image whose name stood for something else in all that run than in all that do not: somebody pushed over it."""
    for container in seen.workload.containers:
        now, before = (_ids(pods, container.name) for pods in (ailing, well))
        if now and before and not now & before:
            told = f"{container.image} stood for another image when they started ({_short(now)}; before {_short(before)})"
            look = f"put {container.image} back to {_short(before)}, and name images by digest or by a tag that stays"
            return FromBefore(told, look)
    return None


def _ids(pods: Sequence[Pod], container: str) -> set[str]:
    return {
        c.image_id.rpartition("@")[2]
        for p in pods
        for c in p.containers
        if c.name == container and c.image_id
    }


def _short(ids: set[str]) -> str:
    return " or ".join(found[:_DIGEST] for found in sorted(ids)[:_NAMED])


def made_by_a_restart(seen: Snapshot, cause: Cause, deployed: datetime, least: timedelta) -> str:
    """That all that show the cause were made by a restart, `least` or longer after their template was released; empty otherwise. How those before
    it did, nobody sees any more (Recreate, one replica, a drain): a release that brings it would have shown it in them."""
    current = seen.current
    ailing = [p for p in seen.alive if p.name in cause.pods]
    if current is None or not ailing or not all(of_revision(p, current) for p in ailing):
        return ""
    again = any(r.fingerprint == current.fingerprint and r.name != current.name for r in seen.revisions)
    had = current.created_at - deployed
    if not again or had < least:
        return ""
    names = read_at_start(seen, current.template)
    changed = f", and what they read when they start ({names}) may have changed since" if names else ""
    return (
        f"the pods that fail were made by a restart {span(had.total_seconds())} after the release, and how those before it did is not known: "
        f"with the release alone they would have failed as well{changed}"
    )


def completed(seen: Snapshot) -> bool:
    """The present revision had all its pods available once, as its controller says."""
    manifest = seen.workload.manifest
    status = manifest.get("status") or {}
    if seen.workload.observed_generation < seen.workload.ref.generation:
        return False
    if seen.workload.target.kind is Kind.DEPLOYMENT:
        told: Obj = next((c for c in status.get("conditions") or () if c.get("type") == "Progressing"), {})
        of = _OF.search(told.get("message") or "")
        # What the condition says may be of a ReplicaSet before: one that comes back is not made, and nothing is said of it at first.
        mine = of is None or seen.current is None or of[1] == seen.current.name
        return mine and told.get("reason") == "NewReplicaSetAvailable"
    if seen.workload.target.kind is Kind.STATEFUL_SET:
        update = status.get("updateRevision")
        return bool(update) and status.get("currentRevision") == update
    return False
