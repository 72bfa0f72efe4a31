"""What a step makes: the template that its new pods come from, how many there will be, and how many come before old ones go.

Used by the checks of `app.kube.newpods`. Pure; reads manifests only.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.change import tokens
from app.domain.json import Obj
from app.domain.plan import Action, ActionKind, FieldChange
from app.domain.target import Kind
from app.domain.workload import Workload
from app.kube.actions.surge import surge_pods, taken_down_at_once
from app.kube.look import POD_KINDS

_ROLLS = frozenset(
    {
        ActionKind.ROLLOUT_RESTART,
        ActionKind.ROLL_BACK,
        ActionKind.RAISE_MEMORY_LIMIT,
        ActionKind.ROTATE_KEY,  # by the restart that comes with it
    }
)


@dataclass(frozen=True, slots=True)
class Goal:
    """What is made. `template` is the pod template after the step, `replicas` how many pods there will be; `rolls`: all
    present pods are replaced; `surge`: pods beyond the wanted number while it rolls; `at_once`: pods that may be down at
    the same time; `removed`: names of pods that are deleted. `another`: the template is that of another
    revision."""

    workload: Workload
    template: Obj
    replicas: int
    rolls: bool = False
    surge: int = 0
    at_once: int = 0
    removed: tuple[str, ...] = ()
    another: bool = False

    @property
    def namespace(self) -> str:
        """Where the pods are made."""
        return self.workload.target.namespace

    @property
    def spec(self) -> Obj:
        """The pod spec, as the template has it."""
        spec: Obj = self.template.get("spec") or {}
        return spec


def goal_of(workload: Workload, actions: Sequence[Action]) -> Goal:
    """What these actions make of the workload. An action on a pod or an autoscaler changes no template."""
    own = [c for a in actions if a.object.kind is workload.target.kind for c in a.changes]
    after = with_changes(workload.manifest, own)
    rolls = any(a.kind in _ROLLS for a in actions)
    return Goal(
        workload=workload,
        template=after["spec"]["template"],
        replicas=max(_replicas(workload, after), *(_raised(a) for a in actions), 0),
        rolls=rolls,
        surge=surge_pods(workload) if rolls else 0,
        at_once=taken_down_at_once(workload) if rolls else 0,
        removed=tuple(a.object.name for a in actions if a.kind in POD_KINDS),
        another=any(a.kind is ActionKind.ROLL_BACK for a in actions),
    )


def _replicas(workload: Workload, after: Obj) -> int:
    if workload.target.kind is Kind.DAEMON_SET:
        return workload.desired
    return int(after["spec"].get("replicas", 1))


def _raised(action: Action) -> int:
    """The new minimum of an autoscaler, 0 for other actions."""
    if action.kind is not ActionKind.RAISE_MIN_REPLICAS:
        return 0
    return max((int(c.after or 0) for c in action.changes), default=0)


def with_changes(manifest: Obj, changes: Sequence[FieldChange]) -> Obj:
    """A copy of the manifest with these fields as they will be. A list element that is not there is left out."""
    result: Obj = copy.deepcopy(manifest)
    for change in changes:
        _put(result, tokens(change.path), change.after)
    return result


def _put(node: Any, steps: Sequence[str], value: Any) -> None:
    head, *rest = steps
    if isinstance(node, list):
        named = head.removeprefix("[name=").removesuffix("]")
        found = next((i for i in node if isinstance(i, dict) and i.get("name") == named), None)
        if head.isdecimal() and int(head) < len(node):
            found = node[int(head)]
        if found is not None and rest:
            _put(found, rest, value)
        return
    if not rest:
        if value is None:
            node.pop(head, None)
        else:
            node[head] = copy.deepcopy(value)
        return
    if node.get(head) is None:
        if value is None:
            return
        node[head] = {}
    _put(node[head], rest, value)


def pod_of(goal: Goal) -> Obj:
    """A pod as the controller would make it: the template under a generated name. Of a StatefulSet it also has the volumes
    that come from its claim templates; it has no owner, so that nobody adopts it."""
    name, meta = goal.workload.target.name, goal.template.get("metadata") or {}
    spec: Obj = copy.deepcopy(goal.spec)
    claims = goal.workload.manifest["spec"].get("volumeClaimTemplates") or ()
    if claims:
        made = [
            {
                "name": c["metadata"]["name"],
                "persistentVolumeClaim": {"claimName": f"{c['metadata']['name']}-{name}-0"},
            }
            for c in claims
        ]
        taken = {c["name"] for c in made}
        spec["volumes"] = [*(v for v in spec.get("volumes") or () if v["name"] not in taken), *made]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{name}-",
            "namespace": goal.namespace,
            "labels": dict(meta.get("labels") or {}),
            "annotations": dict(meta.get("annotations") or {}),
        },
        "spec": spec,
    }
