"""Going back to an older revision of a workload's template, as `kubectl rollout undo` does, without its traps.

Built by handlers. Pure. Traps avoided: a restart makes a revision with the same images, and a restored revision
becomes the newest, so that a second "undo" would bring the bad one back.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass, replace

from app.domain.json import JsonValue, Obj
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.units import few
from app.domain.workload import Pod, Revision, Workload
from app.kube.actions.delete_pod import delete_pod
from app.kube.impossible import Impossible
from app.kube.known_good import NO_PODS, PodsByTemplate, Records, Word, pushed_over
from app.kube.lineage import is_return, left_by_return, released_again
from app.kube.manifest import annotation_path, value_at
from app.kube.newpods.goal import refusal
from app.kube.owners import who_changed
from app.kube.parse import CHANGE_CAUSE, RESTARTED_AT, fingerprint

DEPLOY_GOOD = "deploy a known good version from its source"
"""What a person does where the release is to blame and there is no way back."""
_TEMPLATE = "/spec/template"
_CAUSE = annotation_path(CHANGE_CAUSE)
_NEVER = "the rollout of revision {} never came to its end, and no pod of it is ready"


def roll_back(
    workload: Workload,
    revisions: Sequence[Revision],
    left: Container[str] = frozenset(),
    records: Records | None = None,
    *,
    redeployed: bool = False,
    pods: PodsByTemplate = NO_PODS,
) -> Action | Impossible:
    """Restore an older revision whose template really differs and that nobody rolled back from: the one whose `pods` are ready now, most of
    them first, as these prove it and stay as they are; without any the newest that is known to be good by the `records`, else
    the newest of which nothing bad is known. One whose rollout never came to its end, and that has no ready pod, never. Where `records` leave
    none, one with ready pods all the same: `doubts` tells what a person has to know of it.

    `revisions` are newest first; `left` are fingerprints that this service already rolled this target away from. What a
    rollback put in place, ours or a person's, is never rolled back in turn. The fingerprint that this action leaves is
    in `params["left"]`. `redeployed`: the present template is an older one that was deployed again, which is no rollback.
    """
    if no := refusal(workload, "a rollback"):
        return no
    template = workload.manifest["spec"]["template"]
    current = next((r for r in revisions if r.current), None)
    present = {fingerprint(template)} | ({current.fingerprint} if current else set())
    if any(one in left for one in present):
        return Impossible(
            f"this service rolled {workload.target} back from the present template before, and somebody put it in place "
            f"again{_by(workload)}: that is not repeated",
            f"ask who deployed it; {DEPLOY_GOOD}",
        )
    if current is not None and not redeployed and is_return(current, revisions):
        return Impossible(
            f"revision {current.number} of {workload.target} was restored by a rollback already, and it still fires",
            DEPLOY_GOOD,
        )
    older = [r for r in revisions if current is None or r.number < current.number]
    different = [r for r in older if r.fingerprint not in present]
    kept = _kept(different, revisions, left, pods, redeployed=redeployed)
    goal = _best(kept, records, pods)
    if goal is None and records is not None:
        goal = next(iter(_beside(different, pods)), None)
    if goal is None:
        return _none_good(workload, kept, records) if kept else _nowhere(workload, older, different)
    goal = max((r for r in different if r.fingerprint == goal.fingerprint), key=pods.most)
    return _restore(workload, current, goal, pods)


def roll_back_to(
    workload: Workload, revisions: Sequence[Revision], number: int, pods: PodsByTemplate = NO_PODS
) -> Action | Impossible:
    """Restore this revision, because somebody chose it: nothing is said about whether it is good."""
    if no := refusal(workload, "a rollback"):
        return no
    current = next((r for r in revisions if r.current), None)
    goal = next((r for r in revisions if r.number == number or number in r.earlier), None)
    if goal is None:
        kept = ", ".join(str(r.number) for r in revisions) or "none"
        return Impossible(f"{workload.target} has no revision {number}; kept are {kept}", DEPLOY_GOOD)
    present = {fingerprint(workload.manifest["spec"]["template"])}
    if goal.current or goal.fingerprint in present:
        return Impossible(
            f"the template of revision {number} of {workload.target} is in place already", stands=True
        )
    return _restore(workload, current, goal, pods)


def _restore(
    workload: Workload, current: Revision | None, goal: Revision, pods: PodsByTemplate
) -> Action | Impossible:
    if no := _held_back(workload, goal):
        return no
    template = workload.manifest["spec"]["template"]
    changes = [FieldChange(_TEMPLATE, template, _as_its_pods(goal, pods))]
    cause = value_at(workload.manifest, _CAUSE)
    if (cause or "") != goal.change_cause:
        changes.append(FieldChange(_CAUSE, cause, goal.change_cause or None))
    action = _action(workload, current, goal, tuple(changes))
    return replace(action, pods_affected=pods.replaced_by(goal, workload.desired))


def _as_its_pods(goal: Revision, pods: PodsByTemplate) -> Obj:
    """Its template, with its restart where pods were made by that: without it they would all be replaced."""
    if not goal.restarted_at or not pods.alive.get(goal.name):
        return goal.template
    meta = goal.template.get("metadata") or {}
    annotations = {**(meta.get("annotations") or {}), RESTARTED_AT: goal.restarted_at}
    return {**goal.template, "metadata": {**meta, "annotations": annotations}}


def _kept(
    different: Sequence[Revision],
    revisions: Sequence[Revision],
    left: Container[str],
    pods: PodsByTemplate,
    *,
    redeployed: bool,
) -> list[Revision]:
    """Those that nobody went back from. What was released again since has to serve."""
    returned, again = left_by_return(revisions, before=redeployed), released_again(revisions)
    free = [r for r in different if r.fingerprint not in left and r.fingerprint not in returned]
    return [r for r in free if r.fingerprint not in again or pods.ready_of(r)]


def _beside(kept: Sequence[Revision], pods: PodsByTemplate) -> list[Revision]:
    """Those with ready pods, most of them first."""
    return sorted(filter(pods.ready_of, kept), key=lambda r: (-pods.ready_of(r), -r.number))


def _best(kept: Sequence[Revision], records: Records | None, pods: PodsByTemplate) -> Revision | None:
    beside = _beside(kept, pods)
    ended = [r for r in kept if r.fingerprint not in pods.unfinished]
    if records is None:
        return next(iter((*beside, *ended)), None)
    if goal := next((r for r in beside if records.standing(r).word is not Word.BAD), None):
        return goal
    known = {r.fingerprint: records.standing(r) for r in ended}
    words = {one: standing.word for one, standing in known.items()}
    # It ran too short a time to be known good, and repaired what was before: a person is asked about it, and not about one from before both.
    newest = next((r for r in ended if words[r.fingerprint] is not Word.BAD), None)
    if newest is not None and newest.fingerprint in pods.repairs:
        return newest
    # What had proved itself before an alert fired on it is no worse known than what it replaced: a person is asked about it.
    proved = (r for r in ended if words[r.fingerprint] is Word.GOOD or known[r.fingerprint].proved)
    return next(proved, newest)


def doubts(
    goal: Revision,
    revisions: Sequence[Revision],
    left: Container[str],
    pods: Sequence[Pod] = (),
    shows: Collection[str] = (),
) -> str:
    """What a person has to know of this goal itself: somebody went back from it once, or its image's name stands for another image by what the
    `pods` run, of which these containers show the fault. As clauses, empty where nothing is known."""
    over = pushed_over(revisions, goal, pods, shows)
    return "; ".join(filter(None, (_left_before(goal, revisions, left), over)))


def _left_before(goal: Revision, revisions: Sequence[Revision], left: Container[str]) -> str:
    if goal.fingerprint in released_again(revisions):
        return f"revision {goal.number} was rolled back from before, and released again"
    if goal.fingerprint in left or goal.fingerprint in left_by_return(revisions):
        return f"revision {goal.number} was rolled back from before"
    return ""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What a rollback to a goal passes over, as clauses: what a person has to know before it (`asks`), and what is only told (`told`)."""

    asks: tuple[str, ...]
    told: tuple[str, ...]


