"""Which deployment put the present template in place, when, what it changed, whether it is perhaps a repair, and the step that rolls
back. Restarts make revisions too; they are looked through.

Called by the handlers. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from app.domain.cluster import FIELD_MANAGER, Cluster, LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.image_names import from_to, tag
from app.domain.json import JsonValue
from app.domain.migration_words import of_the_schema
from app.domain.migrations import marked, migrates, migration, short_name
from app.domain.plan import Action, Step
from app.domain.redact import redact
from app.domain.remediation import Params, Scene
from app.domain.target import Kind
from app.domain.units import few
from app.domain.workload import Pod, Revision, Workload
from app.kube.actions import roll_back, unstick
from app.kube.actions.roll_back import doubts, passed_over
from app.kube.impossible import Impossible
from app.kube.known_good import NO_PODS, PodsByTemplate, Records, Word, of_revision, pods_by_template
from app.kube.lineage import (
    is_return,
    left_by_return,
    lives,
    put_back,
    release_after,
    template_written_at,
)
from app.kube.manifest import differences
from app.kube.owners import who_changed
from app.kube.parse import parse_time
from app.kube.read import revisions
from remediations.evidence.pods import pods_of
from remediations.evidence.usage import span
from remediations.shared import Names, Seconds, act, refuse

_ROLLS_BACK = frozenset({FIELD_MANAGER, "kubectl-rollout"})
"""Writers of a template that only ever put an older one back."""
ONE_WAY = "alert-remediator.io/one-way"
ONE_WAY_MARKS, KNOWN_GOOD = (ONE_WAY,), 1800.0
MARKS = "Labels or annotations of a revision that mark a step behind which an older version may not work; only a rule sets it"
_PODS, _BEGINNING = 3, 65_536
"""Whose logs are asked about a migration, and how many bytes of each from its first line on."""


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
    `known_good`: so long a revision has to have run without an alert, while one would have been heard, to be gone back to without
    asking (a day, before an alert fired on it or since); below a minute its time in place is enough, and where pods do not
    become ready, one of it that is. `one_way`: labels or annotations of a revision that mark a step behind which an older version may not work."""

    recent_deployment: Seconds = 3600
    known_good: Seconds = KNOWN_GOOD
    one_way: Names = ONE_WAY_MARKS


def records_of(
    found: Sequence[Revision], scene: Scene, least: float, pods: PodsByTemplate = NO_PODS
) -> Records:
    """What standings of revisions are told from."""
    spans = lives(found, template_written_at(scene.workload))
    return Records(spans, scene.history.alerts, least, scene.history.watched, pods)


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


def perhaps_a_repair(found: Sequence[Revision], scene: Scene) -> str:
    """Why the present version may be somebody's repair, as one clause: it came while an alert of this target was open, whichever fires now.
    Empty when none was."""
    last = last_deployment(found, scene.now, template_written_at(scene.workload))
    if last is None:
        return ""
    came = scene.now - timedelta(seconds=last.age)
    alerts = scene.history.alerts
    open_then = [a for a in alerts if a.opened < came and (a.closed is None or a.closed > came)]
    if not open_then:
        return ""
    first = open_then[0]
    return (
        f"revision {last.revision.number} came while {first.name} was open, which had fired"
        f" {span((came - first.opened).total_seconds())} before, and is perhaps a repair of that"
    )


def perhaps_a_return(found: Sequence[Revision], *, redeployed: bool) -> str:
    """Why the present version may be somebody's repair, as one clause; empty when nothing says so. What runs tells it, as the template
    of a release that went back often differs by its number, a label or a commit. A version that had been rolled back from is none."""
    current = next((r for r in found if r.current), None)
    if current is None or put_back(found):
        return ""
    if redeployed:
        return f"revision {current.number} is an older version that somebody brought back, perhaps to repair something"
    bad, newest_first = left_by_return(found), sorted(found, key=lambda r: -r.number)
    others = [r for r in newest_first if r.number < current.number and r.fingerprint != current.fingerprint]
    runs = [_plain(image) for image in current.images]
    same = [r for r in others[1:] if [*map(_plain, r.images)] == runs and r.fingerprint not in bad]
    if not same or [*map(_plain, others[0].images)] == runs:
        return ""
    return f"revision {current.number} runs the images of revision {same[0].number} again: somebody went back, perhaps to repair something"


