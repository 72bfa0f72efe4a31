"""Whatever a message holds, what goes to Slack is within Slack's limits and says what is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.evidence import Diagnosis, Finding
from app.domain.outcome import IncidentState
from app.notify.blocks import SlackBody, to_slack
from app.notify.digest import Digest, digest
from app.notify.entries import thread_entry
from app.notify.limits import length
from app.notify.message import Button, Context, Message, Section
from app.notify.parent import parent
from app.notify.text import code, line
from app.notify.timeline import AlertLine, Link, Timeline, Topic
from tests.doubles.slack_limits import fault_of
from tests.unit.notify import timelines
from tests.unit.notify.test_text import LINES


def _texts(body: SlackBody) -> list[str]:
    texts: list[str] = []
    for block in body.blocks:
        parts: Sequence[dict[str, Any]] = [block["text"]] if "text" in block else block["elements"]
        texts.extend(p["text"] for p in parts if p["type"] == "mrkdwn")
    return texts


def _acceptable(body: SlackBody) -> None:
    """By the double's own reading of Slack's documentation, written apart from `app.notify.limits`."""
    assert fault_of({"text": body.text, "blocks": list(body.blocks)}, update=True) == ""


_PARTS = st.one_of(
    st.lists(LINES, max_size=40).map(lambda li: Section(tuple(li))),
    st.lists(LINES, max_size=14).map(lambda li: Context(tuple(li))),
)
_BUTTONS = st.builds(
    Button,
    st.text(min_size=1, max_size=300),
    st.text(min_size=1, max_size=90),
    st.text(min_size=1, max_size=2100),
)
_MESSAGES = st.builds(
    Message,
    st.text(alphabet="abc_0", min_size=1, max_size=90),
    st.just(line("FIXED · x · y")),
    st.lists(_PARTS, max_size=60).map(tuple),
    st.lists(_BUTTONS, max_size=27).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(_MESSAGES)
def test_any_message_is_within_slacks_limits(message: Message) -> None:
    _acceptable(to_slack(message))


_LONG = st.text(max_size=30) | st.integers(600, 4000).map(lambda n: "<&x " * (n // 4))
_TIMELINES = st.builds(
    replace,
    st.sampled_from(list(timelines.TIMELINES.values())),
    alertname=_LONG,
    severity=_LONG,
    target=_LONG,
    reason=_LONG,
    alerts=st.integers(0, 10**6),
    alert_lines=st.lists(
        st.builds(AlertLine, st.dictionaries(_LONG, _LONG, max_size=4), _LONG), max_size=12
    ).map(tuple),
    links=st.lists(st.builds(Link, _LONG, _LONG), max_size=12).map(tuple),
    diagnosis=st.builds(
        Diagnosis,
        _LONG,
        st.lists(
            st.builds(Finding, _LONG, _LONG, details=st.lists(_LONG, max_size=30).map(tuple)), max_size=8
        ).map(tuple),
    ),
)


@settings(max_examples=60, deadline=None)
@given(_TIMELINES)
def test_any_story_is_within_slacks_limits(timeline: Timeline) -> None:
    _acceptable(to_slack(parent(timeline)))
    counted = ((timeline.alertname, 40),)
    many = Digest(
        timeline.incident_id, timeline.opened_at, ((timeline.state, 40),), counted, counted, [timeline] * 15
    )
    _acceptable(to_slack(digest(many)))
    for topic, fact in [
        (Topic.FIRED, None),
        (Topic.EVIDENCE, timeline.diagnosis),
        (Topic.DECIDED, timeline.decision),
    ]:
        if told := thread_entry(topic, timeline, fact):
            _acceptable(to_slack(told))


@pytest.mark.parametrize("name", timelines.TIMELINES)
def test_real_stories_are_shown_whole(name: str) -> None:
    message = parent(timelines.TIMELINES[name])
    body = to_slack(message)
    _acceptable(body)
    assert "more;" not in "".join(_texts(body))
    assert len(body.blocks) == (4 if message.buttons else 3)


def test_a_thousand_lines_are_cut_and_counted() -> None:
    lines = tuple(line(f"log line {n} of the failing pod") for n in range(1000))
    texts = _texts(to_slack(Message("inc_1", line("head"), (Section(lines),))))
    shown = texts[1].count("log line")
    told = re.search(r"… \(([0-9,]+) more; `remediator explain inc_1`\)$", texts[1])
    assert told is not None
    assert shown + int(told[1].replace(",", "")) == 1000
    assert 2_900 < length(texts[1]) <= 3_000


def test_sections_without_room_are_counted_in_the_last_line() -> None:
    parts = tuple(Section((line(f"{n} " + "x" * 500), line("y" * 550), line("z" * 550))) for n in range(20))
    body = to_slack(Message("inc_1", line("head"), parts))
    _acceptable(body)
    texts = _texts(body)
    kept = sum("x" * 500 in t for t in texts)
    assert 5 < kept < 20
    assert re.search(r"… \([0-9]+ more; `remediator explain inc_1`\)", texts[-1])


def test_more_than_fifty_parts_leave_room_for_the_note_and_the_buttons() -> None:
    parts = tuple(Section((line(f"part {n}"),)) for n in range(80))
    body = to_slack(Message("inc_1", line("head"), parts, (Button("undo", "Undo", "run_1"),)))
    assert len(body.blocks) == 50
    assert body.blocks[-1]["type"] == "actions"
    assert "(33 more; `remediator explain inc_1`)" in _texts(body)[-1]


def test_one_endless_line_does_not_push_out_its_neighbours() -> None:
    body = to_slack(Message("inc_1", line("head"), (Section((line(code("x" * 9_000)), line("the end"))),)))
    text = _texts(body)[1]
    assert text.endswith("the end")
    assert "…" in text


def test_empty_lines_make_no_block() -> None:
    body = to_slack(Message("inc_1", line("head"), (Section(()), Section((line(""),)), Context(()))))
    assert len(body.blocks) == 1


def test_the_text_for_notifications_is_the_headline_and_the_first_lines() -> None:
    body = to_slack(parent(timelines.TIMELINES["fixed"]))
    assert body.text.splitlines()[0] == "*FIXED in 3m12s* · HighErrorRate · rag7/langgraph"
    assert body.text.splitlines()[1].startswith("Rolled back revision 8")
    assert len(body.text.splitlines()) == 3


def test_slack_is_told_not_to_make_links_of_foreign_text() -> None:
    body = to_slack(parent(timelines.TIMELINES["fixed"]))
    assert body.blocks[1]["text"]["verbatim"] is True
    assert all(e["verbatim"] for e in body.blocks[2]["elements"])


def test_a_button_carries_only_its_opaque_value() -> None:
    body = to_slack(Message("inc_1", line("head"), (), (Button("undo", "Undo", "run_1", "danger"),)))
    assert body.blocks[-1]["elements"] == [
        {
            "type": "button",
            "action_id": "undo",
            "text": {"type": "plain_text", "text": "Undo", "emoji": False},
            "value": "run_1",
            "style": "danger",
        }
    ]


def test_a_label_that_would_ping_the_channel_is_shown_as_text() -> None:
    timeline = replace(
        timelines.OPEN,
        alertname="<!channel> HighErrorRate",
        state=IncidentState.RESOLVED,
        reason="<@U1>",
        ended_at=timelines.OPENED + timedelta(seconds=1),
    )
    told = "".join(_texts(to_slack(parent(timeline))))
    assert "&lt;!channel&gt;" in told
    assert "<!channel" not in told
    assert "<@" not in told