def passed_over(
    goal: Revision,
    revisions: Sequence[Revision],
    left: Container[str],
    records: Records,
    *,
    starts: bool = True,
) -> PassedOver:
    """A person has to know of ready pods of the present template from before its restart, where it is said not
    to start (`starts`: what is wrong with it otherwise, they have as well); of each other
    revision whose pods are ready now, and of each newer one that may have been good. A newer one of which nothing good is known, and one that nobody
    may go back to, is told."""
    given_up = left_by_return(revisions)
    present = next((r.fingerprint for r in revisions if r.current), "")
    asks: dict[str, str] = {}
    told: dict[str, str] = {}
    for r in sorted(revisions, key=lambda r: -r.number):
        if r.fingerprint in (present, goal.fingerprint, *asks, *told):
            continue
        known = records.standing(r)
        again = r.fingerprint in left or r.fingerprint in given_up
        why = "it was rolled back from before" if again else known.why
        if records.pods.ready_of(r):
            ready = records.pods.told(r)
            asks[r.fingerprint] = f"revision {r.number} is passed over, though {ready} now: {why}"
        elif r.number > goal.number:
            into = told if again or known.word is Word.BAD else asks
            newer = f"revision {r.number}, which is newer than {goal.number}, is passed over: {why}"
            into[r.fingerprint] = newer
    some = records.pods.restarted
    whose = f"{some} ready pods have" if some > 1 else "1 ready pod has"
    own = f"{whose} the present template from before its restart, and would be replaced"
    return PassedOver((*((own,) if some and starts else ()), *asks.values()), tuple(told.values()))


