"""An alert that nobody raised: what the policy would say about it, and what had to be assumed for that.

Called by `policy explain`, and by the page of the policy with what the service knows. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from app.domain.decision import Mode
from app.domain.json import JsonValue
from app.domain.target import Target
from app.domain.units import counted, utc
from app.policy.consistency import Handler
from app.policy.explain import explain_json, explain_lines
from app.policy.facts import Facts
from app.policy.match import Hint, NoHint, match_rule, target_hint
from app.policy.model import Policy, Rule
from app.policytools.assumed import ClusterFacts, Judged, World, judge


def explain_alert(
    world: World, labels: Mapping[str, str], now: datetime
) -> tuple[list[str], dict[str, JsonValue]]:
    """The decision with all gates, the target and where it comes from, and what was assumed: as lines and as JSON."""
    judged = judge(world, labels, now)
    hint = _hint(world, labels)
    assumed = assumptions(judged, world, now)
    about: dict[str, JsonValue] = {"target": judged.target, "hint": hint, "also": list(judged.also)}
    lines = [
        *explain_lines(judged.decision),
        "",
        f"Target: {judged.target or 'none'}" + (f" ({hint})" if hint else ""),
    ]
    if judged.also:
        lines.append(f"Later rules that match too: {', '.join(judged.also)}")
    lines += ["", "Assumed:", *(f"- {line}" for line in assumed)]
    return lines, {**explain_json(judged.decision), **about, "assumed": list(assumed)}


def explain_known(
    policy: Policy,
    catalogue: Mapping[str, Handler],
    labels: Mapping[str, str],
    now: datetime,
    known: Callable[[Rule, Target], Facts],
) -> Judged:
    """The decision by facts that somebody knows of the rule and the target; only the step is assumed."""
    return judge(World(policy, catalogue), labels, now, lambda ground, _: known(ground.rule, ground.target))


def _hint(world: World, labels: Mapping[str, str]) -> str:
    matched = match_rule(world.policy, labels)
    found: Hint | NoHint = target_hint(matched.rule, labels) if matched else NoHint("")
    return found.why if isinstance(found, NoHint) else found.said_by


def _pods_start(cluster: ClusterFacts) -> str:
    """What is assumed of new pods."""
    if cluster.obstacles:
        return f"a new pod could not start: {', '.join(cluster.obstacles)}"
    if cluster.unproven:
        return f"whether a new pod could start is not proven: {', '.join(cluster.unproven)}"
    return "a new pod could start"


def assumptions(judged: Judged, world: World, now: datetime) -> list[str]:
    """What nobody asked, for people."""
    cluster, pods = world.cluster, world.cluster.measured()
    rule = world.policy.rule(judged.decision.rule)
    lines = [
        f"it is {utc(now)}; the alert fires and was heard 20s ago",
        "nothing was done before, no other run is live, nobody paused anything, no other alert fires",
        *([f"the service is set to {world.ceiling.value} (REMEDIATOR_MODE)"] if world.ceiling else []),
    ]
    if judged.decision.gates:
        others = (
            f"managed by {', '.join(cluster.managers)}"
            if cluster.managers
            else "nobody else writes the object"
        )
        lines.append(
            f"the target exists: {pods.ready} of {counted(pods.desired, 'pod')} ready, {pods.at_once} taken down at"
            f" once; {others}; {_pods_start(cluster)}"
        )
    if judged.decision.gates and rule is not None and rule.mode is Mode.EARNED:
        level = world.level or rule.trust.start.value
        lines.append(f"its trust level is level {level}, and no run was counted there yet")
    if judged.decision.step:
        lines.append(f"the diagnosis takes the step {judged.decision.step}")
    return lines
