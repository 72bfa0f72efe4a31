"""Which deployment put the present template in place, when, what it changed, what an older version may not be able to live with, and the
step that rolls back.

Called by the handlers. Reads only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.cluster import FIELD_MANAGER, Cluster, LogQuery
from app.domain.errors import ClusterRefused, TryLater
from app.domain.evidence import Certainty, Finding
from app.domain.json import JsonValue, Obj
from app.domain.migration_words import MIGRATION, of_the_schema
from app.domain.plan import Step
from app.domain.redact import redact
from app.domain.remediation import Params, Scene
from app.domain.target import Kind
from app.domain.text import bounded, visible
from app.domain.units import few
from app.domain.workload import Pod, Revision, Workload
from app.kube.actions import roll_back, unstick
from app.kube.impossible import Impossible
from app.kube.lineage import (
    Records,
    Word,
    is_return,
    left_by_return,
    lives,
    put_back,
    release_after,
    template_written_at,
)
from app.kube.owners import who_changed
from app.kube.parse import parse_time
from app.kube.read import revisions
from remediations.evidence.pods import of_revision, pods_of
from remediations.evidence.usage import span
from remediations.shared import Names, Seconds, act, refuse

# One-way steps between two revisions: what an older version may not be able to live with, such as a migrated
# database.
#
# Called by the rollback step. A team marks such a revision by a label or annotation that its rule names; a migration
# Job or Helm hook that ran since the older revision was replaced counts without a mark, and so does a revision whose
# pods migrate when they start, in an init container or in front of their command, or say that they did or broke off. What cannot be
# read counts as one: it only makes us ask.

ONE_WAY = "alert-remediator.io/one-way"
_HOOK = "helm.sh/hook"
_HOOKS = re.compile(r"(pre|post)-(install|upgrade)")
_NO = frozenset({"false", "no", "0"})
_PODS, _BEGINNING = 3, 65_536
"""Whose logs are asked about a migration, and how many bytes of each from its first line on."""
_NAME = 100


async def one_way_since(
    scene: Scene,
    found: Sequence[Revision],
    goal: Revision,
    since: datetime | None,
    keys: Sequence[str],
    pods: Sequence[Pod] = (),
) -> str:
    """What stands between `goal` and the present revision, as one clause; empty when nothing is seen. `since` is when the
    release after it can have begun; None looks at all Jobs. `pods` tell which init containers have not run at all."""
    marked = _marked(found, goal, keys) or _migrates(found, goal, pods)
    if marked:
        return marked
    try:
        jobs = await scene.cluster.list_objects(Kind.JOB, scene.workload.target.namespace)
    except (ClusterRefused, TryLater) as error:
        return f"whether a migration ran since then is not known: Jobs could not be read ({error.message})"
    for job in jobs:
        made = parse_time(job["metadata"].get("creationTimestamp"))
        if made is None or (since is not None and made < since):
            continue
        if what := _migration(job):
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
                        return f"container {_short(one.name)} {redact(told)}"
    return ""


def _marked(found: Sequence[Revision], goal: Revision, keys: Sequence[str]) -> str:
    for revision in sorted(found, key=lambda r: r.number):
        if revision.number <= goal.number or revision.fingerprint == goal.fingerprint:
            continue
        for key in keys:
            value = revision.marks.get(key)
            if value is not None and value.lower() not in _NO:
                return f"revision {revision.number} is marked as a one-way step ({key}: {_short(value)})"
    return ""


def _migrates(found: Sequence[Revision], goal: Revision, pods: Sequence[Pod]) -> str:
    """The newest revision after the goal whose pods migrate when they start, and have not been kept from it."""
    for revision in sorted(found, key=lambda r: -r.number):
        if revision.number <= goal.number or revision.fingerprint == goal.fingerprint:
            continue
        spec = revision.template.get("spec") or {}
        for group, containers in (
            ("init container", spec.get("initContainers")),
            ("container", spec.get("containers")),
        ):
            for container in containers or ():
                words = _commands(container)
                if group == "init container":  # what serves may be named after what it serves
                    words = " ".join([container.get("name", ""), container.get("image", ""), words])
                told = MIGRATION.search(words[:2_000])
                if told and not _never_ran(revision, container.get("name", ""), pods):
                    whole = told[0] + re.split(r"[^A-Za-z]", words[told.end() :], maxsplit=1)[0]
                    return (
                        f"{group} {_short(container.get('name', ''))} of revision {revision.number} migrates when its pods start"
                        f" (it has {_short(whole.split()[0])}), and an older version may not work"
                        " with what it changed"
                    )
    return ""


def _never_ran(revision: Revision, name: str, pods: Sequence[Pod]) -> bool:
    """Pods of this revision are there, and in none of them has that container ever run: its image cannot be pulled, for example."""
    own = [p for p in pods if of_revision(p, revision)]
    states = [c for p in own for c in p.containers if c.name == name]
    ran = any(c.running_since or c.terminated or c.last_terminated or c.restarts for c in states)
    return bool(own) and not ran and not any(p.ready for p in own)


def _commands(container: Obj) -> str:
    return " ".join(str(word) for word in (*(container.get("command") or ()), *(container.get("args") or ())))


def _migration(job: Obj) -> str:
    meta = job["metadata"]
    name = f"Job {_short(meta.get('name', ''))}"
    hook = (meta.get("annotations") or {}).get(_HOOK, "")
    if _HOOKS.search(hook):
        return f"{name} (Helm hook {_short(hook)})"
    template = (job.get("spec") or {}).get("template") or {}
    spec = template.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    commands = [f"{c.get('image', '')} {_commands(c)}" for c in containers]
    words = " ".join([meta.get("name", ""), *(meta.get("labels") or {}).values(), *commands])
    return f"{name} (a migration by its name or command)" if MIGRATION.search(words[:2_000]) else ""


def _short(text: str) -> str:
    return visible(bounded(str(text), _NAME))


# Which deployment put the present template in place, when, and what it changed: `kubectl rollout history` with sense.
#
# Called by the handlers. Restarts make revisions too; they are looked through, so that a restart of an old version is
# not taken for a deployment of a new one.

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
    `known_good`: so long a revision has to have run without an alert, while one would have been heard, to be gone back to without
    asking (a day where an alert fired on it before); below a minute its time in place is enough. `one_way`: labels or annotations of a revision that mark a step behind which an
    older version may not work."""

    recent_deployment: Seconds = 3600
    known_good: Seconds = 1800
    one_way: Names = (ONE_WAY,)


