"""What a message is made from: the timeline of one incident, and the single facts that thread entries tell.

Built by `app.flow` from the audit trail, read by `app.notify.message` and `app.notify.entries`. An outbox row carries
`payload(topic, fact)`: the topic and the fact as it was when it happened, so that a row delivered late still tells
what happened then, while the parent message always tells the present state. Never does I/O, never reads the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from pydantic import TypeAdapter

from app.domain.decision import Decision, Mode
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.json import JsonValue
from app.domain.outcome import ActionResult, IncidentState, Result, RunState, UndoResult
from app.domain.plan import Step
from app.notify.escalation import Acknowledged, EscalationFact, LetGo, NotPaged, StepAsked, Unanswered


class Topic(StrEnum):
    """What an outbox row tells; the closed list of values of `payload["event"]`."""

    FIRED = "fired"  # no fact: told from the timeline
    EVIDENCE = "evidence"  # Diagnosis
    DECIDED = "decided"  # Decision, refusals too
    APPROVAL_ASKED = "approval.asked"  # ApprovalAsked
    APPROVAL_ANSWERED = "approval.answered"  # ApprovalAnswer
    ACTION = "action"  # ActionDone
    VERIFIED = "verified"  # Verification
    UNDO = "undo"  # UndoDone
    UNDO_HELD = "undo.held"  # UndoHeld
    TEMPORARY = "temporary"  # TemporaryChange
    TRUST = "trust"  # StandingChange
    ESCALATED = "escalated"  # Escalation; its steps follow
    ASKED = "asked"  # StepAsked
    ACKNOWLEDGED = "acknowledged"  # Acknowledged
    UNANSWERED = "unanswered"  # Unanswered
    LET_GO = "let_go"  # LetGo
    NOT_PAGED = "not_paged"  # NotPaged
    MOVED = "moved"  # no fact: only the parent message is edited


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert as people read it: its labels, and its annotation `summary` or `description`."""

    labels: Mapping[str, str]
    text: str = ""
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A link shown, never fetched: generatorURL, runbook_url, the incident in PagerDuty."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """A plan that waits for a person. The answer is bound to `plan_hash` (64 hex digits) and good until `expires_at`.

    `pods` is how many the workload wants, 0 when unknown; `approvals` how many different people have to agree; `changed`
    what is not as it was when somebody approved the plan before this one. `known` is what an approval says yes to besides the
    actions. `patch` is for an object whose truth lives in Git: what to apply to its source instead.
    """

    run_id: str
    plan_hash: str
    expires_at: datetime
    actions: tuple[str, ...]
    why: str = ""
    pods_affected: int = 0
    undo: tuple[str, ...] = ()
    step_index: int = 0
    pods: int = 0
    approvals: int = 1
    changed: tuple[str, ...] = ()
    patch: str = ""
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApprovalAnswer:
    """What was said to the question. `answer` is approved, rejected, snoozed, expired or refused; `text` says more."""

    run_id: str
    answer: str
    by: str
    text: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ActionDone:
    """One action and what became of it. `summary` and `undo` are the plan's own sentences, `text` the cluster's answer, or ours
    when our own check stopped it before anything was sent (`sent` False). `reached`: the cluster was, so that it is its answer."""

    id: str
    summary: str
    result: ActionResult
    text: str = ""
    undo: str = ""
    reversible: bool = True
    dry_run: bool = False
    at: datetime | None = None
    sent: bool = True
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Verification:
    """One verification. `text` gives the numbers: rollout status, alert state, settle time. `gone`: what was changed is deleted, or being
    deleted, so that nothing can be taken back."""

    result: Result
    text: str
    measurements: int = 0
    took: timedelta | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class UndoDone:
    """One undo. For a conflict `text` names the fields somebody else changed. `by` is empty when we decided it."""

    action_id: str
    summary: str
    result: UndoResult
    text: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class UndoHeld:
    """An undo waits: for what, and the command with which it goes on despite that. Of one that a person ordered also the command that
    withdraws it, empty once a part of it is done, and until when its order is good."""

    held: str
    despite: str
    withdraw: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TemporaryChange:
    """A temporary change. `change` is granted, extended (`why` says what it is still needed for), kept, ended, keep_asked (somebody wants it
    kept after its end had begun) or not_kept (`why` says what came before); `patch` is what makes it permanent, as a person applies
    it."""

    run_id: str
    change: str
    until: datetime
    actions: tuple[str, ...]
    patch: str = ""
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class TrustChange:
    """What became of a trust level: opened, counted, asked, agreed, promoted, demoted or reset, as the policy's words are.

    `text` has the numbers, `why` what it follows from, `next` what would have to happen for the next level. `mark` is set
    while a promotion waits for a person: 16 hex digits that name this very question. `by` is empty when a run moved it.
    """

    key: str
    change: str
    before: str
    level: str
    text: str
    why: str
    next: str = ""
    mark: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Escalation:
    """Why a person is needed, what was carried out (`tried`), which steps were not taken and why, and what to look at first.
    `in_place` is how a run has left things, `done` and `not_done` are actions that it has and has not carried out, `commands` what
    a person can type, each with what it does. `stuck`: an undo failed, or it waits while an application stands still. `alone`: it is a call
    of its own; those for the storm that it is part of are asked otherwise."""

    reason: str
    tried: tuple[str, ...] = ()
    look_at: tuple[str, ...] = ()
    stuck: bool = False
    not_taken: tuple[str, ...] = ()
    in_place: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    not_done: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    alone: bool = True


Fact: TypeAlias = (
    Diagnosis
    | Decision
    | ApprovalAsked
    | ApprovalAnswer
    | ActionDone
    | Verification
    | UndoDone
    | UndoHeld
    | TemporaryChange
    | TrustChange
    | Escalation
    | StepAsked
    | Acknowledged
    | Unanswered
    | LetGo
    | NotPaged
)

_ADAPTERS: dict[Topic, TypeAdapter[Any]] = {
    Topic.APPROVAL_ASKED: TypeAdapter(ApprovalAsked),
    Topic.APPROVAL_ANSWERED: TypeAdapter(ApprovalAnswer),
    Topic.ACTION: TypeAdapter(ActionDone),
    Topic.VERIFIED: TypeAdapter(Verification),
    Topic.UNDO: TypeAdapter(UndoDone),
    Topic.UNDO_HELD: TypeAdapter(UndoHeld),
    Topic.TEMPORARY: TypeAdapter(TemporaryChange),
    Topic.TRUST: TypeAdapter(TrustChange),
    Topic.ESCALATED: TypeAdapter(Escalation),
    Topic.ASKED: TypeAdapter(StepAsked),
    Topic.ACKNOWLEDGED: TypeAdapter(Acknowledged),
    Topic.UNANSWERED: TypeAdapter(Unanswered),
    Topic.LET_GO: TypeAdapter(LetGo),
    Topic.NOT_PAGED: TypeAdapter(NotPaged),
}


def payload(topic: Topic, fact: Fact | None = None) -> dict[str, JsonValue]:
    """The payload of an outbox row: `{"event": topic, "data": fact as JSON}`; `data` is empty without a fact."""
    return {"event": topic.value, "data": fact_to_json(topic, fact)}


def fact_to_json(topic: Topic, fact: Fact | None) -> dict[str, JsonValue]:
    """A fact as JSON; `fact_from_json` reads it back. Also right for audit records of the same facts."""
    if fact is None:
        return {}
    if isinstance(fact, Decision):
        return fact.to_json()
    if isinstance(fact, Diagnosis):
        return diagnosis_to_json(fact)
    data: dict[str, JsonValue] = _ADAPTERS[topic].dump_python(fact, mode="json")
    return data


def fact_from_json(topic: Topic, data: Mapping[str, Any]) -> Fact | None:
    """Rebuild a fact; None for empty data. Raises ValueError or KeyError when `data` is not this topic's."""
    if not data:
        return None
    if topic is Topic.DECIDED:
        return Decision.from_json(data)
    if topic is Topic.EVIDENCE:
        return diagnosis_from_json(data)
    adapter = _ADAPTERS.get(topic)
    if adapter is None:
        return None
    fact: Fact = adapter.validate_python(data)
    return fact


