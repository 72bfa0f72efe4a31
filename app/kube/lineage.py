"""An object's past: which templates a workload was rolled back from, how long each kept revision was in place, and since when it is
what it is.

Pure; reads manifests only, and never says what follows from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.cluster import FIELD_MANAGER
from app.domain.json import Obj
from app.domain.tools import is_hand
from app.domain.workload import KubeEvent, Revision, Workload
from app.kube.owners import who_changed
from app.kube.parse import parse_time

# Which templates a workload was rolled back from, told from its kept revisions alone. Pure.
#
# Called by `app.kube.actions.roll_back` and the handlers. A return to an older template reuses its ReplicaSet (or
# ControllerRevision): the number is new and the creation time old, so neither says by itself what followed what.


def left_by_return(revisions: Sequence[Revision], *, before: bool = False) -> frozenset[str]:
    """Fingerprints of templates that were replaced by one that had been in place before them, and not deployed again since. With
    `before` what the present one replaced does not count: it is no rollback."""
    return _left(revisions, before=before)[0]


def released_again(revisions: Sequence[Revision]) -> frozenset[str]:
    """Fingerprints of templates that were rolled back from, and deployed again since."""
    left, again = _left(revisions)
    return again - left


def _left(revisions: Sequence[Revision], *, before: bool = False) -> tuple[frozenset[str], frozenset[str]]:
    """What was rolled back from and not deployed again, and what was deployed again. A template that comes back after it was rolled back from is
    a release, and no rollback of what came between."""
    prints = [life.revision.fingerprint for life in lives(revisions)]
    left: set[str] = set()
    again: set[str] = set()
    for i, one in enumerate(prints[:-1] if before else prints):
        if one in left:
            left.discard(one)
            again.add(one)
        elif one in prints[: max(0, i - 1)]:
            last = i - 1 - prints[:i][::-1].index(one)
            left.update(prints[last + 1 : i])
    return frozenset(left), frozenset(again)


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


def written_by_us(workload: Workload, deployed: datetime) -> bool:
    """Whether the template that became the present one then is this service's own alone: a step, or the undo of one, and no release. A later
    restart of ours does not make a release ours."""
    wrote = [
        by
        for by, at in who_changed(workload.manifest, "/spec/template")
        if at and abs(at - deployed) <= _SOON
    ]
    return wrote == [FIELD_MANAGER]


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


def with_earlier(revisions: Sequence[Revision], written: Mapping[str, datetime | None]) -> list[Revision]:
    """ControllerRevisions with the numbers that they had before, which nobody keeps. One is written when it is made and when it comes back, with
    a number of its own each time: put in order of time, each life has one number less than the next. `written` is when each was written
    last, by its name. What does not fit the order of the numbers is no return: somebody wrote a label."""
    begun: list[tuple[datetime, int, Revision]] = []
    later: datetime | None = None
    for r in sorted(revisions, key=lambda r: -r.number):
        at = written.get(r.name) or r.created_at
        came_back = at > r.created_at and (later is None or at <= later)
        later = at if came_back else r.created_at
        begun.append((later, r.number, r))
        if came_back:
            begun.append((r.created_at, 0, r))
    begun.sort(key=lambda life: life[:2])
    earlier: dict[str, int] = {}
    number = max((r.number for r in revisions), default=0) + 1
    for i, (_, own, r) in reversed(list(enumerate(begun))):
        number = own or number - 1
        if not own and number > max((n for _, n, _ in begun[:i]), default=0):
            earlier[r.name] = number
    return [replace(r, earlier=(earlier[r.name],)) if r.name in earlier else r for r in revisions]


def put_back(revisions: Sequence[Revision]) -> bool:
    """The present template is one that had been rolled back from: somebody deployed it again."""
    spans = lives(revisions)
    return bool(spans) and spans[-1].revision.fingerprint in _left(revisions, before=True)[0]


_BEFORE_ITS_PODS = timedelta(hours=1)


def release_after(lives: Sequence[Life], revision: Revision) -> datetime | None:
    """When the release that replaced this revision the last time can have begun: its migrations may run an hour before its pods.
    None when that is not known."""
    own = [life for life in lives if life.revision.fingerprint == revision.fingerprint and life.end]
    if not own or own[-1].end is None:
        return None
    begun = own[-1].end - _BEFORE_ITS_PODS
    return max(begun, own[-1].start) if own[-1].start else begun


# Whether parts of a workload's spec were changed since a moment, told by what stands around it. Pure.
#
# Called by `app.kube.hands`. managedFields alone do not tell: an entry of the subresource scale has no time, what only removes moves
# none, and a time says that its manager wrote, not what. But each change makes a controller write something else.

_SOON = timedelta(seconds=5)  # within this a controller follows a change
_SAID_LATE = timedelta(minutes=1)  # after the last move of its pods, by a busy controller
_OURS = timedelta(seconds=60)  # so far the clock of this service may be from the API server's
_SCALED = re.compile(r"Scaled (?:up|down) replica set (\S+) from (\d+) to (\d+)")


@dataclass(frozen=True, slots=True)
class Around:
    """What tells when a workload was changed, as of `now`: its stored revisions (manifests) with the name of the present one and
    whether that one came back after another, the Events about it, when its autoscaler scaled last, and when this service wrote to
    it. None for what could not be read."""

    now: datetime
    revisions: Sequence[Obj] | None = None
    current: str = ""
    returned: bool = False
    events: Sequence[KubeEvent] | None = None
    autoscaled_at: datetime | None = None
    ours: Sequence[datetime] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Whether a part of the spec was changed since then, None when nobody can tell; and when."""

    happened: bool | None
    at: datetime | None = None