def _held_back(workload: Workload, goal: Revision) -> Impossible | None:
    """A StatefulSet's partition keeps its lower pods at the revision that they have: only that one makes all of them equal."""
    spec, status = workload.manifest["spec"], workload.manifest.get("status") or {}
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition", 0)
    if workload.target.kind is not Kind.STATEFUL_SET or not partition:
        return None
    if partition >= workload.desired:
        text = f"partition {partition} of {workload.target} holds all {workload.desired} pods back, so a rollback would not roll out"
        return Impossible(text, "lower the partition first")
    runs = status.get("currentRevision", "")
    if goal.name == runs:
        return None
    text = (
        f"the pods of {workload.target} below {partition} stay at {runs or 'another revision'} (partition), and revision "
        f"{goal.number} is {goal.name}: two versions would run"
    )
    return Impossible(text, "finish or give up the partitioned rollout by hand")


def _by(workload: Workload) -> str:
    writers = who_changed(workload.manifest, _TEMPLATE)
    if not writers:
        return ""
    who, at = writers[0]
    return f" ({who}{f' at {at:%Y-%m-%d %H:%M:%S} UTC' if at else ''})"


def _action(
    workload: Workload, current: Revision | None, goal: Revision, changes: tuple[FieldChange, ...]
) -> Action:
    images = [c.image for c in workload.containers if not c.init]
    source = f"revision {current.number}" if current else "the present template"
    left, right = few(images), few(goal.images)
    shown = f"{source} ({', '.join(left)}) to revision {goal.number} ({', '.join(right)})"
    return Action(
        kind=ActionKind.ROLL_BACK,
        object=workload.ref,
        target=workload.target,
        changes=changes,
        summary=f"Roll back {workload.target} from {shown}",
        pods_affected=workload.desired,
        reversible=True,
        undo=f"put {source} back",
        params={
            "from_revision": current.number if current else None,
            "to_revision": goal.number,
            "pods": workload.desired,
            "from_images": list[JsonValue](left),
            "to_images": list[JsonValue](right),
            "left": fingerprint(workload.manifest["spec"]["template"]),
            "to_created_at": goal.created_at.isoformat(),
        },
    )


def _none_good(workload: Workload, kept: Sequence[Revision], records: Records | None) -> Impossible:
    found = [records.standing(r).why if records else _NEVER.format(r.number) for r in kept[:3]]
    text = f"no older revision of {workload.target} is known to be good: {'; '.join(found)}"
    return Impossible(text, DEPLOY_GOOD)


def _nowhere(workload: Workload, older: Sequence[Revision], different: Sequence[Revision]) -> Impossible:
    kept = workload.manifest["spec"].get("revisionHistoryLimit", 10)
    if not older:
        return Impossible(
            f"no older revision of {workload.target} is kept (revisionHistoryLimit is {kept})", DEPLOY_GOOD
        )
    if not different:
        return Impossible(
            f"all {len(older)} older revisions of {workload.target} have the present template (restarts only)",
            DEPLOY_GOOD,
        )
    numbers = ", ".join(str(r.number) for r in different)
    return Impossible(
        f"{workload.target} was already rolled away from every different revision ({numbers})",
        DEPLOY_GOOD,
    )


def unstick(workload: Workload, pods: Sequence[Pod]) -> tuple[Action, ...]:
    """The pod deletions that a rolled back StatefulSet needs besides.

    With OrderedReady its controller waits forever for a pod of the bad revision that never gets ready, also after the
    template was restored; only deleting that pod lets it go on. Empty for everything else.
    """
    spec, status = workload.manifest["spec"], workload.manifest.get("status") or {}
    if workload.target.kind is not Kind.STATEFUL_SET:
        return ()
    if spec.get("podManagementPolicy", "OrderedReady") != "OrderedReady":
        return ()
    bad = status.get("updateRevision", "").removeprefix(f"{workload.target.name}-")
    stuck = [p for p in pods if not p.ready and p.template_hash.endswith(bad) and not p.terminating]
    actions = [delete_pod(p, workload) for p in stuck if bad]
    return tuple(a for a in actions if isinstance(a, Action))