def diagnosis_to_json(diagnosis: Diagnosis) -> dict[str, JsonValue]:
    """A diagnosis as JSON, findings in order."""
    return {
        "summary": diagnosis.summary,
        "rest": diagnosis.rest,
        "findings": [
            {
                "code": f.code,
                "text": f.text,
                "certainty": f.certainty.value,
                "data": dict(f.data),
                "details": list(f.details),
            }
            for f in diagnosis.findings
        ],
    }


def diagnosis_from_json(data: Mapping[str, Any]) -> Diagnosis:
    """Rebuild from `diagnosis_to_json`."""
    findings = tuple(
        Finding(
            f["code"],
            f["text"],
            Certainty(f.get("certainty", Certainty.KNOWN)),
            dict(f.get("data", {})),
            tuple(f.get("details", ())),
        )
        for f in data["findings"]
    )
    return Diagnosis(data["summary"], findings, data.get("rest", ""))


class Taken(NamedTuple):
    """The last step that was carried out, with the decision and the answers that let it be."""

    plan: Step | None
    decision: Decision | None
    step_index: int
    approval: ApprovalAsked | None
    answer: ApprovalAnswer | None
    approvals: tuple[ApprovalAnswer, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """One incident as it stands now, as far as messages need it.

    `target` is `namespace/Kind/name` or empty while unknown; `ended_at` is set once nothing more will be done;
    `reason` says why the incident stands where it stands (the reason of the last INCIDENT_MOVED); `alerts` counts all
    alerts of the incident, `firing` those still firing, `alert_lines` a few of them. `plan` is the step the current
    run works on, `ladder` has each step of the last decision with why it applies or not, `actions`, `verifications` and `undos` are in order of time over all steps. `answer` is the approval's answer,
    `approvals` are those that came before it of a rule that wants several; `snoozes` counts how often it was put off.
    `undo_asked` and `paused` are what somebody ordered afterwards. `trust levels` has the last change of each trust level that the
    incident moved, by key. `undo_held` is what an undo waits for, `taken` the last step that was
    carried out.
    `progress` is how far a long action has come, `waits` what holds the run up; the audit trail has neither. `called` is where the
    steps of its escalation stand, `acknowledged` who has it.
    """

    incident_id: str
    state: IncidentState
    alertname: str
    severity: str
    namespace: str
    opened_at: datetime
    target: str = ""
    ended_at: datetime | None = None
    reason: str = ""
    alerts: int = 1
    firing: int = 1
    alert_lines: tuple[AlertLine, ...] = ()
    diagnosis: Diagnosis | None = None
    decision: Decision | None = None
    mode: Mode | None = None
    run_id: str = ""
    run_state: RunState | None = None
    dry_run: bool = False
    plan: Step | None = None
    approval: ApprovalAsked | None = None
    answer: ApprovalAnswer | None = None
    approvals: tuple[ApprovalAnswer, ...] = ()
    snoozes: int = 0
    undo_asked: ApprovalAnswer | None = None
    undo_held: UndoHeld | None = None
    paused: ApprovalAnswer | None = None
    step_index: int = 0
    ladder: tuple[str, ...] = ()
    actions: tuple[ActionDone, ...] = ()
    verifications: tuple[Verification, ...] = ()
    undos: tuple[UndoDone, ...] = ()
    escalation: Escalation | None = None
    called: EscalationFact | None = None
    acknowledged: Acknowledged | None = None
    requested_by: str = ""
    merged_into: str = ""
    pagerduty_incident: str = ""
    links: tuple[Link, ...] = ()
    trust_levels: tuple[TrustChange, ...] = ()
    taken: Taken | None = None
    progress: str = ""
    waits: str = ""

    @property
    def promotion(self) -> TrustChange | None:
        """The first promotion that waits for a person."""
        return next((s for s in self.trust_levels if s.mark), None)

    @property
    def verification(self) -> Verification | None:
        """The latest verification."""
        return self.verifications[-1] if self.verifications else None

    @property
    def duration(self) -> timedelta | None:
        """From opening to end; None while it goes on."""
        return self.ended_at - self.opened_at if self.ended_at else None

    @property
    def place(self) -> str:
        """Where, as in the headline: `namespace/name`, or the namespace, or what is known."""
        parts = self.target.split("/")
        if len(parts) == 3:
            return f"{parts[0]}/{parts[2]}"
        return self.target or self.namespace or "unknown target"