def unchanged_since(manifest: Obj, since: datetime) -> bool:
    """It is as it was made; or its controller has seen the present generation, and has not written the status since: no later change is there."""
    meta = manifest["metadata"]
    made, entries = parse_time(meta.get("creationTimestamp")), meta.get("managedFields") or ()
    if meta.get("generation") == 1 and made and made < since:
        return True
    known = [parse_time(e.get("time")) for e in entries if e.get("subresource") == "status"]
    return observed(manifest) and bool(known) and all(at is not None and at < since for at in known)


def template_change(
    manifest: Obj, around: Around | None, since: datetime, writers: Sequence[datetime]
) -> Change:
    """By the stored revision that the present template has: made since, or brought back since. What this service wrote is no change;
    `writers` are the times of others who have something of the template."""
    current = current_revision(manifest, around)
    made = parse_time(current["metadata"].get("creationTimestamp")) if current else None
    written = last_written(current) if current else None
    if around is None or current is None or made is None or written is None:
        return Change(None)
    if "data" in current:  # a ControllerRevision is written when it is made and when it comes back
        change = Change(written >= since, written)
    elif made >= since:
        change = Change(True, made)
    else:
        change = Change(around.returned and _brought_back(manifest, current, around, since), written)
    ours = any(abs(change.at - at) <= _OURS for at in around.ours) if change.at else False
    theirs = any(timedelta(0) <= change.at - at <= _SOON for at in writers) if change.at else False
    return Change(False) if ours and not theirs else change


def _brought_back(manifest: Obj, current: Obj, around: Around, since: datetime) -> bool:
    """A template of before came back since: its ReplicaSet grew from 0, and its rollout went on."""
    written, progress = last_written(current), _progress(manifest)
    if written is None or written < since or (progress is not None and progress[1] < since):
        return False
    began = [e.last_seen for e, name, start, _ in scalings(around) if name == name_of(current) and start == 0]
    newest = max((at for at in began if at is not None), default=None)
    return newest is None or newest >= since


def scalings(around: Around) -> Iterator[tuple[KubeEvent, str, int, int]]:
    """The Events that tell of a ReplicaSet that was scaled: its name, and from how many pods to how many."""
    for event in around.events or ():
        if told := _SCALED.search(event.message):
            yield event, told[1], int(told[2]), int(told[3])


