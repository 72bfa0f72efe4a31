"""Assumed: what a cluster that nobody asked would say, so that a policy can be judged without one.

Used by policy tests, replays of recorded alerts and explanations of a hypothetical alert. The gates and the decision are
the live ones; only their facts come from here. Pure. Never used by the running service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from app.domain.decision import Decision, Mode
from app.domain.errors import BadInput
from app.domain.new_pods import Finding, NewPods, Part, PodCheck
from app.domain.owner import Owner, Owners, Relation
from app.domain.plan import INSIDE, Action, ActionKind, Step
from app.domain.target import WORKLOAD_KINDS, Kind, ObjectRef, Target, owners_by_name
from app.domain.workload import Manager
from app.policy import decide as policy_decide
from app.policy import trust
from app.policy.block import Block
from app.policy.consistency import Handler
from app.policy.facts import Facts, Replicas, Spend
from app.policy.match import NoHint, match_rule, scopes_for, target_hint
from app.policy.model import (
    Policy,
    Rule,
)

FRESH = timedelta(seconds=20)
"""Assumed age of an alert's last word."""


_KINDS = {
    "scale-up": ActionKind.SCALE,
    "scale-out": ActionKind.SCALE,
    "restart": ActionKind.ROLLOUT_RESTART,
    "raise-memory": ActionKind.RAISE_MEMORY_LIMIT,
    "set-image": ActionKind.SET_IMAGE,
    "set-replicas": ActionKind.SCALE,
    "adjust-autoscaler": ActionKind.ADJUST_AUTOSCALER,
    "terminate-idle-in-transaction": ActionKind.TERMINATE_SESSIONS,
    "terminate-blocker": ActionKind.TERMINATE_SESSIONS,
    "remove-old-checkpoints": ActionKind.CLEAN_CHECKPOINTS,
    "vacuum": ActionKind.VACUUM,
    "renew": ActionKind.RENEW_CERTIFICATE,
    "delete-secret": ActionKind.DELETE_SECRET,
    "restart-client": ActionKind.ROLLOUT_RESTART,
    "restart-postgres": ActionKind.DELETE_POD,
}
"""What the steps do whose names are not an action's; a step that is not known here is taken for a rollout restart."""

_TOGETHER = {"rotate-key": (ActionKind.ROTATE_KEY, ActionKind.ROLLOUT_RESTART)}
"""Steps of several actions: the Secret's change touches no pod, the restart that comes with it all of them."""

_ONE_POD = frozenset({ActionKind.DELETE_POD, ActionKind.EVICT_POD})
_NO_POD = frozenset(
    {
        ActionKind.SCALE,
        ActionKind.RAISE_MIN_REPLICAS,
        ActionKind.ADJUST_AUTOSCALER,
        ActionKind.ADJUST_SCALED_OBJECT,
        ActionKind.ROTATE_KEY,
        *INSIDE,
    }
)


class PodNumbers(Block):
    """Pods of the workload. Absent: all ready, all of the newest template, and a Deployment's default of at most 25 %
    (rounded down) taken down at once."""

    desired: int = Field(default=3, ge=0)
    ready: int | None = Field(default=None, ge=0)
    updated: int | None = Field(default=None, ge=0)
    at_once: int | None = Field(default=None, ge=0)


class ClusterFacts(Block):
    """What the cluster is assumed to say. `target` (NS/KIND/NAME) is what the labels resolve to; empty takes the hint,
    a pod's name cut down to its owner's."""

    exists: bool = True
    target: str = ""
    replicas: int | PodNumbers = 3
    managers: tuple[Manager, ...] = ()
    marks: Mapping[Literal["namespace", "object"], str] = {}
    paused: bool = False
    owned_by: str = Field(default="", description="KIND/NAME of the controller that owns the target.")
    obstacles: tuple[str, ...] = Field(default=(), description="What keeps new pods from starting.")
    unproven: tuple[str, ...] = Field(default=(), description="What of it cannot be read.")

    def other_controllers(self, target: Target) -> Owners:
        """The owner that is assumed, as the gates hear it."""
        if not self.owned_by:
            return Owners()
        kind, _, name = self.owned_by.partition("/")
        return Owners((Owner(Relation.CONTROLS, target.kind, kind, "", target.namespace, name),))

    def new_pods(self) -> NewPods:
        """Whether new pods could start, as the gates hear it."""
        found = [
            PodCheck(Part.CONFIGURATION, Finding.MISSING, text, "it is there") for text in self.obstacles
        ]
        found += [
            PodCheck(Part.CONFIGURATION, Finding.UNKNOWN, text, "it can be read") for text in self.unproven
        ]
        n = self.measured()
        all_down = bool(n.ready and n.at_once is not None and n.at_once >= n.ready)
        return NewPods(tuple(found), all_down)

    def measured(self) -> Replicas:
        """The pods as the gates count them."""
        n = PodNumbers(desired=self.replicas) if isinstance(self.replicas, int) else self.replicas
        return Replicas(
            desired=n.desired,
            ready=n.desired if n.ready is None else n.ready,
            updated=n.desired if n.updated is None else n.updated,
            at_once=n.desired * 25 // 100 if n.at_once is None else n.at_once,
        )


class StepSpec(Block):
    """The step that is assumed to apply. Absent: the remediation's first one that the rule allows, doing what its name
    says to all pods. `applies: false` means that none does; `advice` is then what a person has to do."""

    name: str = ""
    kinds: tuple[ActionKind, ...] = ()
    pods: int | None = Field(default=None, ge=0)
    applies: bool = True
    advice: str = ""


ASSUMED_CLUSTER, ASSUMED_STEP = ClusterFacts(), StepSpec()


