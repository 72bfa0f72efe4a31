"""Stories for tests: one incident of the runbook's system in all the states it can be in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.domain.change import DigestKey
from app.domain.decision import Code, Decision, GateResult, Mode, Verdict
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.outcome import ActionResult, IncidentState, Result, RunState, UndoResult
from app.domain.plan import Action, ActionKind, FieldChange, Step
from app.domain.target import Kind, ObjectRef, Target
from app.notify.escalation import Acknowledged, StepAsked
from app.notify.timeline import (
    ActionDone,
    AlertLine,
    ApprovalAnswer,
    ApprovalAsked,
    Escalation,
    Link,
    Timeline,
    TrustChange,
    UndoDone,
    Verification,
)

OPENED = datetime(2026, 3, 4, 3, 12, 5, tzinfo=UTC)
RUN = "run_0k3m_1"
TARGET = Target("rag7", Kind.DEPLOYMENT, "langgraph")

DIAGNOSIS = Diagnosis(
    '812 ERROR lines in 5 min, 780 of them "OperationalError: connection refused" first seen with v1.5.0; '
    "Postgres and Redis answer",
    (
        Finding(
            "errors.grouped",
            "812 ERROR lines in 5 min from 3 pods, 2 groups",
            details=("780 x OperationalError: connection refused", "32 x TimeoutError: <unset> & more"),
        ),
        Finding("rollout.recent", "revision 8 (v1.5.0) was deployed 14 min before the alert"),
        Finding("dependency.redis", "redis answered PING in 2 ms"),
        Finding("latency.p95", "p95 latency is unknown: no Prometheus is configured", Certainty.UNKNOWN),
    ),
)

GATES = (
    GateResult("kill switch", Verdict.ALLOW, Code.ALLOWED, "no pause", "no pause, ceiling above observe"),
    GateResult("scope", Verdict.ALLOW, Code.ALLOWED, "namespace rag7", "namespaces rag7"),
    GateResult("cooldown", Verdict.ALLOW, Code.ALLOWED, "no action before", "15m since the last action"),
    GateResult(
        "budget",
        Verdict.ALLOW,
        Code.ALLOWED,
        "1 of 3 per 1h (target:rag7/Deployment/langgraph)",
        "10 per 1h (cluster); 3 per 1h (target:rag7/Deployment/langgraph)",
    ),
    GateResult(
        "blast radius",
        Verdict.ALLOW,
        Code.ALLOWED,
        "0 of 3 ready pods at risk, 1 allowed, 0 broken; 1 target in flight",
        "30% of the ready pods, at least 1; 3 targets in flight",
    ),
)
ALLOWED = Decision(
    Verdict.ALLOW,
    Code.ALLOWED,
    'Allowed by rule "errors after a deployment": 5 of 5 gates',
    "errors after a deployment",
    "high-error-rate",
    "rollback",
    GATES,
    "9f31c2",
)
COOLING = GateResult(
    "cooldown",
    Verdict.DENY,
    Code.COOLING_DOWN,
    "last action 4m ago",
    "15m since the last action",
    "the cooldown ends (2026-03-04 03:23:05 UTC)",
    OPENED + timedelta(minutes=11),
)
DENIED = replace(
    ALLOWED,
    verdict=Verdict.DENY,
    code=Code.COOLING_DOWN,
    text="Not acting: cooldown: last action 4m ago (allowed: 15m since the last action)",
    gates=(*GATES[:2], COOLING, *GATES[3:]),
)
_WAITS = GateResult(
    "approval",
    Verdict.ASK,
    Code.APPROVAL_NEEDED,
    "nobody approved yet",
    "mode approve",
    "someone who may operate approves",
)
ASKS = replace(
    ALLOWED,
    verdict=Verdict.ASK,
    code=Code.APPROVAL_NEEDED,
    text="Asking: approval: nobody approved yet (allowed: mode approve)",
    gates=(*GATES, _WAITS),
)
_LOOKS = GateResult(
    "approval", Verdict.OBSERVE, Code.MODE_OBSERVE, "only looks", "mode observe", "the mode is raised"
)
OBSERVES = replace(
    ALLOWED,
    verdict=Verdict.OBSERVE,
    code=Code.MODE_OBSERVE,
    text="Only observing: approval: only looks (allowed: mode observe)",
    gates=(*GATES, _LOOKS),
)
NO_RULE = Decision(
    Verdict.OBSERVE, Code.NO_RULE, "Only observing: no rule matches alert Watchdog", "", "", "", (), "9f31c2"
)
NO_TARGET = replace(
    ALLOWED,
    verdict=Verdict.DENY,
    code=Code.NO_TARGET,
    text="Not acting: the alert names no workload",
    step="",
    gates=(),
)

ROLLED_BACK = ActionDone(
    f"{RUN}/0.0",
    "Rolled back revision 8 (v1.5.0, deployed 14 min before) to revision 7 (v1.4.2)",
    ActionResult.APPLIED,
    text="resourceVersion 4711 to 4712, read back",
    undo="put the template of revision 8 back",
    at=OPENED + timedelta(seconds=20),
)
KEY = "HighErrorRate/high-error-rate/rag7/Deployment"
WAITS = TrustChange(
    KEY,
    "asked",
    "approve",
    "approve",
    "level approve: 12 of 12 fixed since 3 Nov 2025, lower bound 0.75 of 0.70 needed",
    "run_0k3m_1 was fixed",
    "a person confirms level auto",
    mark="0123456789abcdef",
)
DEMOTED = TrustChange(
    KEY,
    "demoted",
    "auto",
    "approve",
    "level approve: no run counted since 4 Mar 2026",
    "run_0k3m_1 did not fix it",
    "10 more runs fixed in a row for level auto",
)
FIXED = Verification(
    Result.FIXED, "3 of 3 pods ready, alert gone for 2m", measurements=9, took=timedelta(seconds=165)
)
CONTAINED = Verification(
    Result.CONTAINED,
    "3 of 3 pods ready, alert gone for 2m. The cause is still there: find out why 3 replicas were not enough",
    measurements=9,
    took=timedelta(seconds=165),
)
TAKEN_OVER = Verification(
    Result.TAKEN_OVER,
    "our change was taken back by kubectl-edit at 03:14:10 UTC: /spec/replicas is 2, not 5",
    measurements=3,
    took=timedelta(seconds=25),
)
NOT_FIXED = Verification(Result.NOT_FIXED, "alert still firing after 10m", 20, timedelta(minutes=10))
ASKED = ApprovalAsked(
    RUN,
    "c0ffee" * 10 + "beef",
    OPENED + timedelta(minutes=30),
    ("Roll back revision 8 to revision 7",),
    why=DIAGNOSIS.summary,
    pods_affected=1,
    undo=("put the template of revision 8 back",),
)
STEP_ASKED = StepAsked(
    "on-call engineer",
    1,
    ("slack:U07ABCD1234", "slack-group:S07ABCD1234"),
    ("On call in PagerDuty (schedule PSCHED1): Ann Ops",),
    paged=True,
    until=datetime(2026, 3, 4, 3, 35, tzinfo=UTC),
    reason="the alert still fires after everything allowed was tried",
    at=datetime(2026, 3, 4, 3, 20, tzinfo=UTC),
)
TAKEN = Acknowledged(
    "slack:U07ABCD1234", "Slack", 1, datetime(2026, 3, 4, 3, 25, tzinfo=UTC), "looking at it"
)
ESCALATION = Escalation(
    "the alert still fires after everything allowed was tried",
    tried=("rollback: not fixed", "scale to 5: refused by the budget"),
    look_at=("remaining errors: 612 x OperationalError", "pool size in ConfigMap langgraph-config"),
)
UNDONE = UndoDone(f"{RUN}/0.0", ROLLED_BACK.summary, UndoResult.UNDONE, "revision 8 is back")
CONFLICT = UndoDone(
    f"{RUN}/0.0", ROLLED_BACK.summary, UndoResult.CONFLICT, "/spec/template was changed by kubectl-edit"
)

PLAN = Step(
    "rollback",
    "a deployment 14 min before",
    (
        Action(
            ActionKind.ROLL_BACK,
            ObjectRef(Kind.DEPLOYMENT, "rag7", "langgraph", "uid-1", "4711"),
            TARGET,
            (FieldChange("/spec/template", {"a": 1}, {"a": 2}),),
            "roll back revision 8 to revision 7",
            1,
            reversible=True,
            undo="put the template of revision 8 back",
        ),
    ),
).seal(DigestKey(b"a key of a test"))

OPEN = Timeline(
    incident_id="inc_0k3m",
    state=IncidentState.OPEN,
    alertname="HighErrorRate",
    severity="critical",
    namespace="rag7",
    opened_at=OPENED,
    target=TARGET.key,
    alerts=3,
    firing=3,
    alert_lines=(
        AlertLine(
            {
                "alertname": "HighErrorRate",
                "namespace": "rag7",
                "pod": "langgraph-6d5-a",
                "severity": "critical",
            },
            "12 % of requests fail",
            OPENED,
        ),
    ),
    links=(
        Link("Prometheus", "https://prometheus.example/graph?g0.expr=rate(x[5m])&g0.tab=1"),
        Link("Runbook", "https://runbooks.example/high-error-rate"),
    ),
)
DECIDED = replace(
    OPEN,
    decision=ALLOWED,
    diagnosis=DIAGNOSIS,
    mode=Mode.AUTO,
    run_id=RUN,
    plan=PLAN,
    run_state=RunState.REQUESTED,
)

TIMELINES: dict[str, Timeline] = {
    "open": OPEN,
    "acting": replace(DECIDED, state=IncidentState.ACTING, run_state=RunState.ACTING),
    "verifying": replace(DECIDED, state=IncidentState.VERIFYING, actions=(ROLLED_BACK,)),
    "fixed": replace(
        DECIDED,
        state=IncidentState.FIXED,
        run_state=RunState.FIXED,
        ended_at=OPENED + timedelta(minutes=3, seconds=12),
        firing=0,
        actions=(ROLLED_BACK,),
        verifications=(FIXED,),
    ),
    "contained": replace(
        DECIDED,
        state=IncidentState.CONTAINED,
        run_state=RunState.CONTAINED,
        ended_at=OPENED + timedelta(minutes=3, seconds=12),
        firing=0,
        actions=(ROLLED_BACK,),
        verifications=(CONTAINED,),
    ),
    "taken_over": replace(
        DECIDED,
        state=IncidentState.ESCALATED,
        run_state=RunState.TAKEN_OVER,
        actions=(ROLLED_BACK,),
        verifications=(TAKEN_OVER,),
    ),
    "refused": replace(
        OPEN, state=IncidentState.REFUSED, decision=DENIED, diagnosis=DIAGNOSIS, mode=Mode.AUTO
    ),
    "observed": replace(
        OPEN,
        state=IncidentState.OBSERVED,
        decision=OBSERVES,
        diagnosis=DIAGNOSIS,
        mode=Mode.OBSERVE,
        plan=PLAN,
    ),
    "no_rule": replace(OPEN, state=IncidentState.OBSERVED, decision=NO_RULE, links=()),
    "no_target": replace(OPEN, state=IncidentState.REFUSED, decision=NO_TARGET, target="", links=()),
    "waiting": replace(
        DECIDED, state=IncidentState.WAITING, decision=ASKS, mode=Mode.APPROVE, approval=ASKED, firing=2
    ),
    "approved": replace(
        DECIDED,
        state=IncidentState.ACTING,
        decision=ASKS,
        mode=Mode.APPROVE,
        approval=ASKED,
        answer=ApprovalAnswer(RUN, "approved", "kim"),
    ),
    "escalated": replace(
        DECIDED,
        state=IncidentState.ESCALATED,
        actions=(ROLLED_BACK,),
        verifications=(NOT_FIXED,),
        undos=(UNDONE,),
        escalation=ESCALATION,
    ),
    "stuck": replace(
        DECIDED,
        state=IncidentState.STUCK,
        actions=(ROLLED_BACK,),
        verifications=(NOT_FIXED,),
        undos=(CONFLICT,),
        escalation=Escalation(
            "the undo found a conflict", ("rollback: not fixed",), ("who ran kubectl edit",), stuck=True
        ),
    ),
    "undo_failed": replace(
        DECIDED,
        state=IncidentState.STUCK,
        actions=(ROLLED_BACK,),
        verifications=(NOT_FIXED,),
        undos=(replace(UNDONE, result=UndoResult.FAILED, text="403: patch deployments is not allowed"),),
        escalation=Escalation(
            "the undo failed", ("rollback: not fixed",), ("RBAC of the service",), stuck=True
        ),
    ),
    "resolved": replace(
        OPEN,
        state=IncidentState.RESOLVED,
        ended_at=OPENED + timedelta(minutes=12),
        firing=0,
        reason="before a decision",
    ),
    "merged": replace(
        OPEN, state=IncidentState.MERGED, merged_into="inc_0k2a", reason="same target rag7/langgraph"
    ),
    "dry_run": replace(
        DECIDED,
        state=IncidentState.FIXED,
        dry_run=True,
        ended_at=OPENED + timedelta(seconds=4),
        actions=(replace(ROLLED_BACK, dry_run=True),),
        requested_by="kim",
    ),
    "irreversible": replace(
        DECIDED,
        state=IncidentState.VERIFYING,
        actions=(
            ActionDone(
                f"{RUN}/0.0",
                "Deleted pod langgraph-6d5-a",
                ActionResult.APPLIED,
                undo="its controller makes a new one",
                reversible=False,
            ),
        ),
    ),
    "unclear": replace(
        DECIDED,
        state=IncidentState.ESCALATED,
        actions=(replace(ROLLED_BACK, result=ActionResult.UNCLEAR, text="connection reset"),),
        escalation=Escalation("nobody can tell whether the rollback happened"),
    ),
}
TIMELINES |= {
    "promotion": replace(TIMELINES["fixed"], trust_levels=(WAITS,)),
    "demoted": replace(TIMELINES["fixed"], trust_levels=(DEMOTED,)),
}
