"""Facts survive the way through an outbox row unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.decision import Decision
from app.domain.evidence import Certainty, Diagnosis, Finding
from app.domain.outcome import ActionResult, Result, UndoResult
from app.notify.timeline import (
    ActionDone,
    ApprovalAnswer,
    ApprovalAsked,
    Escalation,
    Fact,
    Topic,
    UndoDone,
    UndoHeld,
    Verification,
    fact_from_json,
    payload,
)
from tests.unit.notify import timelines

_TEXT = st.text(max_size=40)
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)
_TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive by contract
_FINDINGS = st.builds(
    Finding,
    _TEXT,
    _TEXT,
    st.sampled_from(Certainty),
    st.dictionaries(_TEXT, st.integers() | _TEXT | st.none(), max_size=3),
    _TEXTS,
)
_FACTS: dict[Topic, st.SearchStrategy[Fact]] = {
    Topic.EVIDENCE: st.builds(Diagnosis, _TEXT, st.lists(_FINDINGS, max_size=3).map(tuple)),
    Topic.DECIDED: st.sampled_from([timelines.ALLOWED, timelines.DENIED, timelines.ASKS, timelines.OBSERVES]),
    Topic.APPROVAL_ASKED: st.builds(
        ApprovalAsked, _TEXT, _TEXT, _TIMES, _TEXTS, _TEXT, st.integers(0, 99), _TEXTS
    ),
    Topic.APPROVAL_ANSWERED: st.builds(ApprovalAnswer, _TEXT, _TEXT, _TEXT, _TEXT),
    Topic.ACTION: st.builds(
        ActionDone,
        _TEXT,
        _TEXT,
        st.sampled_from(ActionResult),
        _TEXT,
        _TEXT,
        st.booleans(),
        st.booleans(),
        st.none() | _TIMES,
    ),
    Topic.VERIFIED: st.builds(
        Verification,
        st.sampled_from(Result),
        _TEXT,
        st.integers(0, 999),
        st.none() | st.timedeltas(timedelta(0), timedelta(days=9)),
    ),
    Topic.UNDO: st.builds(UndoDone, _TEXT, _TEXT, st.sampled_from(UndoResult), _TEXT, _TEXT),
    Topic.UNDO_HELD: st.builds(UndoHeld, _TEXT, _TEXT, _TEXT, st.none() | _TIMES),
    Topic.ESCALATED: st.builds(Escalation, _TEXT, _TEXTS, _TEXTS, st.booleans()),
}


@given(st.sampled_from(list(_FACTS)).flatmap(lambda t: st.tuples(st.just(t), _FACTS[t])))
def test_a_fact_read_back_from_json_text_is_equal(told: tuple[Topic, Fact]) -> None:
    topic, fact = told
    row = json.loads(json.dumps(payload(topic, fact)))
    assert row["event"] == topic.value
    assert fact_from_json(Topic(row["event"]), row["data"]) == fact


@pytest.mark.parametrize("topic", list(Topic))
def test_no_fact_is_empty_data(topic: Topic) -> None:
    assert payload(topic) == {"event": topic.value, "data": {}}
    assert fact_from_json(topic, {}) is None


def test_topics_without_facts_ignore_data() -> None:
    assert fact_from_json(Topic.MOVED, {"state": "fixed"}) is None


@pytest.mark.parametrize("topic", [Topic.ACTION, Topic.DECIDED, Topic.EVIDENCE])
def test_data_of_another_topic_is_refused(topic: Topic) -> None:
    with pytest.raises((ValueError, KeyError)):
        fact_from_json(topic, {"surprise": 1})


def test_a_decision_keeps_its_whole_trace() -> None:
    back = fact_from_json(Topic.DECIDED, timelines.DENIED.to_json())
    assert isinstance(back, Decision)
    assert back.gates[2].retry_at == timelines.COOLING.retry_at
