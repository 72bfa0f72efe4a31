"""Which templates a workload was rolled back from, told from its kept revisions alone. Pure.

Called by `app.kube.actions.roll_back` and the handlers. A return to an older template reuses its ReplicaSet (or
ControllerRevision): the number is new and the creation time old, so neither says by itself what followed what. Never
reads the cluster, and knows nothing of who rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.workload import Revision, Workload
from app.kube.owners import who_changed
from app.kube.parse import parse_time


def left_by_return(revisions: Sequence[Revision], *, before: bool = False) -> frozenset[str]:
    """Fingerprints of templates that were replaced by one that had been in place before them. With `before` what the present
    one replaced does not count: it is no rollback."""
    prints = [life.revision.fingerprint for life in lives(revisions)]
    ends = len(prints) - 1 if before else len(prints)
    return frozenset(
        gone
        for i in range(1, ends)
        if prints[i] in prints[: i - 1]
        for gone in prints[prints.index(prints[i]) + 1 : i]
        if gone != prints[i]
    )


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


@dataclass(frozen=True, slots=True)
class Life:
    """One span of time in which a template was the present one, its restarts included. `start` and `end` are None where the
    kept revisions do not tell; `end` also for the present one."""

    revision: Revision
    start: datetime | None
    end: datetime | None


def lives(revisions: Sequence[Revision], written_at: datetime | None = None) -> list[Life]:
    """All lives that the kept revisions tell of, oldest first. `written_at` is when the present template was last written."""
    placed = sorted(_placed(revisions), key=lambda pair: pair[0])
    groups: list[list[tuple[float, Revision]]] = []
    for place, revision in placed:
        if groups and groups[-1][-1][1].fingerprint == revision.fingerprint:
            groups[-1].append((place, revision))
        else:
            groups.append([(place, revision)])
    starts = [_start(groups, index, written_at) for index in range(len(groups))]
    found = []
    for index, group in enumerate(groups):
        last = index + 1 == len(groups)
        # Where revisions in between are gone, nobody knows which of them ran how long.
        pruned = not last and groups[index + 1][0][0] - group[-1][0] > 1
        found.append(Life(group[-1][1], starts[index], None if last or pruned else starts[index + 1]))
    return found


def _placed(revisions: Sequence[Revision]) -> Iterator[tuple[float, Revision]]:
    """Each number that a revision has or had. A ControllerRevision keeps no earlier numbers; its age tells that it was there
    before the ones made after it."""
    for r in revisions:
        for number in {*r.earlier, r.number}:
            yield float(number), r
        after = [o for o in revisions if o.number < r.number and o.created_at > r.created_at]
        other = [o for o in after if o.fingerprint != r.fingerprint]
        if other and not r.earlier:
            yield min(o.number for o in other) - 0.5, r


def _start(
    groups: Sequence[Sequence[tuple[float, Revision]]], index: int, written_at: datetime | None
) -> datetime | None:
    first = groups[index][0][1]
    again = any(
        first.fingerprint == revision.fingerprint for group in groups[:index] for _, revision in group
    )
    if not again:
        return first.created_at
    return written_at if index + 1 == len(groups) else None


def put_back(revisions: Sequence[Revision]) -> bool:
    """The present template is one that had been rolled back from: somebody deployed it again."""
    spans = lives(revisions)
    if not spans:
        return False
    prints = [life.revision.fingerprint for life in spans]
    present, before = prints[-1], prints[:-1]
    if present not in before:
        return False
    last = len(before) - 1 - before[::-1].index(present)
    # What replaced it the last time had been there before it: that was the rollback.
    return last + 1 < len(before) and before[last + 1] in before[:last]
