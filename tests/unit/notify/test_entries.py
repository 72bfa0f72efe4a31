"""Thread entries: golden text of each, and which topics have one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.domain.evidence import Diagnosis
from app.domain.outcome import ActionResult, IncidentState, Result, UndoResult
from app.notify.entries import thread_entry
from app.notify.escalation import LetGo, NotPaged, Unanswered
from app.notify.timeline import (
    AlertLine,
    ApprovalAnswer,
    Escalation,
    Fact,
    TemporaryChange,
    Timeline,
    Topic,
    UndoDone,
    UndoHeld,
    Verification,
    fact_from_json,
    payload,
)
from tests.unit.notify import timelines
from tests.unit.notify.golden import check_golden

DECIDED = timelines.DECIDED
ENTRIES: dict[str, tuple[Topic, Timeline, Fact | None]] = {
    "fired": (Topic.FIRED, timelines.OPEN, None),
    "requested": (Topic.FIRED, replace(timelines.OPEN, requested_by="kim", alert_lines=(), links=()), None),
    "evidence": (Topic.EVIDENCE, timelines.OPEN, timelines.DIAGNOSIS),
    "decision_allow": (Topic.DECIDED, DECIDED, timelines.ALLOWED),
    "decision_ask": (Topic.DECIDED, DECIDED, timelines.ASKS),
    "decision_observe": (Topic.DECIDED, timelines.OPEN, timelines.OBSERVES),
    "no_rule": (Topic.DECIDED, timelines.OPEN, timelines.NO_RULE),
    "no_target": (Topic.DECIDED, timelines.OPEN, timelines.NO_TARGET),
    "refusal": (Topic.DECIDED, timelines.OPEN, timelines.DENIED),
    "approval_asked": (Topic.APPROVAL_ASKED, DECIDED, timelines.ASKED),
    "approval_asked_git": (
        Topic.APPROVAL_ASKED,
        DECIDED,
        replace(
            timelines.ASKED, patch='kubectl patch deployment langgraph -n rag7 -p \'{"spec":{"replicas":5}}\''
        ),
    ),
    "approval_given": (Topic.APPROVAL_ANSWERED, DECIDED, ApprovalAnswer(timelines.RUN, "approved", "kim")),
    "approval_refused": (
        Topic.APPROVAL_ANSWERED,
        DECIDED,
        ApprovalAnswer(timelines.RUN, "refused", "kim", "the plan has changed since the question"),
    ),
    "action_done": (Topic.ACTION, DECIDED, timelines.ROLLED_BACK),
    "action_refused": (
        Topic.ACTION,
        DECIDED,
        replace(
            timelines.ROLLED_BACK, result=ActionResult.REFUSED, text="409: the object was changed meanwhile"
        ),
    ),
    "action_dry_run": (Topic.ACTION, DECIDED, replace(timelines.ROLLED_BACK, dry_run=True)),
    "action_dry_run_refused": (
        Topic.ACTION,
        DECIDED,
        replace(timelines.ROLLED_BACK, dry_run=True, result=ActionResult.REFUSED, text="422: quota exceeded"),
    ),
    "verified_fixed": (Topic.VERIFIED, DECIDED, timelines.FIXED),
    "verified_unknown": (
        Topic.VERIFIED,
        DECIDED,
        Verification(Result.PROBE_ERROR, "Alertmanager did not answer", 0),
    ),
    "undone": (Topic.UNDO, DECIDED, timelines.UNDONE),
    "undo_held": (
        Topic.UNDO_HELD,
        DECIDED,
        UndoHeld(
            "all is paused by kim: cluster upgrade",
            f"remediator undo {timelines.RUN} --despite",
            f"remediator reject {timelines.RUN}",
            timelines.ASKED.expires_at,
        ),
    ),
    "undo_of_the_rule_held": (
        Topic.UNDO_HELD,
        DECIDED,
        UndoHeld("frozen: release", f"remediator undo {timelines.RUN} --despite"),
    ),
    "undo_conflict": (Topic.UNDO, DECIDED, timelines.CONFLICT),
    "undo_asked": (Topic.UNDO, DECIDED, replace(timelines.UNDONE, by="kim", text="")),
    "temporary_granted": (
        Topic.TEMPORARY,
        DECIDED,
        TemporaryChange(
            timelines.RUN,
            "granted",
            datetime(2026, 3, 4, 5, 0, tzinfo=UTC),
            ("Scale rag7/Deployment/langgraph from 2 to 8 replicas",),
            'kubectl patch deployment langgraph -n rag7 -p \'{"spec":{"replicas":8}}\'',
        ),
    ),
    "temporary_kept": (
        Topic.TEMPORARY,
        DECIDED,
        TemporaryChange(timelines.RUN, "kept", datetime(2026, 3, 4, 5, 0, tzinfo=UTC), (), by="kim"),
    ),
    "temporary_ended": (
        Topic.TEMPORARY,
        DECIDED,
        TemporaryChange(timelines.RUN, "ended", datetime(2026, 3, 4, 5, 0, tzinfo=UTC), ()),
    ),
    "promotion_waits": (Topic.TRUST, DECIDED, timelines.WAITS),
    "promotion_agreed": (
        Topic.TRUST,
        DECIDED,
        replace(timelines.WAITS, change="agreed", by="kim", why="1 of 2 agreed to level auto"),
    ),
    "promoted": (
        Topic.TRUST,
        DECIDED,
        replace(
            timelines.WAITS,
            change="promoted",
            level="auto",
            by="kim",
            why="kim: two good weeks",
            mark="",
            next="",
        ),
    ),
    "demoted": (Topic.TRUST, DECIDED, timelines.DEMOTED),
    "trust_level_reset": (
        Topic.TRUST,
        DECIDED,
        replace(timelines.DEMOTED, change="reset", before="observe", level="observe"),
    ),
    "escalated": (Topic.ESCALATED, DECIDED, timelines.ESCALATION),
    "asked": (Topic.ASKED, DECIDED, timelines.STEP_ASKED),
    "asked_anew": (
        Topic.ASKED,
        DECIDED,
        replace(timelines.STEP_ASKED, again="kim no longer has it, by Ann Ops in PagerDuty"),
    ),
    "acknowledged": (Topic.ACKNOWLEDGED, DECIDED, timelines.TAKEN),
    "unanswered": (
        Topic.UNANSWERED,
        DECIDED,
        Unanswered(("on-call engineer", "engineering manager"), datetime(2026, 3, 4, 3, 20, tzinfo=UTC)),
    ),
    "let_go": (Topic.LET_GO, DECIDED, LetGo("kim", "it is critical now, warning before")),
    "not_paged": (Topic.NOT_PAGED, DECIDED, NotPaged("HTTP 503", again=True)),
    "stuck": (Topic.ESCALATED, DECIDED, Escalation("the undo failed", stuck=True)),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_entry_reads_as_its_golden_file(name: str) -> None:
    topic, timeline, fact = ENTRIES[name]
    # Through JSON, as an outbox row brings it.
    told = thread_entry(topic, timeline, fact_from_json(topic, payload(topic, fact)["data"]))  # type: ignore[arg-type]
    assert told is not None
    check_golden(f"entry_{name}", told.readable())


def test_every_topic_but_moved_has_a_golden_entry() -> None:
    assert {topic for topic, _, _ in ENTRIES.values()} == set(Topic) - {Topic.MOVED}


@pytest.mark.parametrize("topic", [t for t in Topic if t is not Topic.FIRED])
def test_without_a_fact_there_is_nothing_to_tell(topic: Topic) -> None:
    assert thread_entry(topic, timelines.OPEN) is None


def test_more_alerts_than_shown_are_counted() -> None:
    many = tuple(AlertLine({"pod": f"p{n}"}) for n in range(30))
    told = thread_entry(Topic.FIRED, replace(timelines.OPEN, alerts=400, alert_lines=many))
    assert told is not None
    text = told.readable()
    assert text.count('{pod="p') == 10
    assert "… and 390 more alerts" in text


@pytest.mark.parametrize(
    ("result", "warned"), [(UndoResult.CONFLICT, True), (UndoResult.FAILED, True), (UndoResult.UNDONE, False)]
)
def test_an_undo_that_did_not_happen_warns_the_reader(result: UndoResult, warned: bool) -> None:
    told = thread_entry(Topic.UNDO, DECIDED, UndoDone("a", "Rolled back", result))
    assert told is not None
    assert ("Compare rag7/langgraph" in told.readable()) is warned


def test_evidence_counts_what_could_not_be_read() -> None:
    told = thread_entry(Topic.EVIDENCE, DECIDED, timelines.DIAGNOSIS)
    assert told is not None
    assert "(4 findings, 1 could not be read)" in told.readable()
    none = thread_entry(Topic.EVIDENCE, DECIDED, Diagnosis("nothing found", ()))
    assert none is not None
    assert none.readable() == "Evidence: nothing found (0 findings)"


def test_that_a_person_is_needed_is_said_once() -> None:
    reason = "A person is needed: Free or repair the disk of node node-1"
    told = thread_entry(Topic.ESCALATED, DECIDED, Escalation(reason))
    assert told is not None
    assert told.readable().startswith("Escalated, a person is needed: Free or repair the disk of node node-1")


def test_a_refused_order_promises_no_second_look() -> None:
    """An alert is looked at again; an order has ended with its refusal."""
    alert = replace(timelines.OPEN, state=IncidentState.REFUSED, decision=timelines.DENIED)
    order = replace(alert, requested_by="kim", state=IncidentState.RESOLVED)
    texts = [thread_entry(Topic.DECIDED, told, timelines.DENIED) for told in (alert, order)]
    words = [told.readable() for told in texts if told is not None]
    assert ["ooks again" in text for text in words] == [True, False]
    assert ["Order it again once that has changed: nothing waits for it" in text for text in words] == [
        False,
        True,
    ]
