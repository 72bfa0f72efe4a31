"""Every gate on both sides of each of its boundaries: what is measured, and which word it must give.

One row is one case; the golden files beside show the same rows as people read them. `test_gate_explanations` misses those of a new reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.decision import Code, Mode, Verdict
from app.domain.new_pods import Finding, NewPods, Part, PodCheck
from app.domain.outcome import RunState
from app.domain.owner import Owner, Owners, Relation
from app.domain.plan import ActionKind, FieldChange, Step
from app.domain.target import Kind, ObjectRef, Target
from app.domain.workload import Manager
from app.policy.facts import Past, Pause, Replicas, Spend, Unknown
from app.policy.match import scopes_for
from app.policy.trust import TrustLevel
from tests.unit.policy.cases import NOW, TARGET, action_of, policy_of, step_of

ALLOW, ASK, DENY, OBSERVE = Verdict.ALLOW, Verdict.ASK, Verdict.DENY, Verdict.OBSERVE
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
AWAY = Unknown("the store did not answer")
NEVER_TOLD = Unknown("the API server did not answer")
FRIDAY = datetime(2026, 3, 6, 15, 0, tzinfo=UTC)  # 16:00 in Berlin
FREEZE = (
    'freeze: [{name: release evening, days: [fri], from: "16:00", to: "20:00", timezone: Europe/Berlin}]\n'
)
WINDOW = 'windows: [{name: office hours, days: [fri], from: "08:00", to: "16:00", timezone: Europe/Berlin}]\n'
BLOCKED = "blocked_by: ['alertname=\"KubeAPIDown\"']\n"
BUDGET = "budgets: [{per: target, limit: 3 per 1h}]\n"
LIMIT = "limits: {per_target: 2 per 1h}\n"
ACKNOWLEDGED = "acknowledged in PagerDuty by Ann Ops at 2026-03-04T03:01:00Z"
LEAVING = "namespace rag7 is being deleted since 2026-03-04 03:00:00 UTC"
BESIDE = "inc_2 on this target is acknowledged by kim in Slack"
CHANGED = "kubectl-edit changed template at 03:02:10 UTC, after the alert fired"
UNSURE = replace(step_of(), asks="revision 7 is not known to be good: revision 7 ran only 4 min")
BLOCKING = 'alertname="KubeAPIDown"'
_PG = Owner(
    Relation.CONTROLS, Kind.DEPLOYMENT, "Cluster", "postgresql.cnpg.io", "rag7", "pg", "CloudNativePG"
)
_KEDA = Owner(Relation.CONTROLS, Kind.HPA, "ScaledObject", "keda.sh", "rag7", "web", "KEDA")
_ROLLOUT = Owner(Relation.TEMPLATE, Kind.DEPLOYMENT, "Rollout", "argoproj.io", "rag7", "web", "Argo Rollouts")
_SCRIPT = Owner(Relation.RESIZES, Kind.DEPLOYMENT, "", "", "rag7", "", "cron-scaler", "time not told")
_VPA = Owner(
    Relation.SIZES,
    Kind.DEPLOYMENT,
    "VerticalPodAutoscaler",
    "autoscaling.k8s.io",
    "rag7",
    "web",
    note="recommends app 768 MiB",
)
_RAISE_MINIMUM = replace(
    action_of(ActionKind.RAISE_MIN_REPLICAS, 0, ObjectRef(Kind.HPA, "rag7", "keda-hpa-web", "uid-2", "1")),
    changes=(FieldChange("/spec/minReplicas", 2, 8),),
)
_THERE = PodCheck(Part.CONFIGURATION, Finding.OK)
_NO_NODES = PodCheck(
    Part.NODES, Finding.UNTOLD, "nodes may not be listed", "the right to list nodes is granted"
)
_GONE = PodCheck(
    Part.CONFIGURATION,
    Finding.MISSING,
    "container app needs ConfigMap app-v1, which does not exist",
    "ConfigMap app-v1 exists",
)
_FULL = PodCheck(
    Part.QUOTA,
    Finding.MISSING,
    "ResourceQuota team refuses new pods: they need 512 MiB more limits.memory, and it has 0 B of 2 GiB limits.memory left",
    "ResourceQuota team leaves room for them",
)
_UNREAD = PodCheck(
    Part.CONFIGURATION,
    Finding.UNKNOWN,
    "Secret app-keys may not be read",
    "the right to get secrets is granted",
)


@dataclass(frozen=True)
class Row:
    """One case. `head` and `rule` are lines of the policy; `facts` what differs from a quiet night."""

    says: str
    verdict: Verdict
    code: Code
    head: str = ""
    rule: str = ""
    step: Step = field(default_factory=step_of)
    facts: Mapping[str, Any] = field(default_factory=dict)


def row(says: str, verdict: Verdict, code: Code = Code.ALLOWED, /, **given: Any) -> Row:
    """A case; what is neither policy nor step is a fact."""
    of_row = {k: given.pop(k) for k in ("head", "rule", "step") if k in given}
    return Row(says, verdict, code, facts=given, **of_row)


def _paused(scope: str, until: datetime | None = None) -> dict[str, Any]:
    return {"pauses": (Pause(scope, "cluster upgrade", "kim", until),)}


def _spent(head: str, rule: str, count: int) -> dict[str, Any]:
    policy = policy_of(head, rule)
    oldest = NOW - timedelta(minutes=50) if count else None
    spend = {scope: Spend(count, oldest) for scope in scopes_for(policy, policy.rules[0], TARGET)}
    return {"head": head, "rule": rule, "spend": spend}


def _risk(*, at_once: int, ready: int = 10, desired: int = 10) -> dict[str, Any]:
    step = step_of(action_of(pods=desired))
    return {"replicas": Replicas(desired, ready, ready, at_once=at_once), "step": step}


def _past(state: RunState, *hours: float) -> dict[str, Any]:
    return {"results": tuple(Past(state, NOW - timedelta(hours=h)) for h in hours)}


def _at(level: Mode, successes: int, trials: int) -> dict[str, Any]:
    trust_level = TrustLevel(level, NOW - timedelta(days=3), successes, trials)
    return {"rule": "mode: earned\n", "trust_level": trust_level}


BOUNDARIES: Mapping[str, tuple[Row, ...]] = {
    "kill switch": (
        row("nobody paused anything", ALLOW),
        row("everything is paused", DENY, Code.KILL_SWITCH, **_paused("all")),
        row(
            "its namespace is paused for one more second",
            DENY,
            Code.PAUSED,
            **_paused("namespace:rag7", NOW + SECOND),
        ),
        row("the pause has just ended", ALLOW, **_paused("namespace:rag7", NOW)),
        row("another namespace is paused", ALLOW, **_paused("namespace:rag8")),
        row("the service only looks", OBSERVE, Code.CEILING, ceiling=Mode.OBSERVE),
        row("the policy only looks", OBSERVE, Code.CEILING, head="mode: observe\n"),
        row("nobody knows what is paused", DENY, Code.UNKNOWN_FACT, pauses=AWAY),
    ),
    "scope": (
        row("a namespace of the policy", ALLOW),
        row(
            "a namespace that no pattern covers",
            DENY,
            Code.OUT_OF_SCOPE,
            target=Target("rag70", Kind.DEPLOYMENT, "langgraph"),
        ),
        row(
            "an excluded namespace",
            DENY,
            Code.OUT_OF_SCOPE,
            target=Target("team-payments", Kind.DEPLOYMENT, "api"),
        ),
        row(
            "the cluster's own namespace",
            DENY,
            Code.PROTECTED,
            target=Target("kube-system", Kind.DEPLOYMENT, "coredns"),
        ),
        row("its owners opted out", DENY, Code.OPTED_OUT, marks={"object": "false"}),
        row("its owners said yes", ALLOW, marks={"object": "true"}),
        row("nobody read the marks", DENY, Code.UNKNOWN_FACT, marks=NEVER_TOLD),
    ),
    "freshness": (
        row("the last word is exactly 15 minutes old", ALLOW, last_seen=NOW - 15 * MINUTE),
        row("a second older", DENY, Code.STALE, last_seen=NOW - 15 * MINUTE - SECOND),
        row("silenced", DENY, Code.SILENCED, silenced="silenced by alice until 2026-03-04 05:00 UTC: known"),
        row("the alert has resolved", DENY, Code.NOT_FIRING, firing=False),
        row(
            "nobody knows whether it fires",
            DENY,
            Code.UNKNOWN_FACT,
            firing=Unknown("Alertmanager did not answer"),
        ),
    ),
    "hands": (
        row("nobody is at it", ALLOW),
        row("somebody acknowledged it", DENY, Code.ACKNOWLEDGED, acknowledged=ACKNOWLEDGED),
        row(
            "acknowledged, and erin approved this plan", ALLOW, acknowledged=ACKNOWLEDGED, approved_by="erin"
        ),
        row("acknowledged, and erin ordered it", ALLOW, acknowledged=ACKNOWLEDGED, ordered_by="erin"),
        row("its namespace is being deleted", DENY, Code.BEING_DELETED, leaving=LEAVING),
        row(
            "being deleted, and erin ordered it", DENY, Code.BEING_DELETED, leaving=LEAVING, ordered_by="erin"
        ),
        row("somebody changed it since", ASK, Code.CHANGED_SINCE, changed_by=CHANGED),
        row(
            "changed since, in mode observe",
            OBSERVE,
            Code.CHANGED_SINCE,
            changed_by=CHANGED,
            rule="mode: observe\n",
        ),
        row("changed since, and erin approved this plan", ALLOW, changed_by=CHANGED, approved_by="erin"),
        row("changed by its holder", DENY, Code.ACKNOWLEDGED, changed_by=CHANGED, acknowledged=ACKNOWLEDGED),
        row("somebody has another incident of it", ASK, Code.TAKEN_BESIDE, acknowledged_beside=BESIDE),
        row("nobody can tell", DENY, Code.UNKNOWN_FACT, changed_by=NEVER_TOLD),
    ),
    "ownership": (
        row("nobody else writes it", ALLOW),
        row("Argo CD writes it", ASK, Code.OWNED, managers=(Manager.ARGO_CD,)),
        row("Argo CD writes it and a person agreed", ALLOW, managers=(Manager.ARGO_CD,), approved_by="erin"),
        row(
            "Argo CD writes it and the rule keeps out",
            DENY,
            Code.OWNED,
            managers=(Manager.ARGO_CD,),
            rule="ownership: {gitops: deny}\n",
        ),
        row("an operator made it from its own object", ASK, Code.OWNED, owners=Owners((_PG,))),
        row("an operator made it and a person agreed", ALLOW, owners=Owners((_PG,)), approved_by="erin"),
        row(
            "KEDA made the autoscaler whose minimum would be raised",
            DENY,
            Code.OWNED,
            owners=Owners((_KEDA,)),
            step=step_of(_RAISE_MINIMUM),
            approved_by="erin",
        ),
        row("KEDA made the autoscaler, and it is not touched", ALLOW, owners=Owners((_KEDA,))),
        row(
            "it is only the template of a Rollout",
            DENY,
            Code.OWNED,
            owners=Owners((_ROLLOUT,)),
            approved_by="erin",
        ),
        row(
            "a VPA sets the sizes that would be raised",
            ASK,
            Code.OWNED,
            owners=Owners((_VPA,)),
            step=step_of(action_of(ActionKind.RAISE_MEMORY_LIMIT)),
        ),
        row("a VPA sets sizes that stay as they are", ALLOW, owners=Owners((_VPA,))),
        row(
            "a script set the replicas that would be changed",
            ASK,
            Code.OWNED,
            owners=Owners((_SCRIPT,)),
            step=step_of(action_of(ActionKind.SCALE)),
        ),
        row(
            "a script set replicas that stay as they are",
            ALLOW,
            owners=Owners((_SCRIPT,)),
            step=step_of(action_of(ActionKind.ROLLOUT_RESTART)),
        ),
        row("nobody may look for Rollouts", ALLOW, owners=Owners(untold=("Rollout",))),
        row("nobody read who owns it", DENY, Code.UNKNOWN_FACT, owners=NEVER_TOLD),
        row("somebody paused the rollout", DENY, Code.ROLLOUT_PAUSED, rollout_paused=True),
        row("nobody read who writes it", DENY, Code.UNKNOWN_FACT, managers=NEVER_TOLD),
    ),
    "window": (
        row("a second before the freeze", ALLOW, head=FREEZE, now=FRIDAY - SECOND),
        row("the freeze begins", DENY, Code.FROZEN, head=FREEZE, now=FRIDAY),
        row("the freeze has ended", ALLOW, head=FREEZE, now=FRIDAY + 4 * HOUR),
        row("the last second of the window", ALLOW, head=WINDOW, now=FRIDAY - SECOND),
        row("the window has closed", DENY, Code.OUTSIDE_WINDOW, head=WINDOW, now=FRIDAY),
    ),
    "blocking alerts": (
        row("no blocking alert fires", ALLOW, head=BLOCKED, blocking={BLOCKING: ()}),
        row(
            "a blocking alert fires",
            DENY,
            Code.BLOCKING_ALERT,
            head=BLOCKED,
            blocking={BLOCKING: ("KubeAPIDown",)},
        ),
        row(
            "nobody could ask",
            DENY,
            Code.UNKNOWN_FACT,
            head=BLOCKED,
            blocking=Unknown("Alertmanager did not answer"),
        ),
    ),
    "cooldown": (
        row("never acted upon", ALLOW),
        row("a second short of 15 minutes", DENY, Code.COOLING_DOWN, last_action=NOW - 15 * MINUTE + SECOND),
        row("exactly 15 minutes", ALLOW, last_action=NOW - 15 * MINUTE),
        row("nobody knows when", DENY, Code.UNKNOWN_FACT, last_action=AWAY),
    ),
    "rate limit": (
        row("one of two", ALLOW, **_spent("", LIMIT, 1)),
        row("two of two", DENY, Code.RATE_LIMITED, **_spent("", LIMIT, 2)),
        row("nobody counted", DENY, Code.UNKNOWN_FACT, rule=LIMIT, spend=AWAY),
    ),
    "budget": (
        row("two of three", ALLOW, **_spent(BUDGET, "", 2)),
        row("three of three", DENY, Code.BUDGET_SPENT, **_spent(BUDGET, "", 3)),
        row("nobody counted", DENY, Code.UNKNOWN_FACT, head=BUDGET, spend=AWAY),
    ),
    "new pods": (
        row("all that could be looked at is there", ALLOW),
        row("an optional right is missing", ALLOW, new_pods=NewPods((_THERE, _NO_NODES))),
        row("a ConfigMap is gone", DENY, Code.POD_CANNOT_START, new_pods=NewPods((_GONE, _FULL))),
        row("Secrets may not be read", ASK, Code.POD_UNPROVEN, new_pods=NewPods((_UNREAD,))),
        row("the same and a person agreed", ALLOW, new_pods=NewPods((_UNREAD,)), approved_by="erin"),
        row(
            "the same and the rule takes it for there",
            ALLOW,
            new_pods=NewPods((_UNREAD,)),
            rule="new_pods: {unknown: allow}\n",
        ),
        row(
            "the rule takes it for there and all running pods would go at once",
            ASK,
            Code.POD_UNPROVEN,
            new_pods=NewPods((_UNREAD,), all_down=True),
            rule="new_pods: {unknown: allow}\n",
        ),
        row(
            "the same and the rule keeps out",
            DENY,
            Code.POD_UNPROVEN,
            new_pods=NewPods((_UNREAD,)),
            rule="new_pods: {unknown: deny}\n",
        ),
        row("nobody looked", DENY, Code.UNKNOWN_FACT, new_pods=NEVER_TOLD),
    ),
    "blast radius": (
        row("3 of 10 pods at risk", ALLOW, **_risk(at_once=3)),
        row("4 of 10 pods at risk", DENY, Code.BLAST_RADIUS, **_risk(at_once=4)),
        row("one pod of two, by the minimum", ALLOW, **_risk(at_once=1, ready=2, desired=2)),
        row("the second other target in flight", ALLOW, targets_in_flight=2),
        row("the third other target in flight", DENY, Code.BLAST_RADIUS, targets_in_flight=3),
        row("nobody counted the pods", DENY, Code.UNKNOWN_FACT, replicas=NEVER_TOLD),
    ),
    "target busy": (
        row("nobody works on it", ALLOW),
        row("plans for it wait for an answer", ALLOW, waiting=("run_5_1", "run_6_1")),
        row("another run works on it", DENY, Code.TARGET_BUSY, busy_with="run_7_1"),
        row("nobody knows", DENY, Code.UNKNOWN_FACT, busy_with=AWAY),
    ),
    "flapping": (
        row("one run did not fix it", ALLOW, **_past(RunState.NOT_FIXED, 1)),
        row("two runs in a row did not fix it", ASK, Code.FLAPPING, **_past(RunState.NOT_FIXED, 1, 2)),
        row("fixed three times within 24 h", ALLOW, **_past(RunState.FIXED, 1, 2, 23)),
        row("fixed four times within 24 h", ASK, Code.FLAPPING, **_past(RunState.FIXED, 1, 2, 3, 23)),
        row("the fourth is longer ago", ALLOW, **_past(RunState.FIXED, 1, 2, 3, 24.01)),
        row("nobody knows how the last ones ended", DENY, Code.UNKNOWN_FACT, results=AWAY),
    ),
    "storm": (
        row("nine targets", ALLOW, storm_targets=9),
        row("ten targets", OBSERVE, Code.STORM, storm_targets=10),
        row("ten targets and a person ordered it", ALLOW, storm_targets=10, ordered_by="kim"),
        row("nobody counted", DENY, Code.UNKNOWN_FACT, storm_targets=AWAY),
    ),
    "trust": (
        row("the rule's mode is not earned", ALLOW),
        row("level observe with 2 of 2 fixed", OBSERVE, Code.NOT_EARNED, **_at(Mode.OBSERVE, 2, 2)),
        row("level approve with 5 of 6 fixed", ASK, Code.NOT_EARNED, **_at(Mode.APPROVE, 5, 6)),
        row("level auto", ALLOW, **_at(Mode.AUTO, 12, 12)),
        row("nobody knows the trust level", DENY, Code.UNKNOWN_FACT, rule="mode: earned\n", trust_level=AWAY),
        row("a dry run", ALLOW, Code.DRY_RUN, **_at(Mode.OBSERVE, 3, 3), dry_run=True),
    ),
    "approval": (
        row("mode auto", ALLOW),
        row("mode approve", ASK, Code.APPROVAL_NEEDED, rule="mode: approve\n"),
        row("mode approve and erin said yes", ALLOW, rule="mode: approve\n", approved_by="erin"),
        row("a revision that nobody knows to be good", ASK, Code.UNSURE, step=UNSURE),
        row("and erin said yes", ALLOW, step=UNSURE, approved_by="erin"),
        row("and the rule only looks", OBSERVE, Code.MODE_OBSERVE, step=UNSURE, rule="mode: observe\n"),
        row("and it is a dry run", ALLOW, Code.DRY_RUN, step=UNSURE, dry_run=True),
        row("mode observe", OBSERVE, Code.MODE_OBSERVE, rule="mode: observe\n"),
        row("a dry run in mode observe", ALLOW, Code.DRY_RUN, rule="mode: observe\n", dry_run=True),
        row(
            "ordered as long ago as an approval holds", ALLOW, ordered_by="erin", ordered_at=NOW - 30 * MINUTE
        ),
        row("ordered longer ago", ASK, Code.APPROVAL_NEEDED, ordered_by="erin", ordered_at=NOW - 31 * MINUTE),
        row(
            "ordered longer ago, and kim said yes",
            ALLOW,
            ordered_by="erin",
            ordered_at=NOW - 31 * MINUTE,
            approved_by="kim",
        ),
        row(
            "the clock ordered it",
            ALLOW,
            ordered_by="schedule of rule errors",
            scheduled=True,
            ordered_at=NOW - 31 * MINUTE,
        ),
    ),
}
"""By the gate's name, in the order of the gates."""