def records_of(found: Sequence[Revision], scene: Scene, least: float) -> Records:
    """What standings of revisions are told from."""
    spans = lives(found, template_written_at(scene.workload))
    return Records(spans, scene.history.alerts, least, scene.history.watched)


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
        return ", ".join(few([f"{tag(a)} -> {tag(b)}" for a, b in pairs if a != b]))
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


async def rollback_step(name: str, why: str, scene: Scene, params: RollbackParams) -> Step:
    """The step that rolls back to the newest revision that is known to be good, together with the pod deletions without which
    a StatefulSet would wait forever for its bad pod. It asks where no revision is known to be good, and where a one-way step
    lies in between."""
    found = await read_revisions(scene.cluster, scene.workload)
    if isinstance(found, str):
        return refuse(name, f"the revisions could not be read: {found}")
    pods = await pods_of(scene.cluster, scene.workload)
    if isinstance(pods, Finding):
        return refuse(name, pods.text)
    records = records_of(found, scene, params.known_good)
    again = was_redeployed(found, scene, records)
    built = roll_back(scene.workload, found, scene.history.left_revisions, records, redeployed=again)
    if isinstance(built, Impossible):
        return refuse(name, built.why, built.advice)
    goal = next(r for r in found if r.number == built.params["to_revision"])
    standing = records.standing(goal)
    unsure = (
        []
        if standing.word is Word.GOOD
        else [f"revision {goal.number} is not known to be good: {standing.why}"]
    )
    since = release_after(records.lives, goal)
    if returned := perhaps_a_return(found, redeployed=again):
        unsure.append(returned)
    if between := await one_way_since(scene, found, goal, since, params.one_way, pods):
        unsure.append(between)
    known = f"; {standing.why}" if standing.word is Word.GOOD else ""
    step = act(name, f"{why}{known}", built, unstick(scene.workload, pods))
    return replace(step, asks="; ".join(unsure))
