"""Which templates a workload was rolled back from, told from its kept revisions alone. Pure.

Called by `app.kube.actions.roll_back` and the handlers. A return to an older template reuses its ReplicaSet (or
ControllerRevision): the number is new and the creation time old, so neither says by itself what followed what. Never
reads the cluster, and knows nothing of who rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from app.domain.workload import Revision, Workload
from app.kube.owners import who_changed
from app.kube.parse import parse_time


def left_by_return(revisions: Sequence[Revision]) -> frozenset[str]:
    """Fingerprints of templates that were replaced by one that had been in place before them."""
    return frozenset(gone.fingerprint for r in revisions for gone in _left_for(r, revisions))


def is_return(revision: Revision, revisions: Sequence[Revision]) -> bool:
    """True when this revision's template came back after another one, by anybody's hand. A restart is no return.

    Where the revisions between its two lives are no longer kept, it counts as one.
    """
    if any(r.number > revision.number and r.fingerprint != revision.fingerprint for r in revisions):
        return True  # its controller has not given it its new number yet
    family = _family(revision, revisions)
    if any(_left_for(r, revisions) for r in family):
        return True
    return any(r.earlier and not _between(max(r.earlier), r, revisions) for r in family)


def _family(revision: Revision, revisions: Sequence[Revision]) -> list[Revision]:
    """This revision and the restarts of it right before, newest first."""
    older = sorted((r for r in revisions if r.number <= revision.number), key=lambda r: -r.number)
    family: list[Revision] = []
    for r in older:
        if r.fingerprint != revision.fingerprint:
            break
        family.append(r)
    return family


def _left_for(revision: Revision, revisions: Sequence[Revision]) -> list[Revision]:
    lives = [r for r in revisions if r.fingerprint == revision.fingerprint and r.number <= revision.number]
    others = [r for r in revisions if r.number < revision.number and r.fingerprint != revision.fingerprint]
    return [o for o in others if any(_lived_before(life, o) for life in lives)]


def _lived_before(life: Revision, other: Revision) -> bool:
    return min((life.number, *life.earlier)) < other.number or life.created_at < other.created_at


def _between(low: int, revision: Revision, revisions: Sequence[Revision]) -> bool:
    return any(low < r.number < revision.number for r in revisions)


def template_written_at(workload: Workload) -> datetime | None:
    """The latest moment at which the present template can have become the present one, as far as the object tells:
    the newest write to it, else the last progress of its rollout."""
    times = [at for _, at in who_changed(workload.manifest, "/spec/template") if at is not None]
    if times:
        return max(times)
    conditions = (workload.manifest.get("status") or {}).get("conditions") or ()
    progress = [c for c in conditions if c.get("type") == "Progressing"]
    return parse_time(progress[0].get("lastUpdateTime")) if progress else None