@dataclass(frozen=True, slots=True)
class Ground:
    """What is judged: policy, rule, target, the cluster that is assumed, and the labels of the alert, which fires itself."""

    policy: Policy
    rule: Rule
    target: Target
    cluster: ClusterFacts
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """A decision, the target it is about (empty for none), and the later rules that match too."""

    decision: Decision
    target: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """Under what an alert is judged: the policy, the remediations by name, the cluster and the step; `level` is that of the
    trust level where the rule has mode earned, None where the rule lets it begin; `ceiling` is the service's own, None for none."""

    policy: Policy
    catalogue: Mapping[str, Handler]
    cluster: ClusterFacts = ASSUMED_CLUSTER
    step: StepSpec = ASSUMED_STEP
    level: Mode | None = None
    ceiling: Mode | None = None


def judge(
    world: World,
    labels: Mapping[str, str],
    now: datetime,
    change: Callable[[Ground, Facts], Facts] | None = None,
) -> Judged:
    """The decision on one alert at `now`. `change` puts what else is known into the assumed facts."""
    policy = world.policy
    matched = match_rule(policy, labels)
    if matched is None:
        return Judged(policy_decide.no_rule(policy, labels.get("alertname", "")))
    rule = matched.rule
    target = find_target(rule, labels, world.cluster)
    if isinstance(target, NoHint):
        return Judged(policy_decide.no_target(policy, rule, target.why), "", matched.also)
    if not world.cluster.exists:
        missing = policy_decide.target_not_found(policy, rule, target, "the cluster does not have it")
        return Judged(missing, target.key, matched.also)
    ground = Ground(policy, rule, target, world.cluster, labels)
    facts = replace(assumed_facts(ground, now), ceiling=world.ceiling)
    if world.level is not None and facts.trust_level is not None:
        facts = replace(facts, trust_level=trust.TrustLevel(world.level, now))
    if change is not None:
        facts = change(ground, facts)
    step = step_of(world.step, ground, world.catalogue)
    if step.applies:
        decision = policy_decide.decide(policy, rule, step, facts)
    else:
        decision = policy_decide.decide_without_step(policy, rule, [step], facts)
    return Judged(decision, target.key, matched.also)


def find_target(rule: Rule, labels: Mapping[str, str], cluster: ClusterFacts) -> Target | NoHint:
    """The target by the labels, a pod reduced to its owner by its name, as the cluster would tell. Raises BadInput when
    `cluster.target` is not a target."""
    hint = target_hint(rule, labels)
    if isinstance(hint, NoHint):
        return hint
    if cluster.target:
        return Target.parse(cluster.target)
    if hint.kind is Kind.POD:
        kind, owner = next(iter(owners_by_name(hint.name)), (rule.target.kind, hint.name))
        return Target(hint.namespace, Kind(kind), owner)
    kind = hint.kind if hint.kind in WORKLOAD_KINDS else rule.target.kind
    return Target(hint.namespace, kind, hint.name)


def assumed_facts(ground: Ground, now: datetime) -> Facts:
    """A quiet world: the alert was just heard, nothing was done before, nobody paused anything."""
    cluster = ground.cluster
    return Facts(
        now=now,
        target=ground.target,
        firing=True,
        last_seen=now - FRESH,
        marks={str(where): mark for where, mark in cluster.marks.items()},
        managers=cluster.managers,
        rollout_paused=cluster.paused,
        replicas=cluster.measured(),
        spend={scope: Spend(0) for scope in scopes_for(ground.policy, ground.rule, ground.target)},
        last_action=None,
        busy_with="",
        targets_in_flight=0,
        results=(),
        storm_targets=1,
        blocking=own_blocking(ground.rule, ground.labels),
        new_pods=cluster.new_pods(),
        owners=cluster.other_controllers(ground.target),
        trust_level=trust.fresh(ground.rule.trust, now) if ground.rule.mode is Mode.EARNED else None,
    )


def own_blocking(rule: Rule, labels: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What fires of the rule's `blocked_by` in a quiet world: the alert itself, where it is one of these."""
    own = (labels.get("alertname", "unnamed"),)
    return {str(when): own if labels and when.matches(labels) else () for when in rule.blocked_by}


def step_of(spec: StepSpec, ground: Ground, catalogue: Mapping[str, Handler]) -> Step:
    """The step that is assumed. Raises BadInput for a name that the remediation does not have."""
    handler = catalogue[ground.rule.remediation]
    name = spec.name or next(iter(ground.rule.steps or handler.steps), "")
    if spec.name and spec.name not in handler.steps:
        message = f'{ground.rule.remediation} has no step "{spec.name}"; there are {", ".join(handler.steps)}'
        raise BadInput(message, code="unknown_step", where="step.name")
    if not spec.applies:
        return Step(name, "assumed not to apply", advice=spec.advice)
    kinds = spec.kinds or _TOGETHER.get(name) or (_kind_of(name),)
    return Step(name, "assumed to apply", tuple(_action(kind, spec, ground) for kind in kinds))


def _kind_of(step: str) -> ActionKind:
    try:
        return ActionKind(step)
    except ValueError:
        return _KINDS.get(step, ActionKind.ROLLOUT_RESTART)


def _action(kind: ActionKind, spec: StepSpec, ground: Ground) -> Action:
    target = ground.target
    if spec.pods is not None:
        pods = spec.pods
    elif kind in _NO_POD:
        pods = 0
    else:
        pods = 1 if kind in _ONE_POD else ground.cluster.measured().desired
    touched = Kind.POD if kind in _ONE_POD else target.kind
    ref = ObjectRef(touched, target.namespace, target.name, "assumed", "assumed")
    return Action(kind, ref, target, (), f"{kind} {target.name}", pods, reversible=False, undo="assumed")
