"""Going back to an older revision of a workload's template, as `kubectl rollout undo` does, without its traps.

Built by handlers. Pure. Traps avoided: a restart makes a revision with the same images, and a restored revision
becomes the newest, so that a second "undo" would bring the bad one back.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from app.domain.json import JsonValue
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.units import few
from app.domain.workload import Pod, Revision, Workload
from app.kube.actions.delete_pod import delete_pod
from app.kube.impossible import Impossible
from app.kube.lineage import Records, Word, is_return, left_by_return
from app.kube.manifest import annotation_path, value_at
from app.kube.newpods.goal import refusal
from app.kube.owners import who_changed
from app.kube.parse import CHANGE_CAUSE, fingerprint

DEPLOY_GOOD = "deploy a known good version from its source"
"""What a person does where the release is to blame and there is no way back."""
_TEMPLATE = "/spec/template"
_CAUSE = annotation_path(CHANGE_CAUSE)


def roll_back(
    workload: Workload,
    revisions: Sequence[Revision],
    left: Container[str] = frozenset(),
    records: Records | None = None,
    *,
    redeployed: bool = False,
) -> Action | Impossible:
    """Restore the newest older revision whose template really differs and that nobody rolled back from: by the `records` the
    newest that is known to be good, else the newest of which nothing bad is known.

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
    returned = left_by_return(revisions, before=redeployed)
    kept = [r for r in different if r.fingerprint not in left and r.fingerprint not in returned]
    if not kept:
        return _nowhere(workload, older, different)
    goal = _best(kept, records)
    if goal is None:
        why = "; ".join(records.standing(r).why for r in kept[:3]) if records else ""
        return Impossible(f"no older revision of {workload.target} is known to be good: {why}", DEPLOY_GOOD)
    return _restore(workload, current, goal)


def roll_back_to(workload: Workload, revisions: Sequence[Revision], number: int) -> Action | Impossible:
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
    return _restore(workload, current, goal)


def _restore(workload: Workload, current: Revision | None, goal: Revision) -> Action | Impossible:
    if no := _held_back(workload, goal):
        return no
    template = workload.manifest["spec"]["template"]
    changes = [FieldChange(_TEMPLATE, template, goal.template)]
    cause = value_at(workload.manifest, _CAUSE)
    if (cause or "") != goal.change_cause:
        changes.append(FieldChange(_CAUSE, cause, goal.change_cause or None))
    return _action(workload, current, goal, tuple(changes))


def _best(kept: Sequence[Revision], records: Records | None) -> Revision | None:
    if records is None:
        return kept[0]
    for word in (Word.GOOD, Word.UNKNOWN):
        if goal := next((r for r in kept if records.standing(r).word is word), None):
            return goal
    return None


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
            "from_images": list[JsonValue](left),
            "to_images": list[JsonValue](right),
            "left": fingerprint(workload.manifest["spec"]["template"]),
            "to_created_at": goal.created_at.isoformat(),
        },
    )


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