def resumed_at(manifest: Obj, around: Around | None, since: datetime) -> datetime | None:
    """When a paused rollout went on, with nothing to roll out: what nobody could tell while it was paused is true again, and no ReplicaSet moved. A
    rollout that ends is as true as before, also where a busy controller says so late; one that ends after its deadline was not, and is told by
    its ReplicaSet."""
    current = current_revision(manifest, around)
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    told: Obj = next((c for c in conditions if c.get("type") == "Progressing"), {})
    at, turned = parse_time(told.get("lastUpdateTime")), parse_time(told.get("lastTransitionTime"))
    if around is None or current is None or at is None or turned is None:
        return None
    if told.get("reason") != "NewReplicaSetAvailable" or min(at, turned) < since or turned < at:
        return None
    made = parse_time(current["metadata"].get("creationTimestamp")) or since
    deadline = timedelta(seconds=manifest["spec"].get("progressDeadlineSeconds") or 0)
    late = _SAID_LATE if made + deadline < at else timedelta(seconds=1)
    entries = [e for r in around.revisions or () for e in r["metadata"].get("managedFields") or ()]
    times = [parse_time(e.get("time")) for e in entries]
    return at if all(t is not None and t + late < at for t in times) else None


def _progress(manifest: Obj) -> tuple[str, datetime] | None:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    told = next((c for c in conditions if c.get("type") == "Progressing"), None)
    at = parse_time(told.get("lastUpdateTime")) if told else None
    return (str(told.get("reason", "")), at) if told and at else None


def observed(manifest: Obj) -> bool:
    """Whether its controller has seen the present generation. Of a kind without the one or the other nobody can tell: False."""
    seen = int((manifest.get("status") or {}).get("observedGeneration") or 0)
    return 0 < int(manifest["metadata"].get("generation") or 0) <= seen


def current_revision(manifest: Obj, around: Around | None) -> Obj | None:
    """The stored revision of the present template; None also while its controller has not seen the present generation."""
    if around is None or not observed(manifest):
        return None
    return next((r for r in around.revisions or () if name_of(r) == around.current), None)


def name_of(manifest: Obj) -> str:
    """An object's name."""
    return str(manifest["metadata"]["name"])


def last_written(manifest: Obj) -> datetime | None:
    """When anything but its status was written the last time."""
    entries = manifest["metadata"].get("managedFields") or ()
    times = [parse_time(e.get("time")) for e in entries if e.get("subresource") != "status"]
    return max((at for at in times if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Write:
    """The newest write to an object that changed more than its metadata and its status."""

    at: datetime
    by: str


NOBODY = frozenset({"kube-controller-manager", "kube-scheduler", "kubelet", FIELD_MANAGER})
"""Writers whose writes follow from others, or are ours and told elsewhere."""


_ABOUT_IT = frozenset({"f:metadata", "f:status"})


def _only_about_it(entry: Mapping[str, Any]) -> bool:
    """Annotations, labels and a status alone: what pods and requests get of the object stayed as it was."""
    return len(fields := frozenset(entry.get("fieldsV1") or ())) > 0 and fields <= _ABOUT_IT


def last_write(
    manifest: Obj, *, everybody: bool = False, unless: Callable[[str], bool] = NOBODY.__contains__
) -> Write | None:
    """The newest write that the metadata tells of and that changed more than annotations or labels, with `everybody` also of controllers; the
    creation when nothing newer is noted. `unless`: whose writes are left out otherwise."""
    meta = manifest["metadata"]
    entries: Sequence[Mapping[str, Any]] = meta.get("managedFields") or ()
    times = [
        (at, str(e.get("manager", "")))
        for e in entries
        if e.get("subresource") != "status"
        and not _only_about_it(e)
        and (at := parse_time(e.get("time")))
        and (everybody or not unless(str(e.get("manager", ""))))
    ]
    if created := parse_time(meta.get("creationTimestamp")):
        times.append((created, ""))
    if not times:
        return None
    at, by = max(times, key=lambda t: (t[0], bool(t[1])))
    return Write(at, by)


def beneath(
    manifest: Obj, newest: Write | None, itself: Callable[[str], bool]
) -> tuple[datetime, str] | None:
    """The newest write of a hand beneath one of a program, with whose it was: beneath one that writes of its own accord (`itself`) of anybody
    else, beneath one that is not known of a hand that is. None without any."""
    known = newest is not None and itself(newest.by)
    hand = last_write(manifest, unless=lambda by: itself(by) or not (known or is_hand(by)))
    return (hand.at, hand.by) if hand is not None and hand.by and hand != newest else None
