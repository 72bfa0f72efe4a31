"""The digest of a storm: its golden text, who is named first, and that it fits into one message however many there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.outcome import IncidentState
from app.notify.blocks import to_slack
from app.notify.digest import SHOWN, Digest, digest
from app.notify.timeline import Escalation, Timeline
from tests.doubles.slack_limits import fault_of
from tests.unit.notify import timelines
from tests.unit.notify.golden import check_golden


def _timeline(number: int, state: IncidentState = IncidentState.OBSERVED) -> Timeline:
    return replace(
        timelines.OPEN,
        incident_id=f"inc_{number:02d}",
        target=f"rag7/Deployment/svc-{number:02d}",
        opened_at=timelines.OPENED + timedelta(seconds=number),
        state=state,
    )


def _digest(*shown: Timeline, total: int = 10_000) -> Digest:
    return Digest(
        "dig_1",
        timelines.OPENED,
        ((IncidentState.OBSERVED, total - 1), (IncidentState.ESCALATED, 1)),
        (("HighErrorRate", total - 3), ("", 3)),
        tuple((f"team-{n:02d}", 7 - n) for n in range(7)),
        shown,
    )


def test_the_digest_counts_everything_and_names_the_urgent_ones_first() -> None:
    escalated = replace(_timeline(17, IncidentState.ESCALATED), escalation=Escalation("budget spent"))
    check_golden("digest", digest(_digest(escalated, *map(_timeline, range(SHOWN - 1)))).readable())


def test_a_digest_that_names_all_of_its_incidents_says_nothing_of_more() -> None:
    text = digest(_digest(_timeline(1), _timeline(2), total=2)).readable()
    assert "more: remediator incidents" not in text
    assert text.startswith("STORM · 2 incidents since ")


@pytest.mark.parametrize("update", [False, True])
def test_the_digest_of_any_storm_fits_into_one_message(update: bool) -> None:
    long = replace(_timeline(1), target=f"{'n' * 63}/Deployment/{'d' * 253}", alertname="A" * 2_000)
    big = replace(
        _digest(*([long] * SHOWN), total=10_000_000),
        alertnames=[("A" * 2_000, 9)] * 9,
        namespaces=[("n" * 63, 9)] * 9_999,
    )
    body = to_slack(digest(big))
    assert fault_of({"text": body.text, "blocks": list(body.blocks)}, update=update) == ""


def test_a_digest_of_nothing_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one"):
        digest(Digest("dig_1", timelines.OPENED, (), (), (), ()))