def _plain(image: str) -> str:
    """An image by name and tag alone: a mirror's, or one that is pinned by its digest too, is the same."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name if ":" in name else image


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
    return Deployment(first, previous, age, what_changed(previous, first), came_back and not again, again)


def what_changed(old: Revision | None, new: Revision) -> str:
    """What a template has that the one before it had not, in words; None is before the first."""
    tags = ", ".join(few([*map(tag, new.images)]))
    if old is None:
        return ("first revision, " if new.number <= 1 else "") + tags
    if old.images == new.images:
        return f"same image {tags}, changed {_parts(old, new)}"
    if len(old.images) == len(new.images):
        pairs = zip(old.images, new.images, strict=True)
        return ", ".join(few([from_to(a, b) for a, b in pairs if a != b]))
    return f"{', '.join(few([*map(tag, old.images)]))} -> {tags}"


def _parts(old: Revision, new: Revision) -> str:
    """Names of the fields of the containers, or of the pod, that differ."""
    before, after = old.template.get("spec") or {}, new.template.get("spec") or {}
    changed = {k for k in {*before, *after} if before.get(k) != after.get(k)}
    if "containers" in changed and len(before.get("containers") or ()) == len(after.get("containers") or ()):
        changed.discard("containers")
        for a, b in zip(before["containers"], after["containers"], strict=True):
            changed |= {k for k in {*a, *b} if a.get(k) != b.get(k)}
    return ", ".join(sorted(changed)) or "labels or annotations"


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
        f"revision {r.number}: {', '.join(few(r.images))}, {span((now - r.created_at).total_seconds())} ago"
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


async def rollback_step(
    name: str, why: str, scene: Scene, params: RollbackParams, *, starts: bool = False, shows: Collection[str] = ()
) -> Step:  # fmt: skip
    """The step that rolls back to the revision whose pods are ready now, else to the newest that is known to be good, together with the
    pod deletions without which a StatefulSet would wait forever for its bad pod. It asks where no revision is known to be good, where
    another one that may be good is passed over, and where a one-way step lies in between. `starts`: it is for pods that do not become
    ready, so that those which are prove their revision. `shows`: the containers that have the fault, where they accuse themselves."""
    found = await read_revisions(scene.cluster, scene.workload)
    if isinstance(found, str):
        return refuse(name, f"the revisions could not be read: {found}")
    pods = await pods_of(scene.cluster, scene.workload)
    if isinstance(pods, Finding):
        return refuse(name, pods.text)
    sorted_ = pods_by_template(scene.workload, found, pods, scene.now)
    records = records_of(found, scene, params.known_good, sorted_)
    again, left = was_redeployed(found, scene, records), scene.history.left_revisions
    built = roll_back(scene.workload, found, left, records, redeployed=again, pods=sorted_)
    if isinstance(built, Impossible):
        return refuse(name, built.why, built.advice)
    way = await way_back(scene, Past(found, pods, records, shows), built, params.one_way, starts=starts)
    step = act(name, "; ".join(filter(None, [why, way.told])), built, unstick(scene.workload, pods))
    return replace(step, asks=way.asks)


class Ordered(Enum):
    """What the order of a rollback chose: nothing without one, to go back at all, or this very revision."""

    NO = auto()
    ANY = auto()
    THIS = auto()


@dataclass(frozen=True, slots=True)
class Past:
    """What a way back is judged from: the kept revisions, newest first, the pods, and how good each is known to be."""

    found: Sequence[Revision]
    pods: Sequence[Pod]
    records: Records
    shows: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class WayBack:
    """What is known of a way back, as clauses: `asks` is what a person has to know before it, `told` is only told."""

    asks: str
    told: str


async def way_back(
    scene: Scene,
    past: Past,
    built: Action,
    one_way: Sequence[str],
    *,
    starts: bool = False,
    ordered: Ordered = Ordered.NO,
) -> WayBack:
    """The one look at what speaks against a rollback, whoever wants it. Who orders one wants to leave the present version, and has chosen a goal that is
    not known to be good; who names the revision passes the others over. All of that is told them; of one that is known to be bad, of
    one that was rolled back from and of a step that cannot be gone back behind they may not know."""
    found, records, left = past.found, past.records, scene.history.left_revisions
    goal = next(r for r in found if r.number == built.params["to_revision"])
    known, doubt = _known(goal, records, starts=starts)
    over = passed_over(goal, found, left, records, starts=starts)
    repair = [
        perhaps_a_repair(found, scene),
        perhaps_a_return(found, redeployed=was_redeployed(found, scene, records)),
    ]
    bad = records.standing(goal).word is Word.BAD
    behind = await one_way_since(scene, found, goal, release_after(records.lives, goal), one_way, past.pods)
    sure = [doubts(goal, found, left, past.pods, past.shows), behind]
    weighed = [
        (ordered is Ordered.NO, repair[:1]),
        (ordered is Ordered.NO or bad, [doubt]),
        (True, sure[:1]),
        (ordered is not Ordered.THIS, over.asks),
        (ordered is Ordered.NO, repair[1:]),
        (True, sure[1:]),
    ]
    asks = [text for asked, texts in weighed for text in texts if asked]
    told = [text for asked, texts in weighed for text in texts if not asked]
    return WayBack("; ".join(filter(None, asks)), "; ".join(filter(None, [known, *over.told, *told])))


def _known(goal: Revision, records: Records, *, starts: bool) -> tuple[str, str]:
    """Why this revision is good, and why that is not known: one of both is empty."""
    standing = records.standing(goal)
    if standing.word is Word.GOOD:
        return standing.why, ""
    proven = starts and goal.fingerprint in records.pods.proven
    if proven and standing.word is not Word.BAD and not standing.alerted:
        return f"revision {goal.number} serves: {records.pods.told(goal)} now", ""
    return "", f"revision {goal.number} is not known to be good: {standing.why}"


async def one_way_since(
    scene: Scene,
    found: Sequence[Revision],
    goal: Revision,
    since: datetime | None,
    keys: Sequence[str],
    pods: Sequence[Pod] = (),
) -> str:
    """What an older version may not be able to live with between `goal` and the present revision, as one clause; empty when nothing is seen. `since` is when the
    release after it can have begun; None looks at all Jobs. What cannot be read counts as one: it only makes us ask. `pods` tell which init containers have not run at all."""
    told = marked(found, goal, keys) or migrates(
        found, goal, lambda r: [p for p in pods if of_revision(p, r)]
    )
    if told:
        return told
    try:
        jobs = await scene.cluster.list_objects(Kind.JOB, scene.workload.target.namespace)
    except (ClusterRefused, TryLater) as error:
        return f"whether a migration ran since then is not known: Jobs could not be read ({error.message})"
    for job in jobs:
        made = parse_time(job["metadata"].get("creationTimestamp"))
        if made is None or (since is not None and made < since):
            continue
        if what := migration(job):
            return f"{what} ran at {made:%Y-%m-%d %H:%M} UTC, and an older version may not work with what it changed"
    newer = [r for r in found if r.number > goal.number and r.fingerprint != goal.fingerprint]
    return await _migrated(scene, [p for p in pods if any(of_revision(p, r) for r in newer)][:_PODS])


async def _migrated(scene: Scene, pods: Sequence[Pod]) -> str:
    """What the beginnings of these pods' logs say that was migrated. What cannot be read says nothing here."""
    space = scene.workload.target.namespace
    for pod in pods:
        for one in pod.containers:
            for previous in (False, True)[: 1 + bool(one.restarts)]:
                query = LogQuery(space, pod.name, one.name, previous, None, None, _BEGINNING)
                with suppress(ClusterRefused, TryLater):
                    if told := of_the_schema(await scene.cluster.logs(query)):
                        return f"container {short_name(one.name)} {redact(told)}"
    return ""


def labels_only(last: Deployment | None) -> bool:
    """Whether a release changed labels and annotations of its pods alone, which no program feels."""
    found = differences(last.previous.template, last.revision.template) if last and last.previous else []
    return bool(found) and all(d.path.startswith("metadata.") for d in found)
