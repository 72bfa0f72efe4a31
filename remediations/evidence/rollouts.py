"""Which deployment put the present template in place, when, and what it changed: `kubectl rollout history` with sense.

Called by the handlers. Restarts make revisions too; they are looked through, so that a restart of an old version is
not taken for a deployment of a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.cluster import FIELD_MANAGER, Cluster
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue
from app.domain.redact import redact
from app.domain.remediation import Params, Scene
from app.domain.workload import Revision, Workload
from app.kube.known_good import Records, Word
from app.kube.lineage import is_return, lives, put_back, template_written_at
from app.kube.owners import who_changed
from app.kube.read import revisions
from remediations.evidence.one_way import ONE_WAY
from remediations.evidence.units import span
from remediations.params import Names, Seconds

_ROLLS_BACK = frozenset({FIELD_MANAGER, "kubectl-rollout"})
"""Writers of a template that only ever put an older one back."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The change that made the present template: its revision, the one before it (None for the first), its age in
    seconds, what differs in words, and whether it went back to an older template."""

    revision: Revision
    previous: Revision | None
    age: float
    change: str
    restored: bool = False
    redeployed: bool = False


class RollbackParams(Params):
    """Params of a handler that rolls back. `recent_deployment`: how old a deployment may be to be held responsible.
    `known_good`: so long a revision has to have run without an alert to be gone back to without asking. `one_way`: labels or
    annotations of a revision that mark a step behind which an older version may not work."""

    recent_deployment: Seconds = 3600
    known_good: Seconds = 1800
    one_way: Names = (ONE_WAY,)


def records_of(found: Sequence[Revision], scene: Scene, least: float) -> Records:
    """What standings of revisions are told from."""
    return Records(lives(found, template_written_at(scene.workload)), scene.history.alerts, least)


def was_redeployed(found: Sequence[Revision], scene: Scene, records: Records) -> bool:
    """Is the present template an older one that was deployed again, and no rollback? So it is when it had been rolled back from
    before, or when it replaced, before the alert, a version that ran well. In doubt it is a rollback, which is a repair."""
    current = next((r for r in found if r.current), None)
    written_at = template_written_at(scene.workload)
    if current is None or written_at is None or not is_return(current, found):
        return False
    writers = who_changed(scene.workload.manifest, "/spec/template")
    if written_at >= scene.fired_at or (writers and writers[0][0] in _ROLLS_BACK):
        return False
    if put_back(found):
        return True
    return len(records.lives) > 1 and records.of(records.lives[-2]).word is Word.GOOD


def last_deployment(
    found: Sequence[Revision],
    now: datetime,
    written_at: datetime | None = None,
    *,
    redeployed: bool = False,
) -> Deployment | None:
    """The newest real change of the template among `found` (newest first); None when there is no current revision.
    `written_at` is when the workload's template was last written; unknown counts as now. `redeployed`: the return to an older
    template was no rollback."""
    start = next((i for i, r in enumerate(found) if r.current), None)
    if start is None:
        return None
    current = found[start]
    older = found[start + 1 :]
    same = 0
    while same < len(older) and older[same].fingerprint == current.fingerprint:
        same += 1
    first = older[same - 1] if same else current
    previous = older[same] if same < len(older) else None
    came_back = is_return(current, found)
    # The ReplicaSet of a restored template is as old as its first life: only the workload tells when it came back.
    at = max(first.created_at, written_at or now) if came_back else first.created_at
    age = max(0.0, (now - at).total_seconds())
    again = came_back and redeployed
    return Deployment(first, previous, age, _change(previous, first), came_back and not again, again)


def _change(old: Revision | None, new: Revision) -> str:
    if old is None:
        first = "first revision, " if new.number <= 1 else ""
        return f"{first}{', '.join(tag(i) for i in new.images)}"
    if old.images == new.images:
        return f"same image {', '.join(tag(i) for i in new.images)}, changed {_parts(old, new)}"
    if len(old.images) == len(new.images):
        pairs = zip(old.images, new.images, strict=True)
        return ", ".join(f"{tag(a)} -> {tag(b)}" for a, b in pairs if a != b)
    return f"{', '.join(map(tag, old.images))} -> {', '.join(map(tag, new.images))}"


def _parts(old: Revision, new: Revision) -> str:
    """Names of the fields of the containers, or of the pod, that differ."""
    before, after = old.template.get("spec") or {}, new.template.get("spec") or {}
    changed = {k for k in {*before, *after} if before.get(k) != after.get(k)}
    if "containers" in changed and len(before.get("containers") or ()) == len(after.get("containers") or ()):
        changed.discard("containers")
        for a, b in zip(before["containers"], after["containers"], strict=True):
            changed |= {k for k in {*a, *b} if a.get(k) != b.get(k)}
    return ", ".join(sorted(changed)) or "labels or annotations"


def tag(image: str) -> str:
    """What tells versions of an image apart: its tag, or the start of its digest; the name when it has neither."""
    name, _, digest = image.partition("@")
    last = name.rpartition("/")[2]
    if ":" in last:
        return last.partition(":")[2]
    return digest[:19] if digest else last


async def read_revisions(cluster: Cluster, workload: Workload) -> list[Revision] | str:
    """Revisions, newest first, or the reason why they cannot be read."""
    try:
        return await revisions(cluster, workload)
    except (ClusterRefused, TryLater) as e:
        return e.message


def _no_older(revision: Revision, workload: Workload) -> str:
    if revision.number <= 1:
        return "; there is no revision before it"
    kept = workload.manifest["spec"].get("revisionHistoryLimit", 10)
    return f"; no older revision is kept (revisionHistoryLimit is {kept})"


def rollout_finding(found: Sequence[Revision] | str, scene: Scene, params: RollbackParams) -> Finding:
    """The finding `rollout.recent`.

    Its data says in `recent` whether the last deployment lies within `recent_deployment` seconds, and in `after_alert` whether it
    came after the alert: then it cannot be the cause, and is perhaps somebody's repair. A rollback to an older template
    (`restored`) always is one, whenever it happened; an older template that was deployed again (`redeployed`) is a deployment.
    """
    code, now, window = "rollout.recent", scene.now, params.recent_deployment
    if isinstance(found, str):
        return Finding(code, f"The rollout history could not be read: {found}", Certainty.UNKNOWN)
    again = was_redeployed(found, scene, records_of(found, scene, params.known_good))
    last = last_deployment(found, now, template_written_at(scene.workload), redeployed=again)
    if last is None:
        return Finding(code, "The rollout history has no revision of the present template", Certainty.UNKNOWN)
    recent = last.age <= window and last.previous is not None
    after_alert = last.restored or last.age < (now - scene.fired_at).total_seconds()
    data: dict[str, JsonValue] = {
        "recent": recent,
        "after_alert": after_alert,
        "restored": last.restored,
        "redeployed": last.redeployed,
        "nothing_older": last.previous is None and last.age <= window,
        "revision": last.revision.number,
        "previous": last.previous.number if last.previous else None,
        "age_seconds": round(last.age),
        "window_seconds": window,
        "change": last.change,
    }
    details = tuple(
        f"revision {r.number}: {', '.join(r.images)}, {span((now - r.created_at).total_seconds())} ago"
        + (f", {redact(r.change_cause)}" if r.change_cause else "")
        for r in found[:5]
    )
    done = "restored" if last.restored else "deployed again" if last.redeployed else "deployed"
    text = f"Revision {last.revision.number} ({last.change}) was {done} {span(last.age)} ago"
    if last.restored:
        text += ", after another version: a return and no deployment"
    elif last.previous is None:
        text += _no_older(last.revision, scene.workload)
    elif recent and after_alert:
        text += ", after the alert fired"
    elif not recent:
        text += f", outside of the window of {span(window)}"
    return Finding(code, text, data=data, details=details)
